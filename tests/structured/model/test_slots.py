"""Maps of numbers against their formulas, bins against the numbers that are in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepfm.errors import DataError, RecipeError
from hepfm_structured.config import StructuredConfig
from hepfm_structured.schema import field, part_schema
from hepfm_structured.slots import REACH, Slot, slots_of


def slot(kind, scale=1.0, classes=()):
    return Slot(table=0, column="x", component=(), kind=kind, scale=scale, classes=classes)


@pytest.mark.parametrize(
    ("kind", "scale", "formula"),
    [
        ("continuous", 10.0, lambda x: math.asinh(x / 10.0)),
        ("positive", 2.0, lambda x: math.log(x / 2.0)),
        ("periodic", 2 * math.pi, lambda x: x / (2 * math.pi) - math.floor(x / (2 * math.pi))),
    ],
)
@given(x=st.floats(1e-2, 1e3), sign=st.sampled_from([1, -1]))
def test_a_map_is_its_formula(kind, scale, formula, x, sign) -> None:
    x = x if kind == "positive" else sign * x
    value = float(slot(kind, scale).encode(torch.tensor([x], dtype=torch.float64)))
    assert math.isclose(value, formula(x), rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "positive", "periodic"])
@given(st.floats(-1e30, 1e30), st.integers(8, 200), st.floats(1e-3, 1e3))
def test_the_middle_of_a_bin_is_in_the_bin(kind, x, bins, scale) -> None:
    one = slot(kind, scale)
    value = one.encode(torch.tensor([x], dtype=torch.float64))
    bin_ = one.bin(value.float(), bins)
    assert 0 <= int(bin_) < bins
    again = one.bin(one.encode(one.middle(bin_, bins)), bins)
    assert torch.equal(bin_, again)


def test_what_is_out_of_reach_is_at_the_end() -> None:
    raw = torch.tensor([0.0, -5.0, 1e-30, 1e30], dtype=torch.float64)
    assert slot("positive").encode(raw).tolist() == [-REACH, -REACH, -REACH, REACH]
    assert slot("continuous").encode(torch.tensor([-1e30, 1e30]).double()).tolist() == [-REACH, REACH]


def test_angles_that_differ_by_a_period_are_one() -> None:
    raw = torch.tensor([-math.pi, math.pi, 3 * math.pi, 0.1, 0.1 - 2 * math.pi], dtype=torch.float64)
    share = slot("periodic", 2 * math.pi).encode(raw)
    torch.testing.assert_close(share, torch.tensor([0.5, 0.5, 0.5, share[3], share[3]], dtype=torch.float64))


@given(st.sets(st.integers(-(2**31), 2**31), min_size=1, max_size=9), st.integers(-(2**31), 2**31))
def test_a_class_without_a_name_is_number_0(classes, other) -> None:
    one = slot("categorical", classes=tuple(sorted(classes)))
    raw = torch.tensor([*sorted(classes), other], dtype=torch.float64)
    number = one.encode(raw)
    assert number[:-1].tolist() == list(range(1, len(classes) + 1))
    assert int(number[-1]) == (sorted(classes).index(other) + 1 if other in classes else 0)
    assert one.middle(one.bin(number, 8), 8)[:-1].tolist() == sorted(classes)


def test_scales_follow_units_and_the_recipe() -> None:
    schema = part_schema(
        {
            "pt": field("float32", "positive", unit="GeV"),
            "energy": field("float32", "positive", unit="MeV/c"),
            "eta": field("float32", "continuous"),
            "x": field("float32", "continuous", unit="mm", shape=(3,)),
            "phi": field("float32", "periodic", unit="deg", period=360.0),
        },
        {"met": field("float32", "positive", unit="GeV")},
    )
    slots = slots_of(schema, StructuredConfig(scales={"x": 5.0, "event.met": 30.0}))
    assert [s.scale for s in slots] == [1.0, 10.0, 0.1, 5.0, 5.0, 5.0, 360.0, 30.0]
    assert [s.term for s in slots] == ["pt", "energy", "eta", "x", "x", "x", "phi", "event.met"]
    numbers = torch.from_numpy(np.arange(6.0).reshape(2, 3))
    assert [s.pick(numbers).tolist() for s in slots[3:6]] == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    "option", [{"leave_out": ["ptt"]}, {"scales": {"ptt": 1.0}}, {"weights": {"ptt": 1.0}}]
)
def test_a_column_that_is_not_there_is_refused(schema, option) -> None:
    with pytest.raises(RecipeError, match="no column 'ptt'") as caught:
        slots_of(schema, StructuredConfig(**option))
    assert "pt" in caught.value.fix


def test_a_scale_of_what_has_none_is_refused(schema) -> None:
    with pytest.raises(RecipeError, match="'phi' is periodic, which has no scale"):
        slots_of(schema, StructuredConfig(scales={"phi": 1.0}))


def test_labels_alone_are_nothing_to_see() -> None:
    schema = part_schema({"y": field("float32", label=True), "number": field("int32")})
    with pytest.raises(DataError, match="no column that a model could see"):
        slots_of(schema, StructuredConfig())
