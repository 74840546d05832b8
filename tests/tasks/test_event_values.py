"""Numbers of an event: the contract, and toys whose means and widths are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Features, RaggedTable, Sample
from hepfm.data.tensors import map_arrays, to_torch
from hepfm.errors import DataError, RecipeError
from hepfm.readers.pack import pack
from hepfm.testing import head_contract
from hepfm_image3d.schema import image3d_schema
from hepfm_tasks.event_values import EventValues, EventValuesConfig

FRAGMENTS = ("pid", "mass_mev", "momentum_gev", "momentum_xyz_gev")
SCHEMA = {"lar": image3d_schema(voxels=("voxel", "energy_mev"), fragments=FRAGMENTS)}


def event(i, momentum, mass=None):
    n = len(momentum)
    voxels = {"voxel": np.full((2, 3), i % 50), "energy_mev": np.ones(2)}
    fragments = {
        "pid": np.arange(n) % 5,
        "mass_mev": np.arange(n) if mass is None else mass,
        "momentum_gev": momentum,
        "momentum_xyz_gev": np.arange(3 * n).reshape(n, 3) - i,
    }
    return Sample(event_id=i, parts={"lar": {"voxels": voxels}}, labels={"lar": {"fragments": fragments}})


def head(config, d_in):
    torch.manual_seed(0)
    return EventValues(EventValuesConfig.model_validate(config), schema=SCHEMA, d_in=lambda need, part: d_in)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "labels": ["momentum_gev", "momentum_xyz_gev"],
            "log": ["momentum_gev"],
            "take": "largest",
            "by": "mass_mev",
            "against": {"momentum_gev": [0, 1, 5]},
        },
        {"take": "sum", "only": {"pid": [0, 1]}, "width": 0, "against": {"momentum_gev": [0, 5]}},
    ],
)
def test_contract(options):
    """Some numbers are NaN, some below zero, and an event has none."""
    momenta = [[1.0, 2.0, 0.3], [np.nan, 4.0], [-1.0], [], [np.nan], [np.inf, 0.4]]
    config = EventValuesConfig.model_validate(options)
    head_contract(EventValues, config, schema=SCHEMA, samples=[event(i, m) for i, m in enumerate(momenta)])


def learned(head, x, batch, steps=250):
    head.observe(batch)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.02)
    features = Features(pooled=x, events=len(x))
    for _ in range(steps):
        optimiser.zero_grad()
        loss = head.loss(head(features), batch)["likelihood"] / head.counts(batch)["likelihood"]
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        table = head.predict(head(features))["lar"]["event"]
    columns = {n: v.numpy() for n, v in table.columns.items()}
    tables = {"lar": {"event": RaggedTable(columns, table.offsets.numpy())}}
    statistics = head.statistics(tables, map_arrays(batch, torch.Tensor.numpy))
    return columns, head.figures({n: v.sum(0) for n, v in statistics.items()})


def test_it_learns_means_and_widths():
    """y = 300 + 50 x with a spread of 5 or 20, which a feature tells."""
    rng = np.random.default_rng(3)
    x, wide = rng.normal(size=4000), rng.integers(0, 2, 4000)
    spread = np.where(wide, 20.0, 5.0)
    y = 300 + 50 * x + spread * rng.normal(size=4000)
    y[::10] = np.nan  # not known
    batch = to_torch(pack([event(i, [1.0], mass=[v]) for i, v in enumerate(y)], SCHEMA))
    made = head({"labels": ["mass_mev"], "width": 0, "against": {"mass_mev": [100, 300, 500]}}, 2)
    made.network[0] = torch.nn.Identity()
    columns, figures = learned(made, torch.tensor(np.column_stack([x, 2.0 * wide - 1])).float(), batch)
    assert made.counts(batch) == {"likelihood": 3600}
    for which, sigma in ((0, 5.0), (1, 20.0)):
        assert np.median(columns["mass_mev_sigma"][wide == which]) == pytest.approx(sigma, rel=0.06)
    np.testing.assert_allclose(columns["mass_mev"], 300 + 50 * x, atol=4)
    assert figures["pull_width/mass_mev"] == pytest.approx(1, abs=0.05)
    assert figures["coverage68/mass_mev"] == pytest.approx(0.683, abs=0.03)
    assert figures["coverage95/mass_mev"] == pytest.approx(0.95, abs=0.015)
    residual = (columns["mass_mev"] - y)[np.isfinite(y)]
    low, high = np.quantile(residual, [0.15866, 0.84134])
    assert figures["resolution/mass_mev"] == pytest.approx((high - low) / 2, rel=0.03)
    below = (y >= 100) & (y < 300)
    low, high = np.quantile((columns["mass_mev"] - y)[below], [0.15866, 0.84134])
    assert figures["resolution/mass_mev/mass_mev/100-300"] == pytest.approx((high - low) / 2, rel=0.03)


def test_a_logarithm_is_told_as_a_part_of_the_value():
    """A resolution of 10 % over three decades."""
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, 3000)
    y = 10 ** (1.5 * x + 0.1 / np.log(10) * rng.normal(size=3000))
    batch = to_torch(pack([event(i, [v]) for i, v in enumerate(y)], SCHEMA))
    made = head({"labels": ["momentum_gev"], "log": ["momentum_gev"], "width": 0}, 1)
    made.network[0] = torch.nn.Identity()
    columns, figures = learned(made, torch.tensor(x[:, None]).float(), batch)
    assert np.median(columns["momentum_gev_sigma"] / columns["momentum_gev"]) == pytest.approx(0.1, rel=0.05)
    assert figures["resolution/momentum_gev"] == pytest.approx(0.1, rel=0.06)
    assert abs(figures["bias/momentum_gev"]) < 0.01
    assert figures["pull_width/momentum_gev"] == pytest.approx(1, abs=0.06)


def test_a_sum_is_of_the_rows_that_count():
    made = head({"take": "sum", "only": {"pid": [0, 1]}}, 1)
    batch = to_torch(pack([event(0, [1.0, 2.0, 4.0]), event(1, []), event(2, [np.nan, 8.0])], SCHEMA))
    found = made.numbers.truth(batch)[:, 0]
    torch.testing.assert_close(found, torch.tensor([3, np.nan, 8.0], dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": ["momentum"]}, DataError, "no labels 'momentum'"),
        ({"labels": ["pid"]}, DataError, "'pid' is of classes"),
        ({"log": ["mass_mev"]}, RecipeError, "'mass_mev' is asked for"),
        ({"against": {"energy": [0, 1]}}, DataError, "no column 'energy'"),
    ],
)
def test_what_cannot_be_learned_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        head(options, 1)
