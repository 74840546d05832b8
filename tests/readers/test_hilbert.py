"""The curve visits every voxel of a cube once, in steps to a neighbour; ordering keeps labels with their rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hepfm.readers.hilbert import hilbert_index, hilbert_order, order_rows
from hepfm.readers.pack import pack, take


def test_steps_go_to_a_neighbour_and_visit_all():
    side = 16
    cube = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.uint16)
    order = hilbert_order(cube)
    np.testing.assert_array_equal(hilbert_index(cube)[order], np.arange(side**3))
    assert (np.abs(np.diff(cube[order].astype(int), axis=0)).sum(1) == 1).all()


@given(st.lists(st.tuples(*[st.integers(0, 65535)] * 3), min_size=2, max_size=40, unique=True))
def test_different_voxels_have_different_places(voxels):
    index = hilbert_index(np.array(voxels, np.uint16))
    assert len(np.unique(index)) == len(voxels)
    assert int(index.max()) < 2**48


def test_rows_move_with_their_labels_and_stay_in_their_event(parts, events):
    made = events(12)
    batch = pack(made, parts)
    ordered = order_rows(batch, parts)
    np.testing.assert_array_equal(
        ordered.parts["light"]["samples"].columns["adc"], batch.parts["light"]["samples"].columns["adc"]
    )
    for row in range(12):
        before, after = batch.event(row), ordered.event(row)
        voxel = before.parts["image"]["hits"]["voxel"]
        order = sorted(range(len(voxel)), key=lambda i, v=voxel: int(hilbert_index(v[i : i + 1])[0]))
        for old, new in ((before.parts, after.parts), (before.labels, after.labels)):
            for name, values in old["image"]["hits"].items():
                np.testing.assert_array_equal(new["image"]["hits"][name], values[order])
        again = order_rows(take(batch, [row]), parts).event(0)
        np.testing.assert_array_equal(
            again.parts["image"]["hits"]["voxel"], after.parts["image"]["hits"]["voxel"]
        )
