"""The head ``particles``: contract, truth, and toys that it must learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Features, RaggedTable, Sample, Tokens
from hepfm.data.tensors import map_arrays, to_torch
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.testing import head_contract
from hepfm_image3d.schema import image3d_schema
from hepfm_tasks.anchors import anchors_of, shuffled
from hepfm_tasks.instances import instances_of, kinetic_energy, truth_rows
from hepfm_tasks.particles import Particles, ParticlesConfig

FRAGMENTS = ("fragment_id", "group_id", "n_voxels", "pid", "mass_mev", "momentum_gev")
SCHEMA = {
    "image3d": image3d_schema(voxels=("voxel", "energy_mev", "group"), fragments=FRAGMENTS, grid=(96, 96, 96))
}
MASS = {2: 105.658, 4: 938.272}


def event(event_id, particles, n_low=4):
    """Blobs of 12 voxels far from one another, a muon or a proton each, and low-energy deposits."""
    rng = np.random.default_rng(event_id)
    corner = np.array([(x, y, z) for x in (6, 46, 86) for y in (6, 46, 86) for z in (6, 46, 86)])
    place = rng.permutation(corner)[:particles]
    cube = np.stack(np.meshgrid(range(3), range(2), range(2), indexing="ij"), -1).reshape(-1, 3)
    low = rng.integers(20, 36, (n_low, 3))
    voxel = np.concatenate([*(at + cube for at in place), low]).reshape(-1, 3).astype("u2")
    group = np.concatenate([np.repeat(np.arange(particles) * 3, 12), np.full(n_low, -1)]).astype("i4")
    pid = np.where(np.arange(particles) % 2, 4, 2)
    row = {
        "fragment_id": np.arange(particles) * 3,
        "group_id": np.arange(particles) * 3,
        "n_voxels": np.full(particles, 12),
        "pid": pid,
        "mass_mev": np.array([MASS[each] for each in pid.tolist()]),
        "momentum_gev": np.full(particles, 0.5),
    }
    row = {
        name: values.astype(SCHEMA["image3d"].tables["fragments"][name].dtype) for name, values in row.items()
    }
    energy = np.where(group < 0, 0.2, 1.0 + pid[group // 3] if particles else 0.0).astype("f4")
    return Sample(
        event_id=event_id,
        parts={"image3d": {"voxels": {"voxel": voxel, "energy_mev": energy}}},
        labels={"image3d": {"voxels": {"group": group}, "fragments": row}},
    )


def features(batch):
    """What an encoder might say: place and energy of each voxel, and whether it is of a low-energy deposit."""
    table = batch.parts["image3d"]["voxels"]
    place = table.columns["voxel"].float() / 6
    energy = table.columns["energy_mev"][:, None]
    x = torch.cat((place / 8 - 1, energy / 3, (energy < 0.5).float()), 1)
    part = torch.zeros(len(x), dtype=torch.int64)
    points = Tokens(x=x, positions=place, offsets=table.offsets, part=part)
    return Features(points=points, tokens=points, events=len(batch))


def made(**options):
    torch.manual_seed(0)
    return Particles(ParticlesConfig(width=32, **options), schema=SCHEMA, d_in=lambda need, part: 5)


def figures(head, batch):
    with torch.no_grad():
        tables = head.predict(head(features(batch)))["image3d"]
    found = {
        name: RaggedTable({c: v.numpy() for c, v in t.columns.items()}, t.offsets.numpy())
        for name, t in tables.items()
    }
    statistics = head.statistics({"image3d": found}, map_arrays(batch, torch.Tensor.numpy))
    return found, head.figures({name: values.sum(0) for name, values in statistics.items()})


@pytest.mark.parametrize("options", [{}, {"properties": False, "layers": 0}, {"queries": 2}])
def test_it_is_a_head(options):
    samples = [event(1, 2), event(2, 1, n_low=0), event(3, 5)]
    head_contract(Particles, ParticlesConfig(width=32, **options), schema=SCHEMA, samples=samples)


def test_it_learns_particles_that_lie_apart():
    head, batch = made(queries=24), to_torch(pack([event(i, 1 + i % 4) for i in range(8)], SCHEMA))
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    counts = head.counts(batch)
    for _ in range(50):
        optimiser.zero_grad()
        sums = head.loss(head(features(batch)), batch)
        sum(weight * sums[term] / counts[term] for term, weight in head.weights.items()).backward()
        optimiser.step()
    found, good = figures(head, batch)
    assert good["ari"] == 1
    assert good["pq"] > 0.9
    assert good["pq_class"] > 0.8
    assert abs(good["energy_bias"]) < 0.1
    assert found["particles"].lengths.tolist() == pytest.approx([1 + i % 4 for i in range(8)], abs=1)
    unseen = to_torch(pack([event(i, 1 + i % 4) for i in range(20, 28)], SCHEMA))
    assert figures(head, unseen)[1]["ari"] > 0.8


def test_events_without_particles_and_with_more_than_queries():
    head = made(queries=2, smallest=1)
    batch = to_torch(pack([event(0, 0, n_low=0), event(1, 0), event(2, 6)], SCHEMA))
    sums, counts = head.loss(head(features(batch)), batch), head.counts(batch)
    assert counts == {"mask": 2, "dice": 2, "inside": 4 + 76, "pid": 6, "energy": 6}
    assert all(torch.isfinite(value) for value in sums.values())
    found, _ = figures(head, batch)
    assert found["particles"].lengths[0] == 0
    assert found["particles"].lengths.max() <= 2


def test_anchors_are_of_all_particles_and_mostly_of_large_ones():
    number = torch.tensor([-1] * 50 + [4] * 80 + [7] * 2 + [9] * 18)
    anchors = anchors_of(torch.rand(150, 3, generator=torch.Generator().manual_seed(1)), number, 24)
    assert len(anchors.unique()) == 24
    drawn = {value: int((number[anchors] == value).sum()) for value in (-1, 4, 7, 9)}
    assert drawn[-1] == 0
    assert drawn[7] == 2
    assert drawn[4] > drawn[9] >= 5


def test_anchors_follow_from_places_and_not_from_the_order_of_rows():
    rng = np.random.default_rng(4)
    places = torch.from_numpy(rng.permutation(np.argwhere(np.ones((10, 10, 10))))) / 6
    number, mixed = torch.from_numpy(rng.integers(-1, 9, 1000)), torch.from_numpy(rng.permutation(1000))
    assert torch.equal(mixed[shuffled(places[mixed])], shuffled(places))
    assert torch.equal(mixed[anchors_of(places[mixed], number[mixed], 50)], anchors_of(places, number, 50))
    first = shuffled(places)[:200]
    assert torch.allclose(places[first].mean(0), places.mean(0), atol=0.15)
    assert torch.allclose(places[first].std(0), places.std(0), atol=0.1)


def test_points_of_one_place_do_not_come_all_at_once():
    places = torch.arange(20).repeat_interleave(50)[:, None] * 1.0
    assert len(places[shuffled(places)[:40]].unique()) > 12
    assert shuffled(places).sort().values.tolist() == list(range(1000))


def test_the_truth_of_a_particle_is_its_leading_or_largest_fragment():
    rng = np.random.default_rng(3)
    group, offsets = rng.integers(-1, 6, 60), torch.tensor([0, 25, 25, 60])
    instances = instances_of(torch.from_numpy(group), offsets)
    ids, groups = rng.integers(0, 8, 40), rng.integers(-1, 6, 40)
    size, rows = rng.permutation(40), torch.tensor([0, 18, 22, 40])
    table = RaggedTable(
        {
            name: torch.from_numpy(values)
            for name, values in (("fragment_id", ids), ("group_id", groups), ("n_voxels", size))
        },
        rows,
    )
    expected = []
    for event_, number in zip(instances.event.tolist(), instances.number.tolist(), strict=True):
        mine = [r for r in range(rows[event_], rows[event_ + 1]) if groups[r] == number]
        leading = [r for r in mine if ids[r] == number]
        expected.append(max(leading or mine, key=lambda r: size[r], default=-1))
    assert truth_rows(instances, table).tolist() == expected
    points = zip(np.repeat([0, 2], [25, 35]).tolist(), group.tolist(), strict=True)
    wanted = sorted({(e, g) for e, g in points if g >= 0})
    assert list(zip(instances.event.tolist(), instances.number.tolist(), strict=True)) == wanted


def test_kinetic_energies():
    momentum, mass = torch.tensor([0.3112, 0.1, -1.0]), torch.tensor([938.272, 0.0, 105.7])
    energy = kinetic_energy(momentum, mass)
    assert energy[:2].tolist() == pytest.approx([50.26, 100.0], abs=0.01)
    assert energy[2].isnan()


def test_labels_that_are_missing_are_named():
    schema = {"image3d": image3d_schema(voxels=("voxel", "energy_mev", "group"))}
    with pytest.raises(DataError, match="fragment_id"):
        Particles(ParticlesConfig(), schema=schema, d_in=lambda need, part: 5)
    Particles(ParticlesConfig(properties=False), schema=schema, d_in=lambda need, part: 5)
