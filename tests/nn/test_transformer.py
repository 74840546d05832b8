"""The transformer: independence of events, read-out of layers, drop-path, the empty batch, its configuration."""

from __future__ import annotations

import pydantic
import pytest
import torch
from torch import Tensor

from hepfm.api import Backbone, Tokens
from hepfm.errors import RecipeError
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import offsets_of
from hepfm.nn.rotary import rotate, rotations
from hepfm.nn.transformer import NEAREST, Block, Transformer, TransformerConfig, local_bias
from hepfm.random import Draws


def transformer(**options) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(d_model=32, n_layers=3, n_heads=2, **options), n_positions=3)


def tokens_of(lengths: list[int], d_model: int = 32, seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    offsets = offsets_of(torch.tensor(lengths, dtype=torch.int64))
    n = sum(lengths)
    return Tokens(
        x=torch.randn(n, d_model, generator=generator),
        positions=torch.randint(0, 100, (n, 3), generator=generator).float(),
        offsets=offsets,
        part=torch.zeros(n, dtype=torch.int64),
    )


def event_of(tokens: Tokens, event: int) -> Tokens:
    rows = slice(int(tokens.offsets[event]), int(tokens.offsets[event + 1]))
    offsets = torch.tensor([0, rows.stop - rows.start])
    return Tokens(x=tokens.x[rows], positions=tokens.positions[rows], offsets=offsets, part=tokens.part[rows])


def draws_of(*event_ids: int, epoch: int = 0) -> Draws:
    return Draws(seed=1, epoch=epoch, event_ids=torch.tensor(event_ids, dtype=torch.int64))


def test_it_is_a_backbone() -> None:
    assert isinstance(transformer(), Backbone)


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_an_event_alone_equals_the_event_in_a_batch(drop_path: float) -> None:
    model, tokens = transformer(drop_path=drop_path), tokens_of([40, 0, 7, 150, 41])
    ids = (11, 12, 13, 14, 15)
    together = model(tokens, draws=draws_of(*ids)).x
    for event, event_id in enumerate(ids):
        rows = slice(int(tokens.offsets[event]), int(tokens.offsets[event + 1]))
        alone = model(event_of(tokens, event), draws=draws_of(event_id)).x
        torch.testing.assert_close(alone, together[rows], rtol=0, atol=1e-5)


def test_the_order_of_tokens_and_a_common_shift_change_nothing() -> None:
    model, tokens = transformer(), tokens_of([60])
    with torch.no_grad():
        for block in model.blocks:
            block.attention.qkv.weight[:64].mul_(3)  # attention that is far from uniform
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    out = model(tokens).x
    shuffled = Tokens(
        x=tokens.x[order],
        positions=tokens.positions[order] + torch.tensor([5.0, -3.0, 40.0]),
        offsets=tokens.offsets,
        part=tokens.part,
    )
    torch.testing.assert_close(model(shuffled).x, out[order], rtol=0, atol=1e-4)
    moved = Tokens(x=tokens.x, positions=tokens.positions * 1.5, offsets=tokens.offsets, part=tokens.part)
    assert (model(moved).x - out).abs().max() > 0.01


def test_layers_are_read_out_side_by_side_each_normalised() -> None:
    model, tokens = transformer(), tokens_of([10, 3])
    read = model(tokens, layers=(3, 1)).x
    assert read.shape == (13, 64)
    torch.testing.assert_close(read[:, :32], model(tokens).x)
    for part in read.split(32, 1):
        torch.testing.assert_close(part.mean(1), torch.zeros(13), rtol=0, atol=1e-5)
        torch.testing.assert_close(part.var(1, unbiased=False), torch.ones(13), rtol=0, atol=1e-3)
    with pytest.raises(RecipeError, match="no layer 0, 4"):
        model(tokens, layers=(0, 2, 4))


@pytest.mark.parametrize("lengths", [[], [0], [0, 4, 0]])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_batch_without_tokens_reaches_every_parameter(lengths: list[int], autocast: bool) -> None:
    model = transformer(drop_path=0.3)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = model(tokens_of(lengths), draws=draws_of(*range(len(lengths)))).x
    assert out.shape == (sum(lengths), 32)
    out.float().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_drop_path_skips_whole_events_as_often_as_asked_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, layer=4, drop_path=0.3)
    with torch.no_grad():
        block.mlp[2].weight.zero_()
        block.mlp[2].bias.zero_()
        block.attention.out.weight.mul_(100)
    x, n = torch.randn(2, 8), 4000
    layout = PackedLayout(torch.arange(0, 2 * n + 1, 2))
    rotation = rotations(torch.zeros(2 * n, 1), 4)

    def added(draws: Draws | None) -> Tensor:
        return (block(x.repeat(n, 1), layout, rotation, draws=draws) - x.repeat(n, 1)).view(n, 2, 8)

    plain = added(None)
    dropped = added(draws_of(*range(n)))
    kept = dropped[:, 0, 0] != 0
    torch.testing.assert_close(dropped, plain * (kept / 0.7)[:, None, None], rtol=0, atol=1e-5)
    # Binomial: the share's standard deviation is sqrt(.3 * .7 / 4000) = .0072.
    assert abs(kept.float().mean().item() - 0.7) < 4 * 0.0072
    assert torch.equal(added(draws_of(*range(n))), dropped)
    assert not torch.equal(added(draws_of(*range(n), epoch=1)), dropped)


