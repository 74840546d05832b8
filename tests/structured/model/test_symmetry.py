"""Symmetries against what they must leave alone: masses, angles between objects, one kinematics in two forms."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.errors import RecipeError
from hepfm_structured import fourvectors as fv
from hepfm_structured.schema import field, part_schema

NUMBER = field("float64", "continuous")
SCHEMA = part_schema(
    {
        "pt": field("float64", "positive"),
        "eta": NUMBER,
        "phi": field("float64", "periodic"),
        **dict.fromkeys(("px", "py", "pz", "dphi", "deta"), NUMBER),
        "x": field("int32", "continuous"),
        "y": field("int32", "continuous"),
    },
    {"MET_phi": field("float32", "periodic", period=360.0, unit="deg"), "MET_px": NUMBER, "MET_py": NUMBER},
)


def event(seed):
    rng = np.random.default_rng(seed)
    pt, eta, phi = rng.exponential(9, 5), rng.normal(0, 1, 5), rng.uniform(-np.pi, np.pi, 5)
    px, py, pz = fv.momentum_of(pt, eta, phi)
    met = rng.uniform(-np.pi, np.pi, 1)
    rows = {"pt": pt, "eta": eta, "phi": phi, "px": px, "py": py, "pz": pz, "dphi": phi / 9, "deta": eta}
    rows |= {"x": np.arange(5, dtype="i4"), "y": np.arange(5, dtype="i4")}
    record = {"MET_phi": np.rad2deg(met).astype("f4"), "MET_px": np.cos(met), "MET_py": np.sin(met)}
    return {"particles": rows, "event": record}


def products(columns):
    p = np.stack([columns[name] for name in ("px", "py", "pz")])
    return p.T @ p


def test_an_event_turns_as_a_whole(make_modality, packed, draws) -> None:
    events = [event(seed) for seed in range(60)]
    one = make_modality(SCHEMA, rotate=True, reflect=True)
    varied = one.augment(packed(events, SCHEMA), draws(range(60)))
    angles, flips = [], []
    for k, before in enumerate(events):
        rows, record = (
            {name: table[name][k].numpy() for name in table.columns}
            for table in (varied["particles"], varied["event"])
        )
        old = before["particles"]
        np.testing.assert_allclose(products(rows), products(old), rtol=1e-12, atol=1e-12)
        again = fv.momentum_of(rows["pt"], rows["eta"], rows["phi"])
        for name, wanted in zip(("px", "py", "pz"), again, strict=True):
            np.testing.assert_allclose(rows[name], wanted, atol=1e-12 * np.abs(rows["pz"]).max())
        # Missing momentum is where it was, seen from an object; columns that say nothing of it stay.
        met = np.deg2rad(record["MET_phi"][0].astype("f8"))
        np.testing.assert_allclose(
            [record["MET_px"][0], record["MET_py"][0]], [np.cos(met), np.sin(met)], atol=1e-6
        )
        old_met = np.deg2rad(before["event"]["MET_phi"][0].astype("f8"))
        np.testing.assert_allclose(np.cos(rows["phi"] - met), np.cos(old["phi"] - old_met), atol=1e-6)
        assert (np.abs(rows["phi"]) <= np.pi).all()
        assert abs(record["MET_phi"][0]) <= 180
        for same in ("pt", "dphi", "x", "y"):
            np.testing.assert_array_equal(rows[same], old[same])
        sign = rows["eta"] / old["eta"]
        assert (sign == sign[0]).all()
        np.testing.assert_array_equal(rows["deta"], rows["eta"])
        flips.append(sign[0])
        angles.append((rows["phi"][0] - old["phi"][0]) % (2 * np.pi))
    assert sorted(set(flips)) == [-1, 1]
    assert 15 < flips.count(1) < 45
    assert np.histogram(angles, 4, (0, 2 * np.pi))[0].min() > 4
    later = one.augment(packed(events, SCHEMA), draws(range(60), epoch=1))
    assert (later["particles"].columns["phi"] != varied["particles"].columns["phi"]).all()


def test_nothing_moves_unless_asked(make_modality, packed, draws) -> None:
    tables = packed([event(0)], SCHEMA)
    assert make_modality(SCHEMA).augment(tables, draws([1])) is tables


@pytest.mark.parametrize("option", ["rotate", "reflect"])
def test_a_symmetry_of_no_column_is_refused(make_modality, option) -> None:
    relative = part_schema({"pt": field("float32", "positive"), "dphi": NUMBER})
    with pytest.raises(RecipeError, match="says how it changes"):
        make_modality(relative, **{option: True})
