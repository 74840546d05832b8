"""A run that denoises: trained, evaluated, and its predictions and weights written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from hepfm.api import Column, PartSchema, Sample
from hepfm.cli.main import app
from hepfm.errors import DataError, RecipeError
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreReader, StoreWriter

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
SCHEMA = PartSchema(
    kind="waveform",
    primary="samples",
    tables={
        "samples": {
            "adc": Column(dtype="int16", unit="ADC"),
            "signal_adc": Column(dtype="float32", unit="ADC", label=True),
        },
        "traces": {
            "channel": Column(dtype="int32"),
            "start_tick": Column(dtype="int32"),
            "n_samples": Column(dtype="int32", lengths_of="samples"),
            "pedestal_adc": Column(dtype="float32", unit="ADC"),
        },
    },
    attributes={"sample_ns": 500.0},
)
NO_TRACES, QUIET = 102, 103


def events(ids):
    """Traces with a pulse in the first window and noise in the second; truth that is not known is NaN."""
    for event_id in ids:
        rng = np.random.default_rng(event_id)
        channels = 0 if event_id == NO_TRACES else 5
        signal = np.zeros((channels, 64), np.float32)
        if event_id != QUIET:
            signal[:, 8:16] = rng.uniform(50, 300, (channels, 1)) * np.hanning(8)
        adc = np.round(400 + signal + rng.normal(0, 2, signal.shape)).astype(np.int16)
        signal[:1, 3] = np.nan
        traces = {
            "channel": np.arange(channels, dtype=np.int32),
            "start_tick": np.zeros(channels, np.int32),
            "n_samples": np.full(channels, 64, np.int32),
            "pedestal_adc": np.full(channels, 400, np.float32),
        }
        yield Sample(
            event_id=event_id,
            parts={"charge": {"samples": {"adc": adc.reshape(-1)}, "traces": traces}},
            labels={"charge": {"samples": {"signal_adc": signal.reshape(-1)}}},
        )


@pytest.fixture(scope="module")
def hepfm(tmp_path_factory):
    """Runs a command beside the stores ``train.h5``, ``val.h5``, ``test.h5`` and a run ``denoise``."""
    folder = tmp_path_factory.mktemp("denoise")
    for name, ids in (("train", range(8)), ("val", range(50, 54)), ("test", range(100, 106))):
        with StoreWriter(folder / f"{name}.h5", {"charge": SCHEMA}, {"made_by": "a test"}) as writer:
            writer.write(pack(list(events(ids)), {"charge": SCHEMA}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)

        def run(*arguments):
            done = CliRunner().invoke(app, list(map(str, arguments)))
            if done.exception:
                raise done.exception
            return done.stdout

        part = "{kind: waveform, patch: 32, noise_samples: null, noise_adc: 2.0, suppress_noise: 6.0}"
        head = "{name: sample-values, label: signal_adc, taps: 9, filters: 4, amplitudes: [0, 10, 400]}"
        run(
            *("pretrain", "tasks/denoise", "--in-process", "--name", "denoise"),
            *("--set", f"data={{train: train.h5, val: val.h5, parts: {{charge: {part}}}, batch_events: 4}}"),
            *("--set", f"objective.head={head}", "--set", "train.steps=30", "--set", "train.warmup_steps=5"),
            *("--set", "model.backbone={name: transformer, d_model: 32, n_layers: 1, n_heads: 2}"),
            *("--set", "train.validate_events=4", "--set", "train.marginal_events=8"),
            *("--set", "tracking.displays=0", "--set", "train.learning_rate=0.01"),
        )
        yield next((folder / "runs").glob("denoise-*")), run


def test_a_denoiser_is_judged_by_what_it_predicts(hepfm, tmp_path):
    made, run = hepfm
    said = json.loads(run("evaluate", made, "--data", "test.h5", "--json"))
    run("predict", made, "--data", "test.h5", "--out", tmp_path / "out", "--workers", 0, "--carry", "labels")
    with StoreReader(tmp_path / "out") as reader:
        batch = reader.read(range(6))
    samples = batch.parts["predicted_charge"]["samples"]
    np.testing.assert_array_equal(samples.offsets, batch.parts["charge"]["samples"].offsets)
    assert samples.lengths[2] == 0
    found = samples.columns["signal_adc"]
    windows = found.reshape(-1, 2, 32)
    assert not windows[:, 1].any(), "windows that are no token are zero"
    assert not windows[10:15].any(), "so is an event without a signal"
    truth = batch.labels["charge"]["samples"].columns["signal_adc"]
    height = batch.parts["charge"]["samples"].columns["adc"] - 400.0
    signal, known = np.abs(truth) >= 1, np.isfinite(truth)
    figures = {name: figure["value"] for name, figure in said["figures"].items()}
    rms = np.sqrt(np.mean((found - truth)[signal] ** 2))
    assert figures["rms/signal"] == pytest.approx(rms, rel=1e-4)
    assert figures["noise"] == pytest.approx(np.std((height - truth)[known & ~signal]), rel=0.05)
    assert figures["rms_over_noise/quiet"] < 0.5
    assert figures["rms_over_noise/signal"] < 1.5


def test_its_weights_are_written_and_a_graph_is_refused(hepfm, tmp_path):
    made, run = hepfm
    run("export", made, "--data", "test.h5", "--out", tmp_path / "weights")
    assert (tmp_path / "weights" / "model.safetensors").exists()
    with pytest.raises(RecipeError, match="begins with the events themselves"):
        run("export", made, "--data", "test.h5", "--to", "torch-export", "--out", tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_a_label_that_the_data_lacks_is_refused_by_training(hepfm):
    _, run = hepfm
    data = "data={train: train.h5, val: val.h5, parts: {charge: {kind: waveform}}, batch_events: 2}"
    with pytest.raises(DataError, match="no labels 'electrons'"):
        run(
            *("pretrain", "tasks/unfold", "--in-process", "--set", data),
            *("--set", "objective.head={name: sample-values, label: electrons}"),
        )
