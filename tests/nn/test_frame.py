"""Where tokens of several parts lie: apart, or near one another along the axes that they share."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hepfm.api import Column, PartSchema, Units
from hepfm.errors import DataError
from hepfm.nn.frame import APART, Frame
from hepfm.nn.frame_attribute import check_frame
from hepfm.nn.ragged import pack_parts
from hepfm.nn.rotary import rotate, rotations
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.modality import Waveform


def located(**attributes):
    return SimpleNamespace(**attributes, piece_width=1, pieces=len)


def frame_of(*axes):
    return located(n_positions=3, axes=axes)


def scores(tokens):
    """Attention weights of the head that starts most local, before anything is learned."""
    torch.manual_seed(0)
    attention = Transformer(TransformerConfig(d_model=64, n_layers=1, n_heads=2), n_positions=3).blocks[0]
    bias = attention.attention.qkv.bias.view(3, 2, 32)
    q, k = bias[:2].expand(len(tokens.x), -1, -1, -1).unbind(1)
    turn = rotations(tokens.positions, 32, tokens.reach)
    found = torch.einsum("qhc,khc->hqk", rotate(q, turn), rotate(k, turn)) / 32**0.5
    return found[-1].softmax(-1)


def packed(frame, units):
    everything = {part: torch.ones(len(each.positions), dtype=torch.bool) for part, each in units.items()}
    return pack_parts(
        [
            (torch.zeros(len(each.positions), 64), *frame(part, each, everything[part]), each.offsets)
            for part, each in units.items()
        ]
    )


def units_at(positions, **places):
    return Units(positions=positions, offsets=torch.tensor([0, len(positions)]), payload=None, places=places)


def test_parts_without_a_common_axis_are_not_neighbours():
    """Attention that starts local looks at its own part, also where another's tokens have the same numbers."""
    grid = torch.cartesian_prod(*[torch.arange(0.0, 24.0, 4)] * 3)
    frame = Frame({"image": SimpleNamespace(n_positions=3), "trace": SimpleNamespace(n_positions=2)})
    assert (frame.axes, frame.n_positions) == ((), 3)
    tokens = packed(frame, {"image": units_at(grid), "trace": units_at(grid[::6, :2])})
    assert tokens.reach is None
    assert torch.equal(tokens.positions[tokens.part == 0], grid)
    assert (tokens.positions[tokens.part == 1, 2] == APART).all()
    weights = scores(tokens)[tokens.part == 0]
    assert weights[:, tokens.part == 1].sum(-1).max() < 0.01
    assert weights[:, tokens.part == 0].diagonal().min() > 0.5


def test_parts_that_share_axes_find_one_another_there():
    """A wire that sees x and u looks at the cells at its x and u, whatever their v; others do not matter."""
    cell = torch.cartesian_prod(*[torch.arange(0.0, 36.0, 6)] * 3)
    point = torch.ones(len(cell))
    image = units_at(cell, **{axis: torch.stack((cell[:, i], point), 1) for i, axis in enumerate("xuv")})
    wire = units_at(
        torch.zeros(1, 1), x=torch.tensor([[18.0, 4.0]]), u=torch.tensor([[6.0, 0.2]]),
        v=torch.tensor([[3.0, torch.inf]]),
    )  # fmt: skip
    modalities = {
        "image": located(n_positions=3, axes=("x", "u", "v")),
        "wire": located(n_positions=1, axes=("x", "u", "v")),
    }
    frame = Frame(modalities)
    assert (frame.axes, frame.n_positions) == (("x", "u", "v"), 3)
    tokens = packed(frame, {"image": image, "wire": wire})
    (weights,) = scores(tokens)[tokens.part == 1][:, tokens.part == 0]
    best = weights.view(6, 6, 6)
    assert best.flatten(1).sum(1).argmax() == 3
    assert best.sum((0, 2)).argmax() == 1
    torch.testing.assert_close(best[3, 1], best[3, 1, :1].expand(6))  # v says nothing
    assert best[3, 1].sum() > 5 * best[0, 4].sum()


