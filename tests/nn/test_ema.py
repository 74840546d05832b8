"""The moving average of weights against its closed form, and exchanging it with the live weights."""

from __future__ import annotations

import pytest
import torch

from hepfm.errors import CheckpointError
from hepfm.nn.ema import Ema


def test_average_equals_its_closed_form() -> None:
    live = torch.tensor([0.0, 10.0])
    ema = Ema([("w", live)], decay=0.5)
    values = [torch.tensor([0.0, 10.0])]
    for step in range(1, 21):
        live.copy_(torch.tensor([float(step), -float(step**2)]))
        values.append(live.clone())
        ema.update()
    keeps = [min(0.5, (1 + n) / (10 + n)) for n in range(1, 21)]
    expected, share = torch.zeros(2), 1.0
    for keep, value in zip(reversed(keeps), reversed(values), strict=False):
        expected += share * (1 - keep) * value
        share *= keep
    torch.testing.assert_close(ema.average["w"], expected + share * values[0])


def test_a_constant_stays_and_half_precision_is_averaged_in_float32() -> None:
    live = torch.full((3,), 1.0, dtype=torch.bfloat16)
    ema = Ema([("w", live)], decay=0.99)
    for _ in range(1000):
        ema.update()
    assert torch.equal(ema.average["w"], torch.ones(3))
    live.fill_(1.0078125)
    ema.update()
    # One update moves by 1/100 of a step of bfloat16, which bfloat16 itself could not hold.
    torch.testing.assert_close(ema.average["w"], torch.full((3,), 1 + 0.0078125 * 0.01), rtol=0, atol=1e-7)


def test_swap_exchanges_in_place_and_gives_back_also_after_an_error() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    ema = Ema([("w", weight)], decay=0.0)
    with torch.no_grad():
        weight.copy_(torch.tensor([3.0, 0.1]))

    def inside() -> None:
        with ema.swap():
            assert weight.tolist() == [1.0, 2.0]
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert torch.equal(weight, torch.tensor([3.0, 0.1]))
    assert weight.requires_grad


def test_state_goes_on_bitwise_and_a_foreign_one_is_refused() -> None:
    live = torch.randn(5, generator=torch.Generator().manual_seed(0))
    first, second = (Ema([("w", live)], decay=0.9) for _ in range(2))
    live.mul_(2)
    first.update()
    second.load_state_dict(first.state_dict())
    live.add_(1)
    first.update()
    second.update()
    assert torch.equal(first.average["w"], second.average["w"])
    with pytest.raises(CheckpointError, match=r"saved \(5,\), in the model \(4,\)"):
        Ema([("w", torch.zeros(4))], decay=0.9).load_state_dict(first.state_dict())
    with pytest.raises(CheckpointError, match="in the model None"):
        Ema([], decay=0.9).load_state_dict(first.state_dict())
