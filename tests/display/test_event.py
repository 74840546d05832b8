"""Displays are found by the kind of a part, and take batches of numpy and of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import PartSchema, RaggedTable, Reconstruction, Sample
from hepfm.display.event import reconstruction_panels, sample_panels
from hepfm.errors import PluginError
from hepfm_image3d.schema import image3d_schema

SCHEMA = image3d_schema(voxels=("voxel", "energy_mev"))


def test_each_part_is_drawn_by_its_kind():
    tables = {"voxels": {"voxel": np.zeros((2, 3), "u2"), "energy_mev": np.ones(2, "f4")}}
    labels = {"voxels": {"semantic": np.zeros(2, "i1")}}
    sample = Sample(event_id=1, parts={"a": tables, "b": tables}, labels={"b": labels})
    assert [p.title for p in sample_panels(sample, {"a": SCHEMA, "b": SCHEMA})] == [
        "a, energy",
        "b, energy",
        "b, class",
    ]


def test_a_reconstruction_is_cut_to_its_event():
    def table(*energies: float) -> dict[str, RaggedTable]:
        columns = {
            "voxel": torch.zeros(len(energies), 3),
            "energy_mev": torch.tensor(energies, dtype=torch.bfloat16),
        }
        return {"voxels": RaggedTable(columns, torch.tensor([0, 1, len(energies)]))}

    parts = {"a": Reconstruction(visible=table(1, 2), hidden=table(3, 4, 5), predicted=table(6, 7))}
    panels = reconstruction_panels(parts, {"a": SCHEMA}, 1)
    assert [panel.title for panel in panels] == [
        "a: visible, energy",
        "a: hidden, energy",
        "a: predicted, energy",
    ]
    assert [panel.values.tolist() for panel in panels] == [[2], [4, 5], [7]]


def test_a_kind_that_nobody_draws_is_named():
    schema = PartSchema(kind="nobody", primary="t", tables={"t": {}})
    with pytest.raises(PluginError, match="nobody"):
        sample_panels(Sample(event_id=1, parts={"a": {}}), {"a": schema})
