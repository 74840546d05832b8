"""The suite for generators passes one that keeps to the contract, and names the rule that a broken one breaks."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import BaseModel

from hepfm.testing import generator_contract


@pytest.fixture
def tracks(tracks_plugin):
    from hepfm_tracks.generator import Tracks

    return Tracks


def check(tracks):
    generator_contract(tracks, tracks.Config(grid=16), other=tracks.Config(grid=16, muons=1))


def test_what_keeps_to_the_contract_passes(tracks):
    check(tracks)


def remembers_the_last(event, self, index):
    self.calls = getattr(self, "calls", 0) + 1
    return event(self, index + 1000 * (self.calls > 1))


def forgets_the_seed(event, self, index):
    self.seed = 0
    return event(self, index)


def wraps_at_32_bits(event, self, index):
    return event(self, index % 2**32)


def is_of_this_process(event, self, index):
    return event(self, index + os.getpid())


def reuses_its_memory(event, self, index):
    made = event(self, index)
    energy = made.parts.get("muons", {}).get("muons", {}).get("start_mm")
    if energy is not None:
        self.memory = getattr(self, "memory", energy)
        self.memory[:] = energy
        made.parts["muons"]["muons"]["start_mm"] = self.memory
    return made


def in_double_precision(event, self, index):
    made = event(self, index)
    for columns in made.parts.get("image3d", {}).values():
        columns["energy_mev"] = columns["energy_mev"].astype(np.float64)
    return made


def truth_among_inputs(event, self, index):
    made = event(self, index)
    if "image3d" in made.parts:
        made.parts["image3d"]["voxels"]["semantic"] = made.labels["image3d"]["voxels"]["semantic"]
    return made


def other_where_it_is_alone(event, self, index):
    return event(self, index + 7 * (len(self.parts) == 1))


def with_nan(event, self, index):
    made = event(self, index)
    for columns in made.parts.get("image3d", {}).values():
        columns["energy_mev"][0] = np.nan
    return made


EVENTS = {
    remembers_the_last: "An event alone equals the same event among others",
    forgets_the_seed: "event 0 of the next seed is event 0 again",
    wraps_at_32_bits: "event 1099511627776 is event 0 again",
    is_of_this_process: "event 1 of another process",
    reuses_its_memory: "An event does not change when the next ones are made",
    in_double_precision: "input voxels.energy_mev is float64, not float32",
    truth_among_inputs: "voxels.semantic is not among the input columns",
    other_where_it_is_alone: "A part that is made alone is the same",
    with_nan: "not finite",
}


@pytest.mark.parametrize("change", EVENTS, ids=lambda change: change.__name__)
def test_the_rule_that_an_event_breaks_is_named(tracks, monkeypatch, change):
    event = tracks.event
    monkeypatch.setattr(tracks, "event", lambda self, index: change(event, self, index))
    with pytest.raises(AssertionError, match=re.escape(EVENTS[change])):
        check(tracks)


def test_a_digest_that_says_too_little_or_too_much_is_named(tracks, monkeypatch):
    digest = tracks.digest
    monkeypatch.setattr(tracks, "digest", lambda self: "0" * 32)
    with pytest.raises(AssertionError, match="another configuration has the same digest"):
        check(tracks)
    monkeypatch.setattr(tracks, "digest", lambda self: f"{self.seed:032x}")
    with pytest.raises(AssertionError, match="another seed has another digest"):
        check(tracks)
    monkeypatch.setattr(tracks, "digest", lambda self: digest(self)[:-4] + f"{len(self.parts):04x}")
    with pytest.raises(AssertionError, match="image3d alone has another digest"):
        check(tracks)


def test_a_generator_that_cannot_be_used_after_closing_is_named(tracks, monkeypatch):
    monkeypatch.setattr(tracks, "close", lambda self: setattr(self, "config", None))
    with pytest.raises(AssertionError, match="After ``close``"):
        check(tracks)


def test_options_that_recipes_take_or_nobody_explains_are_named(tracks):
    class Taken(tracks):
        class Config(tracks.Config):
            seed: int = 3

    class Mute(tracks):
        class Config(BaseModel):
            grid: int = 16

    with pytest.raises(AssertionError, match="Config has a field 'seed'"):
        generator_contract(Taken, Taken.Config(grid=16))
    with pytest.raises(AssertionError, match=re.escape("Config.grid has no description")):
        generator_contract(Mute)


def test_an_event_with_a_part_of_no_schema_is_named(tracks, monkeypatch):
    event = tracks.event
    monkeypatch.setattr(
        tracks,
        "event",
        lambda self, index: replace(made := event(self, index), parts={**made.parts, "light": {}}),
    )
    with pytest.raises(AssertionError, match="a part 'light' that is in no schema"):
        check(tracks)
