"""A teacher follows by its closed form, is saved whole, and is never trained."""

from __future__ import annotations

import torch
from torch import nn

from hepfm.nn.teacher import Teacher


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Dropout(0.5), nn.Linear(4, 2, bias=False))


def test_it_gives_what_the_module_gave_and_follows_by_the_share_that_it_keeps() -> None:
    module = make()
    teacher = Teacher(module)
    x = torch.randn(5, 3)
    assert torch.equal(teacher(x), module.eval()(x))
    expected = {name: value.detach().double() for name, value in module.named_parameters()}
    for keep in (0.9, 0.5, 1.0, 0.0, 0.7):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
        teacher.follow([*module.named_parameters(), ("elsewhere", torch.ones(2))], keep)
        for name, value in module.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * value.detach().double()
    for name, value in teacher.copy.named_buffers():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-6, atol=1e-6)


def test_it_has_state_but_no_parameters_and_no_gradient_goes_through_it() -> None:
    module = make()
    teacher = Teacher(module)
    assert list(teacher.parameters()) == []
    assert {name.removeprefix("copy.") for name in teacher.state_dict()} == set(module.state_dict())
    x = torch.randn(5, 3, requires_grad=True)
    assert not teacher(x).requires_grad
    holder = nn.ModuleList([teacher]).train()
    assert torch.equal(teacher(x), teacher(x)), "no dropout"
    assert holder.training
    with torch.no_grad():
        module[0].weight.zero_()
    assert teacher.copy[0].weight.any(), "it holds weights of its own"
    other = Teacher(make())
    other.follow(module.named_parameters(), 0.0)
    other.load_state_dict(teacher.state_dict())
    assert torch.equal(other(x), teacher(x))
