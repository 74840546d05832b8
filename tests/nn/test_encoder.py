"""The encoder over two parts of different width of position, with a small tokenizer that is all there is to it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hepfm.api import Ragged, Units
from hepfm.errors import RecipeError
from hepfm.nn.encoder import Encoder
from hepfm.nn.ragged import event_index, offsets_of
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.random import Draws


class PointTokenizer(nn.Module):
    """A unit is a point with two features; its points are the units themselves."""

    point_width = 2

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.project = nn.Linear(2, d_model)

    def forward(self, units: Units, visible: Tensor) -> tuple[Tensor, Tensor]:
        return self.project(units.payload[visible]), units.payload[visible]

    def spread(self, points: Tensor, x: Tensor) -> Tensor:
        return x

    def features(self, points: Tensor, x: Tensor) -> Tensor:
        return points * x[:, :2]

    def rows(self, units: Units, values: Tensor) -> Ragged:
        return Ragged(values, units.offsets)


def units_of(lengths: list[int], n_positions: int, seed: int) -> Units:
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    return Units(
        positions=torch.rand(n, n_positions, generator=generator) * 50,
        offsets=offsets_of(torch.tensor(lengths, dtype=torch.int64)),
        payload=torch.randn(n, 2, generator=generator),
    )


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    backbone = Transformer(TransformerConfig(d_model=24, n_layers=2, n_heads=2, drop_path=0.2), n_positions=3)
    image, trace = (SimpleNamespace(tokenizer=PointTokenizer, n_positions=n) for n in (3, 1))
    return Encoder({"image": image, "trace": trace}, backbone)


UNITS = {"image": units_of([5, 0, 3, 0], 3, 1), "trace": units_of([2, 4, 0, 0], 1, 2)}


def cut(units: Units, event: int, keep: Tensor | None = None) -> Units:
    mine = event_index(units.offsets) == event
    mine = mine if keep is None else mine & keep
    return Units(
        positions=units.positions[mine],
        offsets=torch.tensor([0, int(mine.sum())]),
        payload=units.payload[mine],
    )


def test_tokens_of_an_event_lie_together_parts_in_order(encoder: Encoder) -> None:
    tokens = encoder(UNITS)
    assert tokens.offsets.tolist() == [0, 7, 11, 14, 14]
    assert tokens.part.tolist() == [0] * 5 + [1] * 2 + [1] * 4 + [0] * 3
    assert tokens.x.shape == (14, 24)
    assert encoder(UNITS, layers=(1, 2)).x.shape == (14, 48)


def test_an_event_alone_equals_the_event_in_a_batch(encoder: Encoder) -> None:
    ids = torch.tensor([5, 6, 7, 8])
    together = encoder(UNITS, draws=Draws(seed=0, epoch=0, event_ids=ids))
    for event in range(4):
        alone = encoder(
            {part: cut(units, event) for part, units in UNITS.items()},
            draws=Draws(seed=0, epoch=0, event_ids=ids[event : event + 1]),
        )
        rows = slice(int(together.offsets[event]), int(together.offsets[event + 1]))
        torch.testing.assert_close(alone.x, together.x[rows], rtol=0, atol=1e-5)


def test_hidden_units_have_no_influence(encoder: Encoder) -> None:
    visible = {"image": torch.tensor([1, 0, 1, 1, 0, 0, 0, 1]).bool()}
    seen = encoder(UNITS, visible)
    assert seen.offsets.tolist() == [0, 5, 9, 10, 10]
    only = {"image": cut(UNITS["image"], 0, visible["image"]), "trace": cut(UNITS["trace"], 0)}
    torch.testing.assert_close(encoder(only).x, seen.x[:5], rtol=0, atol=1e-5)


def test_parts_see_one_another_and_are_told_apart(encoder: Encoder) -> None:
    trace = UNITS["trace"]
    changed = Units(positions=trace.positions, offsets=trace.offsets, payload=trace.payload * 100)
    out, other = encoder(UNITS).x, encoder({**UNITS, "trace": changed}).x
    assert (out[:5] - other[:5]).abs().max() > 1e-5
    torch.testing.assert_close(out[11:], other[11:])
    with torch.no_grad():
        encoder.part_embedding.weight[1] += torch.linspace(-1, 1, 24)
    assert (encoder(UNITS).x[5:7] - out[5:7]).abs().max() > 1e-3


@pytest.mark.parametrize("layers", [(), (1,), (1, 2)])
def test_points_have_the_units_of_the_layers_read_and_features_of_the_output(
    encoder: Encoder, layers: tuple[int, ...]
) -> None:
    read, output = encoder(UNITS, layers=layers).x, encoder(UNITS).x
    for index, (part, units) in enumerate(UNITS.items()):
        points = encoder.features(UNITS, needs=("points",), part=part, layers=layers).points
        mine = encoder(UNITS).part == index
        wanted = torch.cat((read[mine], units.payload * output[mine, :2]), 1)
        assert torch.equal(points.offsets, units.offsets)
        torch.testing.assert_close(points.x, wanted)
        torch.testing.assert_close(points.positions, units.positions)
        assert points.x.shape[1] == encoder.width("points", part, layers=layers)


@pytest.mark.parametrize("part", ["", "image", "trace"])
def test_events_are_pooled_by_mean_spread_and_largest_token(encoder: Encoder, part: str) -> None:
    found = encoder.features(UNITS, needs=("tokens", "pooled"), part=part, layers=(1, 2))
    x, offsets = found.tokens.x, found.tokens.offsets
    read = encoder(UNITS, layers=(1, 2))
    mine = (
        torch.ones(len(read.x), dtype=torch.bool) if not part else read.part == ["image", "trace"].index(part)
    )
    assert torch.equal(x, read.x[mine])
    if part:  # in its own frame, though the second part was moved away from the first
        assert torch.equal(found.tokens.positions, UNITS[part].positions)
    assert found.points is None
    assert found.pooled.shape == (found.events, encoder.width("pooled", part, layers=(1, 2)))
    for event in range(found.events):
        rows = x[offsets[event] : offsets[event + 1]].double()
        if not len(rows):
            assert not found.pooled[event].any()
            continue
        spread = (rows.var(0, correction=0) + 1e-6).sqrt()
        wanted = torch.cat((rows.mean(0), spread, rows.amax(0))).float()
        torch.testing.assert_close(found.pooled[event], wanted, rtol=1e-4, atol=1e-5)


def test_no_events_reach_every_parameter(encoder: Encoder) -> None:
    empty = {"image": units_of([], 3, 0), "trace": units_of([], 1, 0)}
    draws = Draws(seed=0, epoch=0, event_ids=torch.empty(0, dtype=torch.int64))
    encoder(empty, draws=draws).x.sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("part", ["image", "trace"])
def test_a_part_that_is_left_out_is_one_that_all_events_lack(encoder: Encoder, part: str) -> None:
    empty = {"image": units_of([0] * 4, 3, 0), "trace": units_of([0] * 4, 1, 0)}
    alone, wanted = encoder({part: UNITS[part]}), encoder({**empty, part: UNITS[part]})
    assert torch.equal(alone.x, wanted.x)
    assert torch.equal(alone.positions, wanted.positions)
    assert torch.equal(alone.part, wanted.part)
    points = encoder.features({part: UNITS[part]}, needs=("points",), part=part).points
    wanted = encoder.features({**empty, part: UNITS[part]}, needs=("points",), part=part).points
    assert torch.equal(points.x, wanted.x)


def test_an_encoder_that_looks_back_numbers_its_tokens() -> None:
    """Tokens before a changed one stay as they are, in its event and in others; those after it do not."""
    torch.manual_seed(0)
    modality = SimpleNamespace(tokenizer=PointTokenizer, n_positions=3)
    backbone = Transformer(TransformerConfig(d_model=16, n_layers=2, n_heads=2), n_positions=3)
    encoder = Encoder({"a": modality}, backbone, causal=True)
    units = units_of([4, 6], 3, 1)
    encoded = encoder({"a": units})
    assert encoded.positions[:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    units.payload[6] += 1.0
    changed = (encoder({"a": units}).x != encoded.x).any(1)
    assert changed.tolist() == [False] * 6 + [True] * 4


def test_a_backbone_that_sees_all_cannot_look_back() -> None:
    modality = SimpleNamespace(tokenizer=PointTokenizer, n_positions=3)
    with pytest.raises(RecipeError, match="always sees the whole event"):
        Encoder({"a": modality}, SimpleNamespace(d_model=16), causal=True)
