"""Real-physics events through reader, order, deal and loader: the world size changes who reads, never what."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from hepfm.data.loader import Loader
from hepfm.data.source import check_apart, open_source
from hepfm.recipe.schema import Part

PARTS = {"image3d": Part(kind="image3d", min_energy_mev=0.13)}


def events_of(steps) -> list[dict[int, bytes]]:
    """Of each step, event id to the bytes of its voxels and energies."""
    many = []
    for step in steps:
        held = {}
        for batch in step.micro_batches:
            voxels = batch.parts["image3d"]["voxels"]
            for row, event_id in enumerate(batch.event_ids.tolist()):
                arrays = [voxels[name][row].numpy().tobytes() for name in ("voxel", "energy_mev")]
                held[event_id] = b"".join(arrays)
        many.append(held)
    return many


@pytest.fixture(scope="module")
def validation(real_data):
    return open_source(str(real_data / "geant4_lartpc" / "val"), parts=PARTS, max_event_cost=100_000)


def test_worlds_hold_the_same_events_bit_for_bit(validation):
    def run(rank, world, micro):
        loader = Loader(validation, seed=3, batch_cost=40_000, micro_batch_cost=micro, rank=rank, world=world)
        return events_of(islice(loader, 15))

    alone = run(0, 1, 10**9)
    for world, micro in ((2, 8_000), (3, 100_000)):
        ranks = [run(rank, world, micro) for rank in range(world)]
        for one, shares in zip(alone, zip(*ranks, strict=True), strict=True):
            assert sum(map(len, shares)) == len(one)
            assert {k: v for share in shares for k, v in share.items()} == one


def test_the_cut_is_that_of_the_recipe(validation):
    voxels = validation.read(np.arange(20)).parts["image3d"]["voxels"]
    assert voxels.columns["energy_mev"].min() > 0.13
    assert voxels.offsets[-1] < validation.costs[:20].sum()


def test_splits_of_the_sample_are_apart(real_data, validation):
    train = open_source(str(real_data / "geant4_lartpc" / "train"), parts=PARTS)
    assert len(train) == 1000
    check_apart(train, validation)
