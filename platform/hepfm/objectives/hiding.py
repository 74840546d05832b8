"""Which units of an event are hidden: functions of its units and its draws alone.

Legend: B events, U units of a part.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hepfm.api import Units
from hepfm.nn.ragged import event_index
from hepfm.random import Draws


def hidden_units(units: Units, draws: Draws, *, share: float, block: float, purpose: str) -> torch.Tensor:
    """``(U,)`` bool: ``round(share * n)`` of an event's n units, at least one left visible.

    The event's blocks of units are hidden in random order, and the last one in part, until the share is
    reached. The grid of blocks is shifted at random. All of it depends on the event's units and draws alone.
    """
    event = event_index(units.offsets)
    counting = torch.arange(len(event), device=event.device)
    n_axes = units.positions.shape[1]
    if block > 1 and n_axes:
        shift = draws.per_event(f"{purpose}/shift", n_axes)[event]
        blocks = (units.positions.double() / block + shift).floor().long()
        bits = 63 // n_axes
        index = torch.zeros_like(event)
        for axis in range(n_axes):
            index = (index << bits) | (blocks[:, axis] & ((1 << bits) - 1))
    else:
        index = counting - units.offsets[:-1][event]  # each by itself, also where two are at one place
    order = _lots(index, event, draws, purpose).argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, counting)
    return place - units.offsets[:-1][event] < _budget(units.offsets, share)[event]


def hidden_groups(
    group: torch.Tensor, offsets: torch.Tensor, draws: Draws, *, share: float, purpose: str
) -> torch.Tensor:
    """``(U,)`` bool: whole groups of an event's units, in random order until the share is reached.

    The group in which the share is reached is hidden whole, too: a channel of which a half is seen is no
    riddle. So the share is the least that is hidden, but the last group of the order is always left visible;
    of an event with a single group nothing is hidden.

    Args:
        group: ``(U,)`` int64, the group of each unit of its event.
        offsets: ``(B+1,)`` int64, the units of each event.
        draws: The events' random numbers.
        share: Of the units.
        purpose: Of the draws.
    """
    event = event_index(offsets)
    lots = _lots(group & ((1 << 63) - 1), event, draws, purpose)
    _, run, size = torch.unique(lots, return_inverse=True, return_counts=True)
    end, first = size.cumsum(0), offsets[:-1][event]
    begins, ends = (end - size)[run] - first, end[run] - first
    hidden: torch.Tensor = (begins < _budget(offsets, share)[event]) & (ends < offsets.diff()[event])
    return hidden


def _lots(index: torch.Tensor, event: torch.Tensor, draws: Draws, purpose: str) -> torch.Tensor:
    """``(U,)`` int64, ascending with the event, and within an event in random order of the index."""
    lot: torch.Tensor = (draws.uniform(f"{purpose}/hide", event, index) * (1 << 40)).long()
    return (event << 40) | lot


def _budget(offsets: torch.Tensor, share: float) -> torch.Tensor:
    """``(B,)`` units to hide, at least one of an event less than there are."""
    length = offsets.diff()
    return torch.minimum((share * length).round().long(), (length - 1).clamp_min(0))


def whole_parts(
    offsets: Mapping[str, torch.Tensor], probability: Mapping[str, float], draws: Draws, *, purpose: str
) -> dict[str, torch.Tensor]:
    """Part name to ``(B,)`` bool: whether the event's part is hidden as a whole.

    Each is drawn by itself. Where that would hide all parts that the event has, the one that was least likely
    to be drawn so is seen.

    Args:
        offsets: Part name to ``(B+1,)`` int64, the units of each event.
        probability: Part name to that of being hidden; others are not.
        draws: The events' random numbers.
        purpose: Of the draws.
    """
    if not probability:
        return {}
    lot = torch.stack(
        [draws.per_event(f"{purpose}/{part}", 1)[:, 0] / chance for part, chance in probability.items()]
    )
    hidden = torch.stack([offsets[part].diff() > 0 for part in probability]) & (lot < 1)
    n_parts = torch.stack([each.diff() > 0 for each in offsets.values()]).sum(0)
    seen = lot.masked_fill(~hidden, -1.0).argmax(0)
    events = torch.arange(lot.shape[1], device=lot.device)
    hidden[seen, events] &= hidden.sum(0) < n_parts
    return dict(zip(probability, hidden, strict=True))
