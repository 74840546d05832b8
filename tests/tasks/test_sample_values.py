"""Numbers of samples: the contract, filters, a loss that keeps the sum, and figures against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Column, Features, PartSchema, RaggedTable, Sample, Tokens
from hepfm.data.tensors import to_numpy, to_torch
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.testing import head_contract
from hepfm_tasks.sample_values import SampleValues, SampleValuesConfig
from hepfm_tasks.traces import Heights

SIGNAL, CHARGE = {"amplitudes": [0, 2, 50]}, {"label": "electrons", "nonnegative": True, "sums": [0, 40, 900]}


def schema(**changes):
    samples = {
        "adc": Column(dtype="float32", unit="ADC"),
        "signal_adc": Column(dtype="float32", unit="ADC", label=True),
        "electrons": Column(dtype="float32", label=True),
    }
    traces = {
        "channel": Column(dtype="int32"),
        "n_samples": Column(dtype="int32", lengths_of="samples"),
        "pedestal_adc": Column(dtype="float32", unit="ADC"),
    }
    tables = {"samples": samples | changes.get("samples", {}), "traces": traces | changes.get("traces", {})}
    kept = {t: {n: c for n, c in columns.items() if c} for t, columns in tables.items()}
    return {"wires": PartSchema(kind="waveform", primary="samples", tables=kept)}


def event(i, lengths):
    """Traces of pulses; a sample is lost, and of one no truth is known."""
    rng = np.random.default_rng(i)
    n = sum(lengths)
    charge = rng.poisson(0.3, n) * rng.exponential(20.0, n)
    signal = np.convolve(np.append(charge, 0.0), [0.2, 0.5, 0.2])[:n]
    pedestal = rng.uniform(300, 900, len(lengths))
    adc = np.repeat(pedestal, lengths) + signal + rng.normal(0, 2, n)
    if n > 4:
        adc[2], signal[4] = np.nan, np.nan
    return Sample(
        event_id=i,
        parts={
            "wires": {
                "samples": {"adc": adc},
                "traces": {
                    "channel": np.arange(len(lengths)),
                    "n_samples": np.array(lengths, np.int32),
                    "pedestal_adc": pedestal,
                },
            }
        },
        labels={"wires": {"samples": {"signal_adc": signal, "electrons": charge}}},
    )


def events():
    return [event(i, lengths) for i, lengths in enumerate(([7, 1, 12], [], [30], [2, 0, 3]))]


def head(options, d_in=4):
    torch.manual_seed(0)
    config = SampleValuesConfig.model_validate(options)
    return SampleValues(config, schema=schema(), d_in=lambda need, part: d_in)


def batch_of(samples):
    return to_torch(pack(samples, schema(), labels=True))


def features(batch, x=None, d_in=4):
    n = int(batch.parts["wires"]["samples"].offsets[-1])
    x = torch.ones(n, d_in) if x is None else x
    points = Tokens(
        x=x,
        positions=torch.zeros(n, 1),
        offsets=batch.parts["wires"]["samples"].offsets,
        part=torch.zeros(n, dtype=torch.int64),
    )
    return Features(points=points, inputs=batch.parts["wires"], events=len(batch))


@pytest.mark.parametrize("options", [SIGNAL, CHARGE, {"width": 0, "taps": 4, "filters": 1}])
def test_contract(options):
    config = SampleValuesConfig.model_validate(options)
    head_contract(SampleValues, config, schema=schema(), samples=events())


def test_each_trace_is_filtered_by_itself():
    """Against a loop in float64 over traces and taps."""
    batch = batch_of(events())
    heights = Heights.of(batch.parts["wires"], "samples")
    filters = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    wanted = []
    for sample in events():
        tables, first = sample.parts["wires"], 0
        for n, pedestal in zip(*[tables["traces"][c] for c in ("n_samples", "pedestal_adc")], strict=True):
            height = np.nan_to_num(tables["samples"]["adc"][first : first + n] - pedestal)
            first += n
            for t in range(n):
                near = [height[t + d] if 0 <= t + d < n else 0.0 for d in range(-2, 3)]
                wanted.append(filters.double().numpy() @ near)
    np.testing.assert_allclose(heights.filtered(filters).numpy(), np.array(wanted), rtol=1e-4, atol=2e-3)


def learned(head, batch, x, steps=200):
    head.observe(batch)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.03)
    for _ in range(steps):
        optimiser.zero_grad()
        sum(head.loss(head(features(batch, x)), batch).values()).backward()
        optimiser.step()
    with torch.no_grad():
        return head.predict(head(features(batch, x)))["wires"]["samples"]


def test_where_nothing_is_to_be_seen_the_charge_is_right_in_sum():
    """Sparse charge without any signal in the waveform: what is learned is its mean, where a median is 0."""
    rng = np.random.default_rng(3)
    sample = event(9, [1500])
    sample.parts["wires"]["samples"]["adc"] = np.repeat(500.0, 1500)
    sample.parts["wires"]["traces"]["pedestal_adc"] = np.array([500.0])
    charge = np.where(rng.random(1500) < 0.1, rng.exponential(5000.0, 1500), 0.0)
    sample.labels["wires"]["samples"] = {"signal_adc": np.zeros(1500), "electrons": charge}
    batch = batch_of([sample])
    table = learned(head(CHARGE | {"filters": 1, "taps": 1}), batch, torch.ones(1500, 4))
    assert np.median(charge) == 0
    assert float(table.columns["electrons"].sum()) == pytest.approx(charge.sum(), rel=0.01)


def test_noise_is_filtered_as_a_wiener_filter_does():
    """One smooth pulse shape in white noise: the residual is that of the best linear filter, which is known."""
    rng = np.random.default_rng(5)
    n, taps = 6_000, 21
    shape = np.exp(-0.5 * ((np.arange(9) - 4) / 1.5) ** 2)
    signal = np.convolve(rng.poisson(0.2, n) * 6.0, shape)[4 : n + 4]
    adc = signal + rng.normal(0, 3.0, n)
    sample = event(9, [n])
    sample.parts["wires"]["samples"]["adc"] = adc
    sample.parts["wires"]["traces"]["pedestal_adc"] = np.zeros(1)
    sample.labels["wires"]["samples"] = {"signal_adc": signal, "electrons": signal}
    design = np.stack([np.roll(adc, d) for d in range(-10, 11)] + [np.ones(n)], 1)
    best = signal - design @ np.linalg.lstsq(design, signal, rcond=None)[0]
    made = head({"filters": 2, "taps": taps, "width": 0})
    found = learned(made, batch_of([sample]), torch.ones(n, 4), steps=200).columns["signal_adc"]
    rms = np.sqrt(np.mean((found.numpy() - signal) ** 2))
    assert np.std(adc - signal) > 1.7 * best.std()
    assert rms == pytest.approx(best.std(), rel=0.05)


def test_before_learning_it_is_the_best_linear_filter():
    """Against least squares in float64, on the rows whose truth is known."""
    batch = batch_of([event(k, [60, 200]) for k in range(3)])
    x = torch.randn(780, 50, generator=torch.Generator().manual_seed(0))
    made = head({"taps": 7, "filters": 2}, d_in=50)
    made.observe(batch)
    with torch.no_grad():
        made.network[-1].weight.zero_()  # what is drawn of other filters is little, and not nothing
        found = made.predict(made(features(batch, x)))["wires"]["samples"].columns["signal_adc"].numpy()
    heights = Heights.of(batch.parts["wires"], "samples")
    rows = [np.pad(h.numpy(), 3) for h in heights.values.double().split([60, 200] * 3)]
    design = np.concatenate([np.lib.stride_tricks.sliding_window_view(row, 7) for row in rows])
    truth = batch.labels["wires"]["samples"].columns["signal_adc"].double().numpy()
    known = heights.known.numpy() & np.isfinite(truth)
    best = design @ np.linalg.lstsq(design[known], truth[known], rcond=None)[0]
    assert np.linalg.norm((found - best)[known]) < 1e-3 * np.linalg.norm(
        (best - heights.values.numpy())[known]
    )


def test_samples_in_no_token_and_lost_ones_are_zero():
    batch = batch_of([event(2, [30])])
    x = torch.ones(30, 4)
    x[10:20] = 0
    found = head(CHARGE).predict(head(CHARGE)(features(batch, x)))["wires"]["samples"].columns["electrons"]
    assert (found == 0).nonzero()[:, 0].tolist() == [2, *range(10, 20)]


def test_figures_are_those_of_a_loop():
    batch = batch_of([*events(), event(5, [10] * 400)])
    rng = np.random.default_rng(2)
    made, charge = head(SIGNAL | {"signal": 1.5}), head(CHARGE)
    numpy = to_numpy(batch)
    offsets = numpy.parts["wires"]["samples"].offsets
    guess = rng.exponential(9.0, int(offsets[-1])).astype(np.float32)
    told, first = {}, None
    for each, label in ((made, "signal_adc"), (charge, "electrons")):
        found = {"wires": {"samples": RaggedTable({label: guess}, offsets)}}
        sums = each.statistics(found, numpy)
        told |= each.figures({name: values.sum(0) for name, values in sums.items()})
        first = first or dict(told)
    truth = numpy.labels["wires"]["samples"].columns["signal_adc"]
    adc = numpy.parts["wires"]["samples"].columns["adc"]
    traces = numpy.parts["wires"]["traces"].columns
    height = adc - np.repeat(traces["pedestal_adc"], traces["n_samples"])
    good = np.isfinite(truth) & np.isfinite(adc)
    assert first["noise"] == pytest.approx(
        np.sqrt(np.mean((height - truth)[good & (abs(truth) < 1.5)] ** 2)), rel=1e-5
    )
    assert first["rms"] == pytest.approx(np.sqrt(np.mean((guess - truth)[good] ** 2)), rel=1e-5)
    for name, where in (
        ("signal", abs(truth) >= 1.5),
        ("quiet", abs(truth) < 1.5),
        ("amplitude/2-50", (truth >= 2) & (truth < 50)),
    ):
        off = (guess - truth)[good & where]
        assert first[f"rms/{name}"] == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-5)
        assert first[f"bias/{name}"] == pytest.approx(off.mean(), rel=1e-4)
    electrons, ratios, first_row = numpy.labels["wires"]["samples"].columns["electrons"], [], 0
    total = np.zeros(2)
    for n in traces["n_samples"]:
        mine = np.arange(first_row, first_row + n)
        mine = mine[np.isfinite(adc[mine])]
        first_row += n
        total += guess[mine].sum(), electrons[mine].sum()
        if electrons[mine].sum() >= 40:
            ratios.append(guess[mine].sum() / electrons[mine].sum() - 1)
    assert told["total_bias"] == pytest.approx(total[0] / total[1] - 1, rel=1e-5)
    # To the histogram's bins, of 8 %.
    low, middle, high = np.quantile(ratios, [0.1587, 0.5, 0.8413])
    assert told["sum_bias/sum/40-900"] == pytest.approx(middle, rel=0.08)
    assert told["sum_resolution/sum/40-900"] == pytest.approx((high - low) / 2, rel=0.08)


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({}, {"label": "charge"}, "no labels 'charge'"),
        ({"samples": {"electrons": Column(dtype="float32", shape=(2,), label=True)}}, CHARGE, "no number"),
        ({"samples": {"adc": None, "mv": Column(dtype="float32")}}, {}, "not of waveforms"),
        ({"traces": {"pedestal_adc": None}}, {}, "pedestals"),
    ],
)
def test_data_that_it_cannot_learn_from_is_refused(changes, options, says):
    config = SampleValuesConfig.model_validate(options)
    with pytest.raises(DataError, match=says):
        SampleValues(config, schema=schema(**changes), d_in=lambda need, part: 4)


def test_an_amount_below_zero_is_refused_with_its_event():
    sample = event(7, [6])
    sample.labels["wires"]["samples"]["electrons"][3] = -5.0
    with pytest.raises(DataError, match="is -5") as caught:
        head(CHARGE).counts(batch_of([event(1, [3]), sample]))
    assert "0x0000000000000007" in str(caught.value)
    assert "sample 3" in str(caught.value)
