"""How far a run is, read from the end of its metrics."""

from __future__ import annotations

import json

from hepfm.jobs.state import _TAIL, JobState, _progress
from hepfm.recipe.load import load_recipe
from hepfm.tracking.runs import create_run


def test_a_tail_that_begins_within_a_line_loses_no_progress(tmp_path):
    run = create_run(tmp_path, "mine", load_recipe("image3d/masked-tiny").yaml(), exact=True)
    entry = json.dumps({"step": 7, "metrics": {"val/loss": 0.5}}).encode() + b"\n"
    inner = b'{"a": 1}}\n'  # the end of a line, as the tail begins
    filler = b" " * (_TAIL - len(inner) - len(entry) - 1) + b"\n"
    run.metrics_path.write_bytes(b'{"step": 6, "metrics": ' + inner + filler + entry)
    state = JobState("mine", "mine", "RUNNING", "", "", str(run.path), 0.0, None)
    seen = _progress(run, state)
    assert (seen["step"], seen["val_loss"]) == (7, 0.5)


def test_restarts_of_workers_are_known(tmp_path):
    run = create_run(tmp_path, "mine", load_recipe("image3d/masked-tiny").yaml(), exact=True)
    state = JobState("mine", "mine", "RUNNING", "", "", str(run.path), 0.0, None)
    assert _progress(run, state)["restarts"] is None
    run.update(restarts=2)
    assert _progress(run, state)["restarts"] == 2
