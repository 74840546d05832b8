"""The contract of a backbone, as checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from hepfm.api import Tokens
from hepfm.testing.checks import assert_close, assert_connected, draws_of, run_checks

_LENGTHS = (5, 0, 1, 19)


def backbone_contract(backbone: type[Any], config: Any = None, *, n_positions: int = 3) -> None:
    """Checks a backbone's class against the contract of `hepfm.api.Backbone`.

    Args:
        backbone: The class.
        config: Its configuration; by default ``backbone.Config()``. A small one keeps the test short.
        n_positions: Number of position axes.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    torch.manual_seed(0)
    module = backbone(config if config is not None else backbone.Config(), n_positions=n_positions)
    module.train()
    run_checks("backbone", CHECKS, _Subject(module, n_positions))


@dataclass(frozen=True)
class _Subject:
    module: Any
    n_positions: int

    def tokens(self, lengths: Sequence[int] = _LENGTHS) -> Tokens:
        generator = torch.Generator().manual_seed(1)
        total = sum(lengths)
        return Tokens(
            x=torch.randn(total, self.module.d_model, generator=generator),
            positions=10 * torch.rand(total, self.n_positions, generator=generator),
            offsets=torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int64),
            part=torch.zeros(total, dtype=torch.int64),
        )


def _events(tokens: Tokens, order: Sequence[int]) -> Tokens:
    rows = [torch.arange(int(tokens.offsets[e]), int(tokens.offsets[e + 1])) for e in order]
    index = torch.cat(rows)
    lengths = torch.tensor([0, *(len(r) for r in rows)])
    return Tokens(
        x=tokens.x[index],
        positions=tokens.positions[index],
        offsets=lengths.cumsum(0),
        part=tokens.part[index],
    )


def shape_is_kept(subject: _Subject) -> None:
    """Tokens come out with the width, positions, offsets and parts that they went in with."""
    tokens = subject.tokens()
    out = subject.module(tokens)
    assert out.x.shape == tokens.x.shape, f"x is {tuple(out.x.shape)} instead of {tuple(tokens.x.shape)}"
    for name in ("positions", "offsets", "part"):
        assert torch.equal(getattr(out, name), getattr(tokens, name)), f"{name} changed"
    assert bool(torch.isfinite(out.x).all()), "the output is not finite"


def events_are_independent(subject: _Subject) -> None:
    """An event alone and in a batch gives the same output, to 1e-5."""
    tokens = subject.tokens()
    together = subject.module(tokens)
    for event in range(len(_LENGTHS)):
        alone = subject.module(_events(tokens, [event]))
        rows = slice(int(tokens.offsets[event]), int(tokens.offsets[event + 1]))
        assert_close(alone.x, together.x[rows], f"event {event} of {_LENGTHS[event]} tokens")


def order_of_events_is_free(subject: _Subject) -> None:
    """Events in another order give the same outputs in that order."""
    order = [3, 1, 0, 2]
    tokens = subject.tokens()
    assert_close(
        subject.module(_events(tokens, order)).x, _events(subject.module(tokens), order).x, "reordered events"
    )


def no_gradient_crosses_events(subject: _Subject) -> None:
    """The output of one event has no gradient with respect to another's tokens."""
    tokens = subject.tokens()
    x = tokens.x.requires_grad_()
    subject.module(tokens).x[: _LENGTHS[0]].square().sum().backward()
    assert x.grad is not None, "the output does not depend on the tokens"
    assert bool((x.grad[_LENGTHS[0] :] == 0).all()), "an event's output depends on another event"


def layers_are_read_out(subject: _Subject) -> None:
    """``layers=(1, n)`` gives the outputs of these layers side by side; the last one's is the output."""
    tokens = subject.tokens()
    n, width = subject.module.n_layers, subject.module.d_model
    both = subject.module(tokens, layers=(1, n)).x
    assert both.shape == (len(tokens.x), 2 * width), f"x is {tuple(both.shape)}"
    for column, layer in enumerate((1, n)):
        one = subject.module(tokens, layers=(layer,)).x
        assert_close(one, both[:, column * width : (column + 1) * width], f"layer {layer} alone")
    assert_close(subject.module(tokens).x, both[:, width:], "the output against the last layer's")


def nothing_in_nothing_out(subject: _Subject) -> None:
    """A batch without tokens, or without events, passes and connects every parameter."""
    for lengths in ((), (0,), (0, 0, 0)):
        out = subject.module(subject.tokens(lengths))
        assert out.x.shape == (0, subject.module.d_model), f"{lengths} gives x of {tuple(out.x.shape)}"
        assert_connected(subject.module, out.x.sum())


def parameters_learn(subject: _Subject) -> None:
    """Every parameter gets a finite gradient."""
    assert_connected(subject.module, subject.module(subject.tokens()).x.square().sum())


def nothing_is_random_without_draws(subject: _Subject) -> None:
    """Without draws the output is the same each time, also in training mode."""
    tokens = subject.tokens()
    assert torch.equal(subject.module(tokens).x, subject.module(tokens).x), "two calls differ"


def draws_belong_to_events(subject: _Subject) -> None:
    """With draws, an event's output depends on its own draws alone, not on its batch-mates."""
    tokens = subject.tokens()
    ids = [11, 12, 13, 14]
    together = subject.module(tokens, draws=draws_of(ids)).x
    assert torch.equal(together, subject.module(tokens, draws=draws_of(ids)).x), "equal draws, other output"
    for event, event_id in enumerate(ids):
        alone = subject.module(_events(tokens, [event]), draws=draws_of([event_id])).x
        rows = slice(int(tokens.offsets[event]), int(tokens.offsets[event + 1]))
        assert_close(alone, together[rows], f"event {event}")


def input_is_left_alone(subject: _Subject) -> None:
    """The input's tensors are not written to."""
    tokens = subject.tokens()
    kept = replace(tokens, x=tokens.x.clone(), positions=tokens.positions.clone())
    subject.module(tokens, draws=draws_of([1, 2, 3, 4]))
    assert torch.equal(tokens.x, kept.x), "x was changed in place"
    assert torch.equal(tokens.positions, kept.positions), "positions were changed in place"


CHECKS = (
    shape_is_kept,
    events_are_independent,
    order_of_events_is_free,
    no_gradient_crosses_events,
    layers_are_read_out,
    nothing_in_nothing_out,
    parameters_learn,
    nothing_is_random_without_draws,
    draws_belong_to_events,
    input_is_left_alone,
)