def test_a_part_without_named_axes_lies_apart_in_a_common_frame():
    frame = Frame(
        {
            "a": frame_of("x"),
            "b": frame_of("x", "t"),
            "c": SimpleNamespace(n_positions=4),
        }
    )
    first = Frame({"c": SimpleNamespace(n_positions=4), "a": frame_of("x"), "b": frame_of("x", "t")})
    for each, times in ((frame, 3), (first, 1)):
        assert (each.axes, each.n_positions) == (("x", "t"), 4)
        positions, reach = each("c", units_at(torch.ones(2, 4)), torch.tensor([True, False]))
        assert torch.equal(positions, torch.full((1, 4), 1 + times * APART))
        assert torch.equal(reach, torch.zeros(1, 4))
    positions, reach = frame(
        "a", units_at(torch.ones(1, 3), x=torch.tensor([[5.0, 2.0]])), torch.tensor([True])
    )
    assert torch.equal(positions, torch.tensor([[5.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(reach, torch.tensor([[2.0, *[torch.inf] * 3]]))


@pytest.mark.parametrize("reach", [0.0, 0.5, 3.0, 40.0])
def test_what_reaches_over_a_length_is_turned_by_the_mean_over_it(reach):
    x = torch.tensor([[7.0, -3.0]])
    steps = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1
    along = (7.0 + reach * steps).float()[:, None] * torch.tensor([1.0, 0.0]) + torch.tensor([0.0, -3.0])
    wanted = rotations(along, 16).mean(0)
    found = rotations(x, 16, torch.tensor([[reach, 0.0]]))[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


def test_an_axis_of_unknown_place_adds_nothing_to_a_score():
    found = rotations(torch.zeros(1, 2), 16, torch.tensor([[torch.inf, 0.0]]))[0, 0]
    assert found.abs().tolist() == [0.0, 1.0] * 4


FRAME = {
    "axes": {"x": [1, 0, 0], "U": [0, 0.6, 0.8]},
    "unit_mm": 10.0,
    "size_mm": [3.0],
    "sees": [["x", "U"]],
    "drift": [{"first_channel": 0, "axis": "x", "anode_mm": -384, "velocity_mm_us": -1.6}],
}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"axes": ["x", "y"]}, "frame, axes"),
        ({"axes": {}}, "frame, axes"),
        ({"axes": {"x": [1, 0]}}, "frame, axes.x"),
        ({"axes": {"x": [1, 0, float("nan")]}}, "frame, axes.x.2"),
        ({"unit_mm": 0}, "frame, unit_mm"),
        ({"dirft": []}, "frame, dirft"),
        ({"sees": [["x", "V"]]}, "no axis 'V' among x, U"),
        ({"drift": [{**FRAME["drift"][0], "axis": "z"}]}, "no axis 'z' among x, U"),
        ({"drift": [{"first_channel": 0, "axis": "x"}]}, "frame, drift.0.anode_mm"),
    ],
)
def test_a_frame_that_cannot_be_used_is_refused_with_its_place(change, where):
    schema = PartSchema(kind="any", primary="t", tables={"t": {}}, attributes={"frame": {**FRAME, **change}})
    with pytest.raises(DataError, match=re.escape(where)):
        check_frame(schema)
    check_frame(replace(schema, attributes={"frame": FRAME}))
    with pytest.raises(DataError, match="no attribute 'origin_mm'"):
        check_frame(replace(schema, attributes={"frame": FRAME, "voxel_mm": 3.0}), "voxel_mm", "origin_mm")


def test_both_kinds_look_at_their_frame():
    image = image3d_schema(voxels=("voxel", "energy_mev"), grid=(24, 24, 24))
    column = Column(dtype="int32")
    traces = dict.fromkeys(("channel", "start_tick"), column) | {
        "n_samples": Column(dtype="int32", lengths_of="samples"),
        "position_mm": Column(dtype="float32", shape=(3,)),
        "time_ns": Column(dtype="float64"),
    }
    tables = {"traces": traces, "samples": {"adc": column}}
    wires = PartSchema(kind="waveform", primary="samples", tables=tables, attributes={"sample_ns": 500.0})
    broken, timeless = ({"frame": frame} for frame in ("x", {"axes": FRAME["axes"], "unit_mm": 10.0}))
    for kind, config, schema, frame, what in (
        (Image3D, Image3DConfig, image, broken, "cannot be read"),
        (Waveform, WaveformConfig, wires, broken, "cannot be read"),
        (Waveform, WaveformConfig, wires, timeless, "no unit of it"),
    ):
        framed = replace(schema, attributes={**schema.attributes, **frame})
        with pytest.raises(DataError, match=what):
            kind(config(), framed)
        assert kind(config(shared_axes=False), framed).axes == ()
