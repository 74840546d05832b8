"""State-space scans on CUDA against the CPU's in float64, in float32 and bf16, with events of all lengths."""

from __future__ import annotations

import pytest
import torch

from hepfm.nn.chunks import ChunkLayout
from hepfm.nn.curve import curve_index
from hepfm.nn.ragged import offsets_of
from hepfm.nn.s4d import FourierLayout, s4d, s4d_kernel
from hepfm.nn.ssd import ssd

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

OFFSETS = offsets_of(torch.tensor([300, 0, 1, 33, 900]))
ROWS = int(OFFSETS[-1])


def run(scan, inputs: list[torch.Tensor], device: str, dtypes: list[torch.dtype]) -> list[torch.Tensor]:
    leaves = [x.to(device, d).requires_grad_() for x, d in zip(inputs, dtypes, strict=True)]
    out = scan(*leaves)
    out.float().square().sum().backward()
    return [x.detach().cpu() for x in (out, *(leaf.grad for leaf in leaves))]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)])
def test_ssd_equals_the_cpu(dtype, tolerance, reverse) -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(ROWS, 3, 32, generator=generator)
    b, c = torch.randn(2, ROWS, 16, generator=generator)
    inputs = [v, -0.1 * torch.rand(ROWS, 3, generator=generator), b, c]
    ours, expected = (
        run(
            lambda *x, device=device: ssd(*x, ChunkLayout(OFFSETS.to(device), 64), reverse=reverse),
            inputs,
            device,
            [wide, torch.promote_types(wide, torch.float32), wide, wide],
        )
        for device, wide in (("cuda", dtype), ("cpu", torch.float64))
    )
    for found, wanted in zip(ours, expected, strict=True):
        assert float((found.double() - wanted).norm() / wanted.norm()) < tolerance


def test_s4d_equals_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    step = torch.complex(-0.1 * torch.rand(16, 4), torch.rand(16, 4))
    inputs = [torch.randn(ROWS, 8, generator=generator), step, torch.randn_like(step)]

    def scan(x: torch.Tensor, step: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        layout = FourierLayout(OFFSETS.to(x.device))
        return s4d(x, *s4d_kernel(step, read, layout.longest).chunk(2), layout)

    single, double = (
        [real, compound, compound]
        for real, compound in ((torch.float32, torch.complex64), (torch.float64, torch.complex128))
    )
    for found, wanted in zip(
        run(scan, inputs, "cuda", single), run(scan, inputs, "cpu", double), strict=True
    ):
        assert float((found - wanted).abs().norm() / wanted.abs().norm()) < 1e-4


def test_the_curve_is_the_cpus() -> None:
    positions = 1024 * torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(curve_index(positions.cuda()).cpu(), curve_index(positions))
