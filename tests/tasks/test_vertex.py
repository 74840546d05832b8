"""The vertex: the contract, and a toy where one token knows where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hepfm.api import Features, RaggedTable, Sample, Tokens
from hepfm.data.tensors import map_arrays, to_torch
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.testing import head_contract
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema
from hepfm_tasks.vertex import Vertex, VertexConfig

RAW = image3d_schema(voxels=("voxel", "energy_mev"), fragments=("semantic", "momentum_gev", "vertex"))
SCHEMA = {"lar": Image3D(Image3DConfig(), RAW).schema}
CELL_MM = 18.0


def event(i, vertices, voxels=9):
    n = len(vertices)
    rng = np.random.default_rng(i)
    inputs = {"voxel": rng.integers(0, 768, (voxels, 3)), "energy_mev": np.ones(voxels)}
    fragments = {
        "semantic": np.arange(n) % 5,
        "momentum_gev": np.arange(n),
        "vertex": np.array(vertices, float).reshape(n, 3),
    }
    return Sample(event_id=i, parts={"lar": {"voxels": inputs}}, labels={"lar": {"fragments": fragments}})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"take": "largest", "by": "momentum_gev", "width": 0},
        {"take": "all", "only": {"semantic": [0, 1, 2]}, "against": {"momentum_gev": [0, 1, 3]}},
    ],
)
def test_contract(options):
    """Vertices are missing, NaN, twice the same, far outside; an event has labels and no voxel."""
    many = [
        [[10, 20, 30], [5e3, 0, 0], [5e3, 0, 0]],
        [[np.nan, 0, 0]],
        [],
        [[1, 2, 3]],
        [[7, 8, 9], [-700, 0, 1]],
    ]
    samples = [event(i, each) for i, each in enumerate(many)] + [event(8, [[3, 4, 5]], voxels=0)]
    head_contract(Vertex, VertexConfig.model_validate(options), schema=SCHEMA, samples=samples)


def test_it_finds_the_token_that_knows_and_adds_what_it_says():
    """One token of each event is marked, and tells the step from its middle in units."""
    rng = np.random.default_rng(5)
    events, tokens = 30, 12
    position = rng.integers(0, 128, (events, tokens, 3)).astype(np.float32)
    x = np.zeros((events, tokens, 5), np.float32)
    step = rng.uniform(-3, 3, (events, 3)).astype(np.float32)
    x[:, 0, 0], x[:, 0, 1:4] = 4.0, step
    x[..., 4] = rng.normal(size=(events, tokens))
    vertex = -1152 + CELL_MM * (position[:, 0] + 0.5 + step)
    position[:, 1:] = np.where(  # no other token lies next to a vertex
        np.abs(position[:, 1:] - position[:, :1]).max(-1, keepdims=True) < 12, 300.0, position[:, 1:]
    )
    batch = to_torch(pack([event(i, [v]) for i, v in enumerate(vertex)], SCHEMA))
    torch.manual_seed(0)
    head = Vertex(VertexConfig(width=64), schema=SCHEMA, d_in=lambda need, part: 5)
    head.network[0] = torch.nn.Identity()
    features = Features(
        tokens=Tokens(
            x=torch.from_numpy(x.reshape(-1, 5)),
            positions=torch.from_numpy(position.reshape(-1, 3)),
            offsets=torch.arange(0, events * tokens + 1, tokens),
            part=torch.zeros(events * tokens, dtype=torch.int64),
        ),
        events=events,
    )
    before = figures(head, features, batch)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(100):
        optimiser.zero_grad()
        sums, counts = head.loss(head(features), batch), head.counts(batch)
        assert counts == {"token": events, "distance": events}
        sum(sums[term] / counts[term] for term in sums).backward()
        optimiser.step()
    after = figures(head, features, batch)
    assert before["median_mm"] > 3 * CELL_MM
    assert after["contained68_mm"] < 0.3 * CELL_MM
    assert after["median_mm"] < after["contained68_mm"]


def figures(head, features, batch):
    with torch.no_grad():
        table = head.predict(head(features))["lar"]["event"]
    columns = {n: v.numpy() for n, v in table.columns.items()}
    tables = {"lar": {"event": RaggedTable(columns, table.offsets.numpy())}}
    statistics = head.statistics(tables, map_arrays(batch, torch.Tensor.numpy))
    return head.figures({n: v.sum(0) for n, v in statistics.items()})


def test_a_token_is_where_its_voxels_are_and_a_vertex_counts_once():
    """The tokens of the image's own units, of which each has one voxel in its very middle, nearly."""
    modality = Image3D(Image3DConfig(cell_voxels=3), RAW)
    vertices = [[10, 20, 30], [-400, 0, 9], [-400, 0, 9]]
    head = Vertex(
        VertexConfig(take="all", width=0), schema={"lar": modality.schema}, d_in=lambda need, part: 5
    )
    torch.nn.init.zeros_(head.network[-1].weight)
    batch = to_torch(pack([event(3, vertices, voxels=1)], SCHEMA))
    voxel = batch.parts["lar"]["voxels"].columns["voxel"].long() // 3 * 3 + 1
    units = modality.units(batch.parts["lar"])
    tokens = Tokens(x=torch.ones(1, 5), positions=units.positions, offsets=units.offsets, part=torch.zeros(1))
    place = head.predict(head(Features(tokens=tokens, events=1)))["lar"]["event"].columns["vertex"]
    torch.testing.assert_close(place, -1152 + 3 * (voxel + 0.5))
    assert head.counts(batch) == {"token": 1, "distance": 2}
    true, _ = head.vertices(batch)
    assert sorted(true[0].tolist()) == sorted(map(list, {tuple(map(float, v)) for v in vertices}))


def test_the_distance_is_to_the_nearest_and_in_its_bin():
    head = Vertex(
        VertexConfig(take="all", against={"momentum_gev": [0, 0.5, 3]}),
        schema=SCHEMA,
        d_in=lambda need, part: 5,
    )
    many = [[[0, 0, 0], [100, 0, 0]], [[0, 0, 0], [300, 0, 0]], []]
    batch = pack([event(i, each) for i, each in enumerate(many)], SCHEMA)
    place = np.array([[90, 0, 0], [30, 40, 0], [0, 0, 0]], np.float32)
    columns = {"vertex": place, "probability": np.ones(3, np.float32)}
    found = head.statistics({"lar": {"event": RaggedTable(columns, np.arange(4))}}, batch)
    told = head.figures({name: values.sum(0) for name, values in found.items()})
    assert told["contained68_mm/momentum_gev/0-0.5"] == pytest.approx(50, rel=0.08)
    assert told["contained68_mm/momentum_gev/0.5-3"] == pytest.approx(10, rel=0.08)
    assert found["distance"].sum() == 2


def test_places_without_a_unit_or_a_frame_are_refused():
    bare = replace(SCHEMA["lar"], attributes={"grid": [768] * 3})
    for schema, message in ((bare, "where the part's tokens lie"), (RAW, "where the part's tokens lie")):
        with pytest.raises(DataError, match=message):
            Vertex(VertexConfig(), schema={"lar": schema}, d_in=lambda need, part: 5)
    column = replace(RAW.tables["fragments"]["vertex"], unit="")
    old = replace(SCHEMA["lar"], tables={**RAW.tables, "fragments": {"vertex": column}})
    with pytest.raises(DataError, match="convert the data again"):
        Vertex(VertexConfig(), schema={"lar": old}, d_in=lambda need, part: 5)
