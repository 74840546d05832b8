"""Packed attention on CUDA against the CPU's in float64: flash attention in half precision, event by event else."""

from __future__ import annotations

import pytest
import torch

from hepfm.nn.attention import packed_attention
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import offsets_of, segment_max, segment_mean, segment_sum
from hepfm.nn.rotary import rotate, rotations

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

LENGTHS = {
    "self": [(n, n) for n in (74, 0, 656, 1, 900)],
    "cross": [(30, 100), (0, 7), (5, 0), (300, 65), (1, 1)],
    "nothing to see": [(4, 0), (0, 0)],
    "no events": [],
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize(
    ("case", "causal"), [*((case, False) for case in LENGTHS), ("self", True), ("no events", True)]
)
def test_output_and_gradients_equal_those_of_the_cpu(
    case: str, causal: bool, dtype: torch.dtype, tolerance: float
) -> None:
    pairs = torch.tensor(LENGTHS[case], dtype=torch.int64).reshape(-1, 2)
    offsets = offsets_of(pairs[:, 0]), offsets_of(pairs[:, 1])
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(int(o[-1]), 6, 64, generator=generator).to(dtype)
        for o in (offsets[0], offsets[1], offsets[1])
    ]
    weight = torch.randn(inputs[0].shape, generator=generator).to(dtype)

    def run(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [x.to(device, dtype).requires_grad_() for x in inputs]
        q_offsets, k_offsets = (o.to(device) for o in offsets)
        layout = PackedLayout(q_offsets, causal=True) if causal else PackedLayout(q_offsets, k_offsets)
        out = packed_attention(*leaves, layout)
        out.backward(weight.to(device, dtype))
        return [out.detach(), *(x.grad for x in leaves)]

    for ours, expected in zip(run("cuda", dtype), run("cpu", torch.float64), strict=True):
        torch.testing.assert_close(ours.cpu().double(), expected, rtol=tolerance, atol=tolerance)


def test_an_event_does_not_depend_on_its_batch_mates() -> None:
    offsets = offsets_of(torch.tensor([100, 30, 700])).cuda()
    q, k, v = torch.randn(3, 830, 4, 32, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    alone = packed_attention(q[100:130], k[100:130], v[100:130], torch.tensor([0, 30], device="cuda"))
    torch.testing.assert_close(packed_attention(q, k, v, offsets)[100:130], alone, rtol=0, atol=1e-5)


def test_rotary_and_segments_equal_those_of_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    x, positions = torch.randn(50, 2, 12, generator=generator), torch.rand(50, 3, generator=generator) * 100
    turned = rotate(x.cuda(), rotations(positions.cuda(), 12))
    torch.testing.assert_close(turned.cpu(), rotate(x, rotations(positions, 12)), rtol=0, atol=1e-4)
    offsets = torch.tensor([0, 20, 20, 50])
    for operation in (segment_sum, segment_mean, segment_max):
        a, b = (x.detach().to(device).requires_grad_() for device in ("cpu", "cuda"))
        expected, ours = operation(a, offsets), operation(b, offsets.cuda())
        torch.testing.assert_close(ours.cpu(), expected)
        expected.square().sum().backward()
        ours.square().sum().backward()
        torch.testing.assert_close(b.grad.cpu(), a.grad)
