"""Probes and curves as they lie in folders: whatever is missing of them, it is told and no traceback."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from hepfm.errors import RecipeError
from hepfm.tracking.probes import probe_tables, probes_of
from hepfm.tracking.runs import create_run

FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6}
COMMON = {"task": {"name": "semantic"}, "step": 7, "saw": "labels", "doubts": ["few"], "level": 0.68}
PROBE = {
    **COMMON,
    "kind": "probe",
    "probe": "linear",
    "data": [{"train": {"events": 16}, "test": {"events": 20, "named": "test", "digest": "e" * 64}}],
    "figures": {"pretrained": {"f1": FIGURE}, "untrained": {"f1": FIGURE}},
    "gain": {"f1": FIGURE},
}
POINT = {"events": 30, "figures": {"f1": FIGURE}}
CURVE = {
    **COMMON,
    "kind": "fewshot",
    "data": {"test": "test"},
    "curves": {"scratch-9": [POINT], "pretrained-converged-50": [POINT]},
    "gain": {"9": [POINT]},
}


@pytest.fixture
def read(tmp_path):
    """What is read of a folder with these files."""
    run = create_run(tmp_path, "run", "a: 1\n")
    folder = run.evaluations / "one"
    folder.mkdir(parents=True)

    def read(figures, settings):
        for name, text in (("figures.json", figures), ("settings.json", settings)):
            (folder / name).write_text(text)
        return probe_tables([probes_of(run), []])

    return read


def places(tree, at=()):
    """Where something could be missing."""
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield (*at, key)
            yield from places(tree[key], (*at, key))


@pytest.mark.parametrize("whole", [PROBE, CURVE], ids=["probe", "curve"])
def test_whatever_is_missing_is_told(read, whole):
    settings = json.dumps({"data": {"test": "f" * 64}})
    (table,) = read(json.dumps(whole), settings)
    assert any("0.5000" in values[0] for _, values in table.rows)
    refused = 0
    for *above, last in places(whole):
        for wrong in (None, "gone"):
            broken = deepcopy(whole)
            at = broken
            for key in above:
                at = at[key]
            if wrong is None:
                at[last] = None
            else:
                del at[last]
            try:
                read(json.dumps(broken), settings)
            except RecipeError:
                refused += 1
    assert refused > 10
    text = json.dumps(whole)
    for figures, settings in ((text[:-9], "{}"), ("[1]", "{}"), (text, "{}"), (text, '{"data"'), ("", "{}")):
        with pytest.raises(RecipeError, match="an evaluation cannot be read"):
            read(figures, settings)


def test_a_curve_without_points_is_shown_without_rows(read):
    (table,) = read(json.dumps({**CURVE, "curves": {"scratch-9": []}, "gain": {}}), '{"data": {}}')
    assert [name for name, _ in table.rows] == ["step of the checkpoint", "to be known"]
