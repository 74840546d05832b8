"""Hints are of the four places next to a hidden patch, and of no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm_waveform.hints import Hints


def cross(make_modality, make_event, packed):
    """Channels 3 to 7 over five windows: a hidden patch has neighbours on all sides."""
    adc = 200.0 + np.random.default_rng(0).normal(0, 20.0, (5, 80))
    return make_modality().units(
        packed([make_event([{"channel": 3 + k, "adc": a} for k, a in enumerate(adc)])])
    )


def test_only_the_four_neighbours_tell(make_modality, make_event, packed):
    windows = cross(make_modality, make_event, packed).payload
    hidden = (windows.channel == 5) & (windows.window == 2)
    torch.manual_seed(0)
    network = Hints(6, 8, patch=16)
    points = torch.randn(int(windows.known[~hidden].sum()), 6)
    hint = network(windows, ~hidden, points)
    assert hint.any()
    unit_of_point = windows.known[~hidden].nonzero()[:, 0]
    seen = (~hidden).nonzero()[:, 0]
    told = set()
    for k in range(len(seen)):
        changed = points + (unit_of_point == k)[:, None]
        if not torch.allclose(network(windows, ~hidden, changed), hint, atol=1e-6):
            told.add((int(windows.channel[seen[k]]), int(windows.window[seen[k]])))
    assert told == {(5, 1), (5, 3), (4, 2), (6, 2)}


def test_each_direction_has_a_voice_of_its_own(make_modality, make_event, packed):
    windows = cross(make_modality, make_event, packed).payload
    hidden = torch.ones(len(windows), dtype=torch.bool)
    torch.manual_seed(0)
    network, points, hints = Hints(6, 8, patch=16), torch.randn(16, 6), []
    centre = (windows.channel[hidden] == 5) & (windows.window[hidden] == 2)
    for channel, window in ((5, 1), (5, 3), (4, 2), (6, 2)):
        visible = (windows.channel == channel) & (windows.window == window)
        hints.append(network(windows, visible, points)[centre[~visible]])
    for i, one in enumerate(hints):
        assert one.any()
        assert all(not torch.allclose(one, other) for other in hints[:i])


@pytest.mark.parametrize("seen", [True, False])
def test_nothing_hidden_or_nothing_visible_connects_every_parameter(make_modality, pulses, packed, seen):
    for events in ([], [pulses(0)]):
        units = make_modality().units(packed(events or [pulses(0)]))
        windows = units.payload.keep(torch.full((len(units.positions),), bool(events)))
        visible = torch.full((len(windows),), seen)
        network = Hints(6, 8, patch=16)
        found = network(windows, visible, torch.randn(int(windows.known[visible].sum()), 6))
        assert found.shape == (int((~visible).sum()), 8)
        found.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in network.parameters())
