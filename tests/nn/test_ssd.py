"""The scan against its recurrence, row by row in float64; nothing passes between events; memory is linear."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hepfm.nn import chunks
from hepfm.nn.chunks import ChunkLayout
from hepfm.nn.ragged import offsets_of
from hepfm.nn.ssd import ssd

LENGTHS = st.lists(st.one_of(st.integers(0, 4), st.integers(0, 90)), max_size=6)


@pytest.fixture(autouse=True)
def several_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chunks.SEGMENT_ROWS, "cpu", 48)


def inputs_of(
    lengths: list[int],
    *,
    heads: int = 2,
    width: int = 3,
    n: int = 4,
    dtype: torch.dtype = torch.float64,
    decay: float = 1.0,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """v, log_decay, b, c; a weight of the output; offsets."""
    generator = torch.Generator().manual_seed(sum(lengths) + len(lengths))
    rows = sum(lengths)

    def normal(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator, dtype=torch.float64)

    inputs = [normal(heads, width), -decay * normal(heads).square(), normal(n), normal(n)]
    leaves = [
        x.to(torch.float32 if i == 1 and dtype == torch.bfloat16 else dtype) for i, x in enumerate(inputs)
    ]
    return leaves, normal(heads, width), offsets_of(torch.tensor(lengths, dtype=torch.int64))


def sequential(
    v: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, offsets: Tensor, *, reverse: bool = False
) -> Tensor:
    """The recurrence, row by row."""
    out = {}
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        state_HNP = torch.zeros(v.shape[1], b.shape[1], v.shape[2], dtype=torch.float64)
        for row in range(start, stop)[:: -1 if reverse else 1]:
            written = torch.einsum("n,hp->hnp", b[row], v[row])
            state_HNP = log_decay[row].exp()[:, None, None] * state_HNP + written
            out[row] = torch.einsum("n,hnp->hp", c[row], state_HNP)
    return (
        torch.stack([out[row] for row in range(len(v))])
        if out
        else v + 0 * sum(x.sum() for x in (log_decay, b, c))
    )


def output_and_gradients(scan, inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = scan(*leaves)
    out.backward(weight.to(out.dtype))
    return [out.detach(), *(x.grad for x in leaves)]


def assert_equal_to_recurrence(
    inputs: list[Tensor], weight: Tensor, offsets: Tensor, chunk: int, *, reverse: bool, tolerance: float
) -> None:
    layout = ChunkLayout(offsets, chunk)
    ours = output_and_gradients(lambda *x: ssd(*x, layout, reverse=reverse), inputs, weight)
    expected = output_and_gradients(
        lambda *x: sequential(*x, offsets, reverse=reverse), [x.double() for x in inputs], weight
    )
    for name, found, wanted in zip(("y", "v", "log_decay", "b", "c"), ours, expected, strict=True):
        scale = float(wanted.abs().max()) + 1.0 if wanted.numel() else 1.0
        difference = (found.double() - wanted).abs()
        assert not wanted.numel() or float(difference.max()) <= tolerance * scale, name


@settings(deadline=None, max_examples=60)
@given(
    LENGTHS,
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from([0.0, 0.01, 1.0, 100.0]),
)
def test_output_and_gradients_equal_the_recurrence(lengths, heads, width, n, chunk, reverse, decay) -> None:
    inputs, weight, offsets = inputs_of(lengths, heads=heads, width=width, n=n, decay=decay)
    assert_equal_to_recurrence(inputs, weight, offsets, chunk, reverse=reverse, tolerance=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.03)])
def test_single_and_half_precision_are_near(dtype, tolerance, reverse) -> None:
    inputs, weight, offsets = inputs_of([300, 0, 1, 140], width=16, n=8, dtype=dtype, decay=0.1)
    assert_equal_to_recurrence(inputs, weight, offsets, 32, reverse=reverse, tolerance=tolerance)


def test_states_are_handed_on_in_single_precision_where_products_are_in_half() -> None:
    """A sum of 4,096 equal steps: in bfloat16 it would stop growing at 256."""
    rows = 4096
    one = torch.ones(rows, 1, dtype=torch.bfloat16)
    layout = ChunkLayout(torch.tensor([0, rows]), 64)
    y = ssd(one[:, None], torch.zeros(rows, 1), one, one, layout)
    torch.testing.assert_close(y.flatten().float(), torch.arange(1.0, rows + 1), rtol=0.01, atol=0)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_event_alone_is_the_event_among_others(reverse) -> None:
    lengths = [70, 0, 1, 33, 200, 5]
    inputs, _, offsets = inputs_of(lengths, width=8, dtype=torch.float32, decay=0.05)
    together = ssd(*inputs, ChunkLayout(offsets, 16), reverse=reverse)
    for event, length in enumerate(lengths):
        rows = slice(int(offsets[event]), int(offsets[event + 1]))
        alone = ssd(*(x[rows] for x in inputs), ChunkLayout(torch.tensor([0, length]), 16), reverse=reverse)
        torch.testing.assert_close(alone, together[rows], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("event", range(6))
def test_no_gradient_passes_between_events(event, reverse) -> None:
    inputs, weight, offsets = inputs_of([70, 0, 1, 33, 200, 5], dtype=torch.float32)
    rows = torch.zeros(len(weight), dtype=torch.bool)
    rows[int(offsets[event]) : int(offsets[event + 1])] = True
    layout = ChunkLayout(offsets, 16)
    _, *gradients = output_and_gradients(
        lambda *x: ssd(*x, layout, reverse=reverse), inputs, weight * rows[:, None, None]
    )
    for gradient in gradients:
        assert bool((gradient[~rows] == 0).all())
    assert bool(gradients[0][rows].any()) == bool(rows.any())


def test_huge_decays_leave_what_comes_after_them_exact() -> None:
    inputs, weight, offsets = inputs_of([128], width=8, dtype=torch.float32, decay=0.01)
    inputs[1][10] = -1e4
    assert_equal_to_recurrence(inputs, weight, offsets, 64, reverse=False, tolerance=2e-5)


def test_what_is_kept_for_the_backward_pass_grows_with_the_length() -> None:
    def kept(rows: int) -> int:
        sizes: list[int] = []
        inputs, _, offsets = inputs_of([rows], dtype=torch.float32)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.nbytes) or x, lambda x: x):
            ssd(*(x.requires_grad_() for x in inputs), ChunkLayout(offsets, 16))
        return sum(sizes)

    assert kept(4096) == pytest.approx(2 * kept(2048), rel=0.01)


def test_rows_that_stand_apart_in_memory_are_taken_as_they_are() -> None:
    inputs, _, offsets = inputs_of([90, 7])
    wide = [torch.cat((x, x), 1) for x in inputs]
    halves = [x[:, : x.shape[1] // 2] for x in wide]
    layout = ChunkLayout(offsets, 16)
    assert not halves[0].is_contiguous()
    for found, expected in zip(
        (ssd(*halves, layout), ssd(*halves, layout, reverse=True)),
        (ssd(*inputs, layout), ssd(*inputs, layout, reverse=True)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)