def test_drop_path_rises_with_depth_and_differs_between_layers() -> None:
    blocks = transformer(drop_path=0.4).blocks
    assert [block.drop_path for block in blocks] == pytest.approx([0, 0.2, 0.4])
    assert len({block.purpose for block in blocks}) == 3


def test_a_block_attends_to_a_memory_of_its_own_event_only() -> None:
    torch.manual_seed(0)
    block = Block(32, 2, cross=True)
    x, memory = tokens_of([4, 0, 6, 2], seed=1), tokens_of([9, 3, 0, 20], seed=2)

    def run(x: Tokens, memory: Tokens) -> Tensor:
        return block(
            x.x,
            PackedLayout(x.offsets, memory.offsets),
            rotations(x.positions, 16),
            memory=memory.x,
            memory_rotation=rotations(memory.positions, 16),
        )

    together = run(x, memory)
    for event in range(4):
        rows = slice(int(x.offsets[event]), int(x.offsets[event + 1]))
        alone = run(event_of(x, event), event_of(memory, event))
        torch.testing.assert_close(alone, together[rows], rtol=0, atol=1e-5)
    together.sum().backward()
    assert all(p.grad is not None for p in block.parameters())


def test_autocast_runs_in_bfloat16_close_to_float32() -> None:
    model, tokens = transformer(), tokens_of([50, 20])
    expected = model(tokens).x
    with torch.autocast("cpu", torch.bfloat16):
        out = model(tokens).x
    assert out.dtype == torch.float32
    assert not torch.equal(out, expected)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.05)


def test_sizes_have_the_shapes_of_the_field() -> None:
    shapes = {size: TransformerConfig(size=size).shape() for size in ("tiny", "small", "base")}
    assert shapes == {"tiny": (128, 5, 4), "small": (384, 12, 6), "base": (768, 12, 12)}
    small = Transformer(TransformerConfig(size="small"), n_positions=3)
    # 12 d^2 weights a layer, 13 d biases and norms, and the last norm.
    assert sum(p.numel() for p in small.parameters()) == 12 * (12 * 384**2 + 13 * 384) + 2 * 384


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="d_model 100 is not a multiple of n_heads 6"):
        TransformerConfig(size="small", d_model=100)
    with pytest.raises(pydantic.ValidationError, match="widht"):
        TransformerConfig(widht=3)
    with pytest.raises(RecipeError, match="width 2 cannot hold 3 position axes"):
        Transformer(TransformerConfig(d_model=8, n_heads=4), n_positions=3)


def test_the_two_branches_of_a_block_are_dropped_independently() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, drop_path=0.5)
    layout, rotation = PackedLayout(torch.arange(401)), rotations(torch.zeros(400, 1), 4)
    x, dropped = torch.randn(1, 8).repeat(400, 1), []
    for silent in (block.mlp[2], block.attention.out):
        weight = silent.weight.detach().clone()
        with torch.no_grad():
            silent.weight.zero_()
            out = block(x, layout, rotation, draws=draws_of(*range(400)))
            silent.weight.copy_(weight)
        dropped.append((out == x).all(1))
    # Independent fair coins differ in half of the events; the standard deviation of the share is .025.
    assert abs((dropped[0] != dropped[1]).float().mean().item() - 0.5) < 0.1


def test_heads_start_with_ranges_from_the_whole_event_to_next_neighbours() -> None:
    """Scores of what queries and keys share at first, over a grid of 21 a side, against the sum of cosines."""
    places = torch.cartesian_prod(*[torch.arange(-10, 11)] * 3).float()
    bias = local_bias(4, 32)
    here = rotate(bias[None], rotations(torch.zeros(1, 3), 32))
    there = rotate(bias.expand(len(places), -1, -1), rotations(places, 32))
    scores = (here * there).sum(-1) / 32**0.5
    steps = places.abs().sum(1)
    assert torch.equal(scores[:, 0], torch.zeros(len(places)))
    torch.testing.assert_close(scores[steps == 0, 3], torch.tensor([NEAREST**2 * 16 / 32**0.5]))
    for head in (1, 2, 3):
        assert scores[steps == 1, head].min() > scores[steps >= 2, head].max()
    weight = scores.softmax(0)
    near = [float(weight[places.abs().amax(1) <= 1, head].sum()) for head in range(4)]
    assert near[0] < near[1] < near[2] < near[3]
    assert near[0] == pytest.approx(27 / 21**3)
    assert near[3] > 0.5  # most of an event of 9,261 cells seen through 27


def test_a_query_of_a_memory_sees_on_which_side_it_lies() -> None:
    """Two equal rows of memory, left or right of the query, at the same distance."""
    torch.manual_seed(0)
    block = Block(32, 2, cross=True)
    left, right = (
        block(
            torch.zeros(1, 32),
            PackedLayout(torch.tensor([0, 1]), torch.tensor([0, 1])),
            rotations(torch.zeros(1, 3), 16),
            memory=torch.ones(1, 32),
            memory_rotation=rotations(torch.tensor([[side, 0.0, 0.0]]), 16),
        )
        for side in (-1.0, 1.0)
    )
    assert (left - right).abs().max() > 0.1
