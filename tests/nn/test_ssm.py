"""The state-space backbone: independence of events, both directions, its order, read-out, configuration."""

from __future__ import annotations

import pydantic
import pytest
import torch

from hepfm.api import Backbone, Tokens
from hepfm.errors import RecipeError
from hepfm.nn.ragged import offsets_of
from hepfm.nn.ssm import Ssm, SsmBlock, SsmConfig
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.random import Draws

SCANS = ("ssd", "s4d")


def ssm(**options) -> Ssm:
    torch.manual_seed(0)
    of_ssd = {} if options.get("scan") == "s4d" else {"n_heads": 4, "chunk": 16}
    config = SsmConfig(**{"d_model": 32, "n_layers": 2, "d_state": 8, **of_ssd, **options})
    return Ssm(config, n_positions=3)


def tokens_of(lengths: list[int], seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    return Tokens(
        x=torch.randn(n, 32, generator=generator),
        positions=50 * torch.rand(n, 3, generator=generator),
        offsets=offsets_of(torch.tensor(lengths, dtype=torch.int64)),
        part=torch.zeros(n, dtype=torch.int64),
    )


def draws_of(*event_ids: int) -> Draws:
    return Draws(seed=1, epoch=0, event_ids=torch.tensor(event_ids, dtype=torch.int64))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_an_event_alone_equals_the_event_in_a_batch(scan, drop_path) -> None:
    model, tokens = ssm(scan=scan, drop_path=drop_path), tokens_of([40, 0, 7, 150, 1])
    ids = (11, 12, 13, 14, 15)
    together = model(tokens, draws=draws_of(*ids)).x
    for event, event_id in enumerate(ids):
        rows = slice(int(tokens.offsets[event]), int(tokens.offsets[event + 1]))
        one = Tokens(
            x=tokens.x[rows],
            positions=tokens.positions[rows],
            offsets=torch.tensor([0, rows.stop - rows.start]),
            part=tokens.part[rows],
        )
        alone = model(one, draws=draws_of(event_id)).x
        torch.testing.assert_close(alone, together[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scan", SCANS)
def test_it_is_a_backbone_in_which_each_row_sees_all_of_its_event(scan) -> None:
    model, tokens = ssm(scan=scan, order="packed"), tokens_of([40, 30])
    assert isinstance(model, Backbone)
    tokens.x.requires_grad_()
    for row in (0, 20, 39):
        (gradient,) = torch.autograd.grad(model(tokens).x[row].square().sum(), tokens.x)
        seen = gradient.any(1)
        assert bool(seen[:40].all())
        assert not bool(seen[40:].any())


@pytest.mark.parametrize("scan", SCANS)
def test_along_the_curve_the_order_of_tokens_changes_nothing_and_packed_it_does(scan) -> None:
    tokens = tokens_of([60])
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    shuffled = Tokens(
        x=tokens.x[order], positions=tokens.positions[order], offsets=tokens.offsets, part=tokens.part
    )
    along, packed = ssm(scan=scan), ssm(scan=scan, order="packed")
    torch.testing.assert_close(along(shuffled).x, along(tokens).x[order], rtol=0, atol=1e-5)
    assert (packed(shuffled).x - packed(tokens).x[order]).abs().max() > 0.01


@pytest.mark.parametrize("scan", SCANS)
def test_positions_matter_beyond_their_order(scan) -> None:
    model, tokens = ssm(scan=scan, order="packed"), tokens_of([20])
    moved = Tokens(x=tokens.x, positions=tokens.positions * 1.5, offsets=tokens.offsets, part=tokens.part)
    assert (model(moved).x - model(tokens).x).abs().max() > 0.01
    flat = Ssm(SsmConfig(d_model=32, n_layers=1, n_heads=2), n_positions=0)
    none = Tokens(x=tokens.x, positions=tokens.positions[:, :0], offsets=tokens.offsets, part=tokens.part)
    assert flat(none).x.shape == (20, 32)


def test_the_length_of_a_chunk_changes_the_speed_alone() -> None:
    tokens = tokens_of([100, 3, 41])
    short, long = ssm(chunk=8)(tokens).x, ssm(chunk=128)(tokens).x
    torch.testing.assert_close(short, long, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("lengths", [[], [0], [0, 4, 0]])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_batch_without_tokens_reaches_every_parameter(scan, lengths, autocast) -> None:
    model = ssm(scan=scan, drop_path=0.3)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = model(tokens_of(lengths), draws=draws_of(*range(len(lengths)))).x
    assert out.shape == (sum(lengths), 32)
    out.float().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("scan", SCANS)
def test_autocast_runs_in_bfloat16_close_to_float32(scan) -> None:
    model, tokens = ssm(scan=scan), tokens_of([50, 20])
    expected = model(tokens).x
    with torch.autocast("cpu", torch.bfloat16):
        out = model(tokens).x
    assert out.dtype == torch.float32
    assert not torch.equal(out, expected)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.08)


@pytest.mark.parametrize("scan", SCANS)
def test_drop_path_skips_whole_events_as_often_as_asked(scan) -> None:
    torch.manual_seed(0)
    config = SsmConfig(d_model=8, n_layers=2, d_state=4, drop_path=0.3, scan=scan)
    model = Ssm(config, n_positions=0)
    block, n = model.blocks[1], 4000
    assert isinstance(block, SsmBlock)
    assert [b.drop_path for b in model.blocks] == pytest.approx([0, 0.3])
    with torch.no_grad():
        block.mlp[2].weight.zero_()
        model.blocks[0].mixer.out.weight.zero_()
        model.blocks[0].mlp[2].weight.zero_()
    tokens = Tokens(
        x=torch.randn(2, 8).repeat(n, 1),
        positions=torch.zeros(2 * n, 0),
        offsets=torch.arange(0, 2 * n + 1, 2),
        part=torch.zeros(2 * n, dtype=torch.int64),
    )
    model.norm = torch.nn.Identity()
    added = [model(tokens, draws=draws).x - tokens.x for draws in (None, draws_of(*range(n)))]
    plain, dropped = (x.view(n, 2, 8) for x in added)
    kept = dropped[:, 0, 0] != 0
    torch.testing.assert_close(dropped, plain * (kept / 0.7)[:, None, None], rtol=0, atol=1e-5)
    # Binomial: the share's standard deviation is sqrt(.3 * .7 / 4000) = .0072.
    assert abs(kept.float().mean().item() - 0.7) < 4 * 0.0072


def test_layers_are_read_out_side_by_side() -> None:
    model, tokens = ssm(), tokens_of([10, 3])
    read = model(tokens, layers=(2, 1)).x
    assert read.shape == (13, 64)
    torch.testing.assert_close(read[:, :32], model(tokens).x)
    with pytest.raises(RecipeError, match="no layer 0, 3"):
        model(tokens, layers=(0, 2, 3))


@pytest.mark.parametrize("scan", SCANS)
def test_sizes_are_about_the_transformers(scan) -> None:
    for size in ("tiny", "small", "base"):
        with torch.device("meta"):
            counts = [
                sum(p.numel() for p in model.parameters())
                for model in (
                    Ssm(SsmConfig(size=size, scan=scan), n_positions=3),
                    Transformer(TransformerConfig(size=size), n_positions=3),
                )
            ]
        assert 0.85 < counts[0] / counts[1] < 1.15


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="n_heads 3 must be even"):
        SsmConfig(d_model=96, n_heads=3)
    with pytest.raises(pydantic.ValidationError, match="d_model 100 a multiple"):
        SsmConfig(d_model=100, n_heads=6)
    with pytest.raises(pydantic.ValidationError, match="multiple of 2"):
        SsmConfig(d_state=5)
    with pytest.raises(pydantic.ValidationError, match="chunks"):
        SsmConfig(chunks=3)
    for options, idle in (({"n_heads": 4}, "n_heads"), ({"chunk": 32}, "chunk")):
        with pytest.raises(pydantic.ValidationError, match=f"{idle}: the scan s4d has none"):
            SsmConfig(scan="s4d", **options)
    config = SsmConfig(scan="s4d", d_model=50)
    assert config.shape()[0] == 50
    assert SsmConfig(**config.model_dump()) == config  # a resolved recipe spells the defaults out
