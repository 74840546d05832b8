"""Packing keeps every row of every event, and gathers as a loop over events would."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepfm.errors import DataError
from hepfm.readers.pack import concat, pack, take


def test_an_event_is_unpacked_as_it_was(parts, events):
    made = events(6)
    batch = pack(made, parts)
    for row, event in enumerate(made):
        found = batch.event(row)
        assert found.event_id == event.event_id
        for want, have in ((event.parts, found.parts), (event.labels, found.labels)):
            for part, tables in want.items():
                for table, columns in tables.items():
                    for name, values in columns.items():
                        np.testing.assert_array_equal(have[part][table][name], values)
    assert len(batch.event(3).parts["light"]["samples"]["adc"]) == 0, "event 3 lacks the part"
    light = [len(e.parts.get("light", {}).get("samples", {}).get("adc", ())) for e in made]
    hits = [len(e.parts["image"]["hits"]["energy_mev"]) for e in made]
    np.testing.assert_array_equal(batch.cost, np.add(light, hits))


@given(rows=st.lists(st.integers(0, 9), max_size=20), cut=st.integers(0, 10))
def test_take_and_concat_are_loops_over_events(parts, events, same, rows, cut):
    made = events(10)
    batch = pack(made, parts)
    same(take(batch, rows), pack([made[r] for r in rows], parts))
    same(concat([pack(made[:cut], parts), pack(made[cut:], parts)]), batch)
    mask = np.isin(np.arange(10), rows)
    same(take(batch, mask), pack([e for e, m in zip(made, mask, strict=True) if m], parts))


def test_what_does_not_fit_is_named(parts, events):
    event = events(5)[4]
    hits = dict(event.parts["image"]["hits"])
    short = {**hits, "energy_mev": hits["energy_mev"][1:]}
    with pytest.raises(DataError, match="differ in length") as error:
        pack([dataclasses.replace(event, parts={"image": {"hits": short}})], parts)
    assert "table hits, column energy_mev" in error.value.where
    with pytest.raises(DataError, match="column is missing") as error:
        pack([dataclasses.replace(event, parts={"image": {"hits": {"voxel": hits["voxel"]}}})], parts)
    assert "energy_mev" in error.value.where
    long = {"image": {"hits": {**hits, "voxel": hits["voxel"].reshape(-1)}}}
    with pytest.raises(DataError, match=r"wanted rows of shape \(3,\), found an array of shape") as error:
        pack([dataclasses.replace(event, parts=long)], parts)
    assert "column voxel" in error.value.where
    fewer = {"image": {"hits": {"kind": event.labels["image"]["hits"]["kind"][1:]}}}
    with pytest.raises(DataError, match="labels and inputs differ"):
        pack([dataclasses.replace(event, labels=fewer)], parts)
