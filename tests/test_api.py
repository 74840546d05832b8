"""The contracts: light to import, frozen, and the containers cut where their offsets say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from hepfm import api
from hepfm.plugins import SPEC_OF


def test_importing_the_contracts_loads_neither_numpy_nor_torch():
    source = "import sys, hepfm.api; print([m for m in ('numpy', 'torch', 'pydantic') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"


def test_every_dataclass_is_frozen():
    classes = [cls for cls in vars(api).values() if dataclasses.is_dataclass(cls)]
    assert len(classes) > 15
    assert all(cls.__dataclass_params__.frozen for cls in classes)


def test_every_spec_belongs_to_one_hook():
    specs = {cls for cls in vars(api).values() if isinstance(cls, type) and issubclass(cls, api.Spec)} - {
        api.Spec
    }
    assert set(SPEC_OF.values()) == specs
    assert len(SPEC_OF) == len(specs)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_a_ragged_is_cut_at_its_offsets(make):
    ragged = api.Ragged(make([10, 11, 12, 13]), make([0, 3, 3, 4]))
    assert len(ragged) == 3
    assert [ragged[i].tolist() for i in range(3)] == [[10, 11, 12], [], [13]]
    assert ragged.lengths.tolist() == [3, 0, 1]


def test_a_table_gives_its_columns_as_raggeds():
    table = api.RaggedTable({"a": np.arange(4), "b": np.arange(8).reshape(4, 2)}, np.array([0, 1, 4]))
    assert len(table) == 2
    assert table.lengths.tolist() == [1, 3]
    assert table["b"][1].tolist() == [[2, 3], [4, 5], [6, 7]]


def test_an_event_of_a_batch_has_its_unsigned_id_and_views_of_its_rows():
    table = api.RaggedTable({"a": np.arange(5)}, np.array([0, 2, 5]))
    ids = np.array([2**64 - 1, 7], np.uint64).view(np.int64)
    batch = api.Batch(
        event_ids=ids, cost=np.array([2, 3]), parts={"p": {"t": table}}, labels={"p": {"t": table}}
    )
    assert len(batch) == 2
    first, second = batch.event(0), batch.event(1)
    assert (first.event_id, second.event_id) == (2**64 - 1, 7)
    assert first.parts["p"]["t"]["a"].tolist() == [0, 1]
    assert second.labels["p"]["t"]["a"].tolist() == [2, 3, 4]
    assert np.shares_memory(second.parts["p"]["t"]["a"], table.columns["a"])
