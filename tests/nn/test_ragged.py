"""Ragged operations against loops over events in numpy, and pack against unpack."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepfm.nn.ragged import (
    event_index,
    offsets_of,
    pack_parts,
    segment_max,
    segment_mean,
    segment_sum,
    unpack,
)

LENGTHS = st.lists(st.integers(0, 7), max_size=9)


def _ragged(lengths: list[int], *shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    offsets = offsets_of(torch.tensor(lengths, dtype=torch.int64))
    return torch.randn(sum(lengths), *shape, generator=generator, dtype=torch.float64), offsets


@given(LENGTHS)
def test_offsets_and_event_index_count_the_rows(lengths: list[int]) -> None:
    offsets = offsets_of(torch.tensor(lengths, dtype=torch.int64))
    assert offsets.tolist() == [0, *np.cumsum(lengths, dtype=int)]
    assert (
        event_index(offsets).tolist()
        == np.repeat(np.arange(len(lengths)), np.array(lengths, dtype=int)).tolist()
    )


@pytest.mark.parametrize(
    ("operation", "reference"), [(segment_sum, np.sum), (segment_mean, np.mean), (segment_max, np.max)]
)
@given(lengths=LENGTHS, shape=st.sampled_from([(), (3,), (2, 3)]))
def test_segment_operations_equal_numpy(
    operation, reference, lengths: list[int], shape: tuple[int, ...]
) -> None:
    values, offsets = _ragged(lengths, *shape)
    expected = np.zeros((len(lengths), *shape))
    for event, (a, b) in enumerate(itertools.pairwise(offsets.tolist())):
        if b > a:
            expected[event] = reference(values[a:b].numpy(), axis=0)
    np.testing.assert_allclose(operation(values, offsets).numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", [segment_sum, segment_mean, segment_max])
@pytest.mark.parametrize("lengths", [[], [0], [3, 0, 1, 5], [0, 2, 0]])
def test_segment_gradients_equal_finite_differences(operation, lengths: list[int]) -> None:
    values, offsets = _ragged(lengths, 2)
    assert torch.autograd.gradcheck(lambda v: operation(v, offsets), values.requires_grad_())


def test_rows_that_tie_for_the_maximum_share_its_gradient() -> None:
    values = torch.tensor([1.0, 1.0, 0.0, -2.0], requires_grad=True)
    segment_max(values, torch.tensor([0, 3, 4])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.5, 0.5, 0.0, 1.0]


def test_half_precision_is_added_in_float32() -> None:
    values = torch.full((4096,), 1.0, dtype=torch.bfloat16)
    assert segment_sum(values, torch.tensor([0, 4096])).item() == 4096


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=6))
def test_pack_parts_keeps_events_together_and_unpack_undoes_it(lengths: list[tuple[int, int, int]]) -> None:
    parts = []
    for part, of_part in enumerate(np.array(lengths, int).reshape(-1, 3).T):
        x, offsets = _ragged(of_part.tolist(), 5, seed=part)
        positions, reach = (_ragged(of_part.tolist(), 3, seed=seed + part)[0] for seed in (10, 20))
        parts.append((x, positions, reach, offsets))
    tokens = pack_parts(parts)
    assert tokens.reach is not None
    assert tokens.positions.shape == (len(tokens.x), 3)
    for event in range(len(lengths)):
        a, b = tokens.offsets[event], tokens.offsets[event + 1]
        own = [[rows[o[event] : o[event + 1]] for rows in of_part] for *of_part, o in parts]
        for found, wanted in zip(
            (tokens.x, tokens.positions, tokens.reach), zip(*own, strict=True), strict=True
        ):
            assert torch.equal(found[a:b], torch.cat(wanted))
        assert tokens.part[a:b].tolist() == [i for i, (x, *_) in enumerate(own) for _ in x]
    for (x, *_, offsets), back in zip(parts, unpack(tokens, 3), strict=True):
        assert torch.equal(back.values, x)
        assert torch.equal(back.offsets, offsets)


def test_one_part_packs_to_itself() -> None:
    x, offsets = _ragged([2, 0, 3], 4)
    tokens = pack_parts([(x, x[:, :3].float(), None, offsets)])
    assert tokens.reach is None
    assert torch.equal(tokens.x, x)
    (back,) = unpack(tokens, 1)
    assert torch.equal(back.values, x)
    assert torch.equal(back.offsets, offsets)
