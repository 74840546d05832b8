"""``hepfm compare`` on runs of every kind: in tables, as JSON, and as a page."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from hepfm.tracking.lines import encode
from hepfm.tracking.runs import create_run

RECIPE = "name: {name}\ntrain:\n  steps: {steps}\n  learning_rate: {rate}\n"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def make(out, name, steps, *, rate=0.001, val_every=10, bad=(), bad_val=(), **content):
    """A run whose losses are known functions of the step: training 4 - s/100, validation 4 - s/200."""
    run = create_run(out, name, RECIPE.format(name=name, steps=steps, rate=rate))
    run.update(**{"status": "done", "effective": {"world": 1, "parameters": 1000}} | content)
    with run.metrics_path.open("wb") as file:
        for step in range(1, steps + 1):
            loss = math.nan if step in bad else 4 - step / 100
            figures = {"train/loss": loss, "throughput/tokens_per_s": float(step)}
            file.write(encode({"step": step, "time": 1e9 + 60 * step, "metrics": figures}))
            if val_every and step % val_every == 0:
                loss = math.nan if step in bad_val else 4 - step / 200
                figures = {"val/loss": loss, "val/loss_baseline": 4.0}
                file.write(encode({"step": step, "time": 1e9 + 60 * step, "metrics": figures}))
    return run


@pytest.fixture(scope="module")
def runs(out):
    first = make(out, "first", 100, effective_time=0.9, code="a" * 40, data_digest="d" * 64)
    (first.path / "displays").mkdir()
    (first.path / "displays" / "event-0.png").write_bytes(b"a picture")
    return {
        "first": first,
        "other": make(
            out, "other", 50, rate=0.01, bad=(3, 50), bad_val=(10,), code="b" * 40, data_digest="d" * 64
        ),
        "going": make(out, "going", 20, val_every=0, status="running"),
        "fresh": make(out, "fresh", 0, status="failed", reason="no <b>room</b>\nmore"),
    }


@pytest.fixture
def hepfm(out):
    def hepfm(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hepfm", "compare", *map(str, arguments), "--runs", str(out)]
        return subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ})

    return hepfm


def cells(text: str, title: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(title + "  ")]
    return re.split(r"\s{2,}", line.strip())[1:]


def test_figures_recipes_and_curves_stand_side_by_side(hepfm, runs):
    done = hepfm("first", "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert cells(done.stdout, "steps") == ["100", "50"]
    assert cells(done.stdout, "training loss") == ["3.0000", "nan"]
    assert cells(done.stdout, "validation loss") == ["3.5000", "3.7500"]
    assert cells(done.stdout, "validation loss / learning nothing") == ["0.8750", "0.9375"]
    assert cells(done.stdout, "tokens/s, median") == ["50", "26"]
    assert cells(done.stdout, "time from first to last step") == ["1:39:00", "0:49:00"]
    assert cells(done.stdout, "effective time") == ["90.0%"]
    assert cells(done.stdout, "code") == ["a" * 12, "b" * 12]
    assert "workers" not in done.stdout, "the same in both"
    assert cells(done.stdout, "name") == ['"first"', '"other"']
    assert cells(done.stdout, "train.learning_rate") == ["0.001", "0.01"]
    assert "\nval/loss\n" in done.stdout
    assert "\ntrain/loss\n" in done.stdout


def test_json_has_the_same(hepfm, runs):
    done = hepfm("first", "other", "--json")
    content = json.loads(done.stdout)
    first, other = content["runs"]
    assert (first["name"], first["run_dir"]) == (runs["first"].name, str(runs["first"].path))
    assert first["train_loss"] == pytest.approx(3.0)
    assert other["train_loss"] == "NaN"
    assert (other["not_finite"], other["best_val_loss"], other["best_step"]) == (2, 3.75, 50)
    assert content["recipe"]["train.learning_rate"] == [0.001, 0.01]
    assert set(content["recipe"]) == {"name", "train.steps", "train.learning_rate"}


def test_the_page_holds_what_the_runs_recorded_and_asks_for_nothing_else(hepfm, runs, tmp_path):
    page = tmp_path / "page.html"
    done = hepfm("first", "other", "going", "fresh", "--html", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"Written: {page}\n")
    text = page.read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", text), "nothing is loaded"
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text)[1])
    assert [run["name"] for run in data["runs"]] == [run.name for run in runs.values()]
    validation, training = data["charts"]
    assert [(curve["run"], "dotted" in curve) for curve in validation["curves"]] == [
        (0, False),
        (1, False),
        (0, True),
        (1, True),
    ]
    steps, losses = decoded(training["curves"][0])
    np.testing.assert_array_equal(steps, np.arange(1, 101))
    np.testing.assert_allclose(losses, 4 - np.arange(1, 101) / 100, rtol=1e-6)
    assert np.flatnonzero(np.isnan(decoded(training["curves"][1])[1])).tolist() == [2, 49]
    assert len(decoded(training["curves"][2])[0]) == 20
    figures = dict(data["figures"])
    assert figures["status"] == ["done", "done", "running", "failed"]
    assert figures["reason"] == ["", "", "", "no <b>room</b>"]
    assert "<b>room" not in text, "no run's text is taken for markup"
    assert dict(data["recipe"])["train.steps"] == ["100", "50", "20", "0"]
    (picture,) = data["displays"]
    assert picture["run"] == 0
    assert base64.b64decode(picture["image"].split(",")[1]) == b"a picture"


def test_the_loss_of_learning_nothing_is_seen_also_of_a_run_with_one_validation(hepfm, out, runs, tmp_path):
    make(out, "short", 6, val_every=6)
    page = tmp_path / "page.html"
    hepfm("short", "first", "--html", page)
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text())[1])
    curves = data["charts"][0]["curves"]
    assert [(curve["run"], "dotted" in curve, curve["mode"]) for curve in curves] == [
        (0, False, "lines+markers"),
        (1, False, "lines+markers"),
        (0, True, "lines+markers"),  # a point alone makes no line
        (1, True, "lines"),
    ]
    assert decoded(curves[2]) == ([6], [4.0])


def decoded(curve):
    return tuple(np.frombuffer(base64.b64decode(curve[axis]["bdata"]), curve[axis]["dtype"]) for axis in "xy")


def judged(run, value, *, digest="e" * 64, time="", drawn=(), first_id=0, **more):
    """An evaluation of a run, as `hepfm evaluate` writes it."""
    folder = create_run(run.evaluations, "semantic-test", "a: 1\n", run.name)
    folder.update(created=f"2026-01-01T00:00:{time or '00'}+00:00")
    figures = {
        "recall/track": {"value": 0.5},
        "macro_f1": {"value": value, "low": value - 0.01, "high": value + 0.02},
    }
    data = {"named": "data/<b>test", "digest": digest, "events": 20, "counted": 20}
    result = {"task": "semantic", "data": data, "level": 0.68, "checkpoint": "step-00000010", "doubts": []}
    ids = np.arange(first_id, first_id + 20, dtype="u8")
    if len(drawn):
        np.savez(folder.path / "statistics.npz", **{"event_id": ids, "redrawn/macro_f1": drawn})
    (folder.path / "evaluation.json").write_text(json.dumps(result | {"figures": figures} | more))


def test_what_learns_something_else_stands_apart(hepfm, tmp_path):
    made = []
    for name, objective in (
        ("a", "{name: masked}"),
        ("b", "{name: task, head: {name: semantic, part: image3d, label: semantic}}"),
        ("c", "{name: masked}"),
    ):
        run = make(tmp_path / "runs", name, 20)
        with run.recipe_path.open("a") as recipe:
            recipe.write(f"objective: {objective}\n")
        made.append(run.path)
    page = tmp_path / "page.html"
    done = hepfm(*made, "--html", page)
    task = "semantic, image3d"
    assert cells(done.stdout, "learns") == ["masked", task, "masked"]
    for title in ("training loss", "validation loss", "best validation loss"):
        assert len(cells(done.stdout, f"{title} (masked)")) == 2
        assert len(cells(done.stdout, f"{title} ({task})")) == 1
    assert len(cells(done.stdout, "steps")) == 3, "of all runs"
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text())[1])
    runs = {chart["title"]: {curve["run"] for curve in chart["curves"]} for chart in data["charts"]}
    assert runs["training loss (masked)"] == {0, 2}
    assert runs[f"training loss ({task})"] == {1}
    assert len(runs) == 4
    (speed,) = [chart for chart in data["more"] if "tokens_per_s" in chart["title"]]
    assert {curve["run"] for curve in speed["curves"]} == {0, 1, 2}
    frames = done.stdout.split("\ntrain/loss (")[1:]
    assert [[letter in frame.split("step 1")[0] for letter in "ABC"] for frame in frames] == [
        [True, False, True],
        [False, True, False],
    ]
    alike = hepfm(made[0], made[2])
    assert "\nval/loss\n" in alike.stdout
    assert "masked)" not in alike.stdout


def test_evaluations_on_the_same_events_stand_side_by_side(hepfm, tmp_path):
    one, two, three = (make(tmp_path / "runs", name, 3) for name in ("judged-a", "judged-b", "judged-c"))
    judged(one, 0.6, time="20")
    judged(one, 0.5, time="10")  # an older one
    judged(two, 0.7, doubts=["seen before"])
    judged(two, 0.9, digest="f" * 64)  # of other events
    page = tmp_path / "page.html"
    done = hepfm(one.path, two.path, three.path, "--html", page)
    same, _, other = done.stdout.partition("Task semantic on 20 events of data/<b>test (ffffffffffff)")
    assert "(eeeeeeeeeeee), intervals of 68% by event" in same
    assert cells(same, "macro_f1") == ["0.6000", "0.5900 to 0.6200", "0.7000", "0.6900 to 0.7200"]
    assert cells(same, "recall/track") == ["0.5000", "0.5000"]
    assert same.index("macro_f1") < same.index("recall/track"), "the whole comes before classes"
    assert cells(same, "to be known") == ["seen before"]
    assert cells(other, "macro_f1") == ["0.9000", "0.8900 to 0.9200"]
    assert "<b>test" not in page.read_text(), "no name is taken for markup"
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text())[1])
    assert [len(rows) for _, rows in data["evaluations"]] == [4, 3]
    told = json.loads(hepfm(one.path, two.path, "--json").stdout)["runs"]
    assert [each["figures"]["macro_f1"]["value"] for each in told[0]["evaluations"]] == [0.5, 0.6]
    broken = three.evaluations / "x"
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{}")
    (broken / "evaluation.json").write_text("{")
    refused = hepfm(three.path)
    assert refused.returncode == 2
    assert str(broken) in refused.stderr


def test_what_was_drawn_alike_is_compared_in_pairs(hepfm, tmp_path):
    one, two, three = (make(tmp_path / "runs", name, 3) for name in ("drawn-a", "drawn-b", "drawn-c"))
    drawn = np.random.default_rng(0).normal(0.6, 0.1, 1000)  # events differ a lot
    judged(one, 0.6, drawn=drawn)
    judged(two, 0.65, drawn=drawn + np.linspace(0, 0.1, 1000))
    judged(three, 0.7, drawn=drawn, first_id=1)  # not the same events
    done = hepfm(one.path, two.path, three.path).stdout
    assert cells(done, "macro_f1, minus A") == ["+0.0500", "+0.0160 to +0.0840"]


def probed(run, name, value, *, digest="e" * 64, **more):
    """A probe of a run, as `hepfm probe` writes it."""
    figures = {"f1/track": {"value": 0.5, "low": 0.4, "high": 0.6}}
    figures["macro_f1"] = {"value": value, "low": value - 0.01, "high": value + 0.02, "spread": 0.005}
    data = {"train": {"events": 16}, "test": {"events": 20, "named": "data/<b>test", "digest": digest}}
    result = {"kind": "probe", "task": {"name": "semantic"}, "probe": "linear", "step": 7, "saw": ""}
    result |= {"data": [data], "doubts": [], "figures": {"pretrained": figures}, "level": 0.68}
    folder = run.evaluations / name
    folder.mkdir(parents=True)
    (folder / "figures.json").write_text(json.dumps(result | more))
    return folder


def test_probes_and_few_shot_curves_stand_side_by_side(hepfm, tmp_path):
    one, two = (make(tmp_path / "runs", name, 3) for name in ("probed-a", "probed-b"))
    gain = {"macro_f1": {"value": 0.1, "low": 0.05, "high": 0.15}}
    os.utime(probed(one, "old", 0.3) / "figures.json", (1, 1))
    copy = create_run(one.evaluations, "copy", "a: 1\n", one.name)  # what MLflow is sent
    (copy.path / "figures.json").write_text("{")
    probed(one, "probe", 0.6, gain=gain)
    probed(two, "probe", 0.7, saw="labels", digest="e" * 64)
    for run, value in ((one, 0.5), (two, 0.4)):
        point = {"events": 30, "figures": {"macro_f1": {"value": value, "low": 0.1, "high": 0.9}}}
        curves = {"scratch-converged-50": [point], "scratch-9": [point | {"events": 4}]}
        folder = probed(run, "curve", 0, kind="fewshot", figure="macro_f1", curves=curves, gain={"9": [point]},
                        data={"test": "data/<b>test"})  # fmt: skip
        (folder / "settings.json").write_text(json.dumps({"data": {"test": "f" * 64}}))
    page = tmp_path / "page.html"
    done = hepfm(one.path, two.path, "--html", page)
    assert done.returncode == 0, done.stderr
    probe, _, curve = done.stdout.partition("Few labels, task semantic, macro_f1")
    assert "Probe linear, task semantic, tested on 20 events of data/<b>test (eeeeeeeeeeee)" in probe
    assert cells(probe, "events to fit to") == ["16", "16"]
    assert cells(probe, "macro_f1") == [
        *("0.6000", "0.5900 to 0.6200 +- 0.0050"),
        *("0.7000", "0.6900 to 0.7200 +- 0.0050"),
    ]
    assert cells(probe, "gain/macro_f1") == ["0.1000", "0.0500 to 0.1500"]
    assert cells(probe, "to be known") == ["the run was shown labels in training"]
    assert "(ffffffffffff), intervals of 68% by event and seed" in curve
    title = "30 events, from scratch, to convergence (at most 50 updates)"
    assert cells(curve, title) == ["0.5000", "0.1000 to 0.9000", "0.4000", "0.1000 to 0.9000"]
    rows = [line.partition("  ")[0] for line in curve.splitlines() if " events, " in line.partition("  ")[0]]
    assert rows == ["4 events, from scratch, 9 updates", title, "30 events, gain, 9 updates"]
    assert "<b>test" not in page.read_text()
    told = json.loads(hepfm(one.path, "--json").stdout)["runs"][0]["probes"]
    assert [each["kind"] for each in told] == ["probe", "probe", "fewshot"]


def test_a_run_that_saw_truth_is_told_from_one_that_did_not(hepfm, out, runs):
    make(out, "shown", 3, pretrain={"saw_truth": True})
    make(out, "honest", 3, pretrain={"saw_truth": False})
    done = hepfm("shown", "honest", "first")
    assert cells(done.stdout, "saw truth") == ["yes"]
    assert json.loads(hepfm("shown", "honest", "--json").stdout)["runs"][0]["saw_truth"] is True
    assert "saw truth" not in hepfm("honest", "first").stdout


def test_a_run_may_stand_beside_itself(hepfm, runs):
    done = hepfm("first", runs["first"].path)
    assert done.returncode == 0
    assert f"B {runs['first'].name} (2)" in done.stdout
    assert "The recipes are the same." in done.stdout


def test_a_run_without_steps_has_no_curves(hepfm, runs, tmp_path):
    done = hepfm("fresh", "--html", tmp_path / "page.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert cells(done.stdout, "reason") == ["no <b>room</b>"]
    assert "loss" not in done.stdout


def test_what_cannot_be_compared_is_said(hepfm, runs, tmp_path):
    unknown = hepfm("first", "thrid")
    assert unknown.returncode == 2
    assert "there is no run 'thrid'" in unknown.stderr
    assert runs["other"].name in unknown.stderr
    nowhere = hepfm("first", "--html", tmp_path / "no" / "page.html")
    assert nowhere.returncode == 2
    assert "No such file or directory" in nowhere.stderr
    assert str(tmp_path / "no") in nowhere.stderr
    broken = create_run(tmp_path, "broken", "a: [")
    damaged = hepfm(broken.path)
    assert damaged.returncode == 2
    assert "recipe.yaml" in damaged.stderr


def test_nothing_heavy_is_imported(runs):
    code = f"""
import sys
sys.argv = ["hepfm", "compare", {str(runs["first"].path)!r}]
from hepfm.cli.main import _run
assert _run() == 0
print([name for name in ("torch", "ray", "mlflow", "deepspeed", "plotly") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_what_is_no_run_of_a_glob_is_left_out(out, runs, hepfm):
    (out / "mlartifacts").mkdir(exist_ok=True)
    (out / "mlflow.db").touch()
    folders = [runs["first"].path, out / "mlartifacts", out / "mlflow.db", runs["other"].path]
    done = hepfm(*folders, "--json")
    assert [each["name"] for each in json.loads(done.stdout)["runs"]] == [
        runs["first"].name,
        runs["other"].name,
    ]
    assert "mlflow.db is no run: left out" in done.stderr
    assert hepfm(out / "mlartifacts").returncode == 2
    assert hepfm(runs["first"].path, out / "nothing").returncode == 2
