"""The row that tells an event's truth, against a loop over events and rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Sample
from hepfm.data.tensors import to_torch
from hepfm.errors import DataError, RecipeError
from hepfm.readers.pack import pack
from hepfm_image3d.schema import image3d_schema
from hepfm_tasks.rows import Rows, RowsConfig, at

SCHEMA = {
    "lar": image3d_schema(voxels=("voxel", "energy_mev"), fragments=("pid", "semantic", "momentum_gev"))
}
NOTHING = {"voxel": np.zeros((0, 3)), "energy_mev": np.zeros(0)}


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(0)
    tables = [
        {
            "pid": rng.integers(-1, 5, n),
            "semantic": rng.integers(0, 5, n),
            "momentum_gev": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 4, n)),  # some tie
        }
        for n in rng.integers(0, 9, 40)
    ]
    return [
        Sample(event_id=i, parts={"lar": {"voxels": NOTHING}}, labels={"lar": {"fragments": table}})
        for i, table in enumerate(tables)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"only": {"semantic": [0, 1]}},
        {"take": "largest", "by": "momentum_gev", "only": {"pid": [1, 2, 3, 4]}},
    ],
)
def test_the_row_is_that_of_a_loop(events, options):
    rows = Rows(RowsConfig.model_validate(options), SCHEMA)
    batch = to_torch(pack(events, SCHEMA))
    known = rows.values(batch, "pid") >= 0
    found = at(rows.values(batch, "momentum_gev"), rows.chosen(batch, known), otherwise=-5.0)
    wanted = []
    for event in events:
        table, best = event.labels["lar"]["fragments"], (-1.0, -5.0)
        for pid, semantic, momentum in zip(*table.values(), strict=True):
            if pid < 0 or not all(
                {"pid": pid, "semantic": semantic}[name] in values for name, values in rows.only.items()
            ):
                continue
            if rows.by and np.isnan(momentum):
                continue
            size = momentum if rows.by else 0.0
            if size > best[0]:
                best = (size, momentum)
        wanted.append(best[1])
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"table": "fragment"}, DataError, "no table 'fragment'"),
        ({"only": {"pit": [1]}}, DataError, "no column 'pit'"),
        ({"take": "largest"}, RecipeError, "not of what"),
        ({"label_part": "light"}, DataError, "no part 'light'"),
    ],
)
def test_what_is_not_there_is_told(options, error, message):
    with pytest.raises(error, match=message):
        Rows(RowsConfig.model_validate(options), SCHEMA)


def test_events_without_their_labels_are_refused(events):
    with pytest.raises(DataError, match="have no 'pid'"):
        Rows(RowsConfig(), SCHEMA).values(to_torch(pack(events, SCHEMA, labels=False)), "pid")
