"""What runs make of single events, and how well they do, as pictures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hepfm.errors import DataError, RecipeError
from hepfm.readers.store import StoreReader
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


def titles(path):
    """Of a page's panels."""
    panels = re.search(r'<script id="panels"[^>]*>(.*?)</script>', path.read_text(), re.DOTALL)[1]
    return [each["title"] for each in json.loads(panels)]


def test_any_run_shows_what_it_makes_of_an_event(hepfm, runs, folder, tmp_path):
    """Of a task truth beside prediction, of pretraining what was hidden; the file is told, on its own."""
    said = hepfm("display", runs["task"].path).strip()
    assert said == f"{runs['task'].name}-event-0.html"
    hepfm("predict", runs["task"].path, "--data", "val.h5", "--out", tmp_path / "val", "--workers", 0,
          "--carry", "labels")  # fmt: skip
    with StoreReader(tmp_path / "val") as reader:
        batch = reader.read([0])
    true, called = (
        half["voxels"].columns["semantic"]
        for half in (batch.labels["image3d"], batch.parts["predicted_image3d"])
    )
    assert titles(folder / said) == [
        "image3d: true semantic",
        "image3d: predicted semantic",
        f"image3d: wrong, {(true != called).mean():.1%} of {len(true)} points",
    ]
    said = hepfm("display", runs["pre"].path, "--data", "test.h5", "--event", 3, "--out", tmp_path / "a.html")
    assert said.strip() == str(tmp_path / "a.html")
    assert [title.partition(",")[0] for title in titles(tmp_path / "a.html")] == [
        "image3d: visible", "image3d: hidden", "image3d: predicted",
    ]  # fmt: skip
    hepfm("display", runs["task"].path, "--data", "test.h5", "--event", 4, "--out", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG"), "of an empty event"


def test_what_is_not_there_is_refused_and_without_labels_the_prediction_is_drawn(
    hepfm, runs, events, store, tmp_path
):
    task = runs["task"].path
    assert "no event 10" in hepfm("display", task, "--data", "test.h5", "--event", 10, fails=DataError)
    assert ".html or .png" in hepfm("display", task, "--out", "a.pdf", fails=RecipeError)
    bare = image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48))
    store(tmp_path / "bare.h5", [replace(sample, labels={}) for sample in events([70])], bare)
    hepfm("display", task, "--data", tmp_path / "bare.h5", "--out", tmp_path / "c.html")
    assert titles(tmp_path / "c.html") == ["image3d, energy", "image3d: predicted semantic"]


def test_an_evaluation_has_its_plots(hepfm, runs):
    result = json.loads(hepfm("evaluate", runs["task"].path, "--data", "test.h5", "--json"))
    assert titles(Path(result["folder"], "plots.html")) == ["true and predicted classes", "calibration"]
    assert Path(result["folder"], "plots.png").stat().st_size > 10_000
