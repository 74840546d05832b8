"""Events to fit to, to choose on and to test on: no event is in two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from hepfm.data.few import drawn_events
from hepfm.data.generated import GeneratorSource
from hepfm.data.source import Source, check_apart
from hepfm.errors import DataError, RecipeError
from hepfm.evaluation.events import open_events
from hepfm.evaluation.frozen import Split
from hepfm.recipe.schema import Generated
from hepfm.training.pretrained import Pretrained

Data = str | list[str] | Generated
_FOR_VALIDATION = 0.2


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three splits.

    Attributes:
        train: To fit to.
        val: To choose on, as strengths of a regularisation; drawn from the training events unless named.
        test: For the figures, and for nothing else.
        told: What of the three is from where, for people.
    """

    train: Split
    val: Split
    test: Split
    told: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The three sources, of which `of` draws splits; validation events are None where none are named."""

    train: Source
    val: Source | None
    test: Source
    told: dict[str, str]
    doubts: tuple[str, ...] = ()
    """Sentences on what is not as in training, or flatters."""

    @property
    def sources(self) -> dict[str, Source]:
        """By the name of their option; without ``val`` where none are named."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {name: source for name, source in every.items() if source is not None}

    def refuse_shared(self) -> None:
        """`DataError` where any event is in two of the sources."""
        words = {"train": "training", "val": "validation", "test": "test"}
        _refuse_shared(
            {
                words[name]: Split(source=source, indices=np.arange(len(source)))
                for name, source in self.sources.items()
            }
        )

    def of(self, events: int | None, *, seed: int, test_events: int | None = None) -> Splits:
        """Splits with so many labelled events, by default all; a fifth is to choose on where none are named.

        Raises:
            DataError: There are fewer.
        """
        chosen = self._drawn("train", self.train, events, seed)
        # The same for all seeds: their figures are means of one set of events, and so are the intervals.
        test = self._drawn("test", self.test, test_events, 1)
        if self.val is not None:
            val = Split(source=self.val, indices=np.arange(len(self.val)))
        else:
            if len(chosen.indices) < 2:
                raise DataError(
                    "One training event cannot be shared between fitting and choosing.",
                    fix="ask for more events, or name others to choose on with --val",
                )
            count = max(1, round(_FOR_VALIDATION * len(chosen.indices)))
            drawn = drawn_events(chosen.ids(), count, seed)
            val = Split(source=self.train, indices=chosen.indices[drawn])
            chosen = Split(source=self.train, indices=np.delete(chosen.indices, drawn))
        splits = Splits(train=chosen, val=val, test=test, told=self.told)
        _refuse_shared({"training": chosen, "validation": val, "test": test})
        return splits

    @staticmethod
    def _drawn(name: str, source: Source, events: int | None, seed: int) -> Split:
        if events is None:
            return Split(source=source, indices=np.arange(len(source)))
        if events > len(source):
            raise DataError(
                f"There are {len(source)} events to {name} on, fewer than the {events} asked for.",
                where=source.place(0),
                fix=f"ask for fewer, or name more with --{name}",
            )
        return Split(source=source, indices=drawn_events(source.event_ids(), events, seed))


def open_splits(
    model: Pretrained,
    *,
    train: Data | None = None,
    val: Data | None = None,
    test: Data | None = None,
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Opened:
    """Opens labelled events for a model.

    Args:
        model: Of a checkpoint.
        train: By default the events that the model was pretrained on, whose labels it was not shown.
        val: By default a fifth of the training events, when splits are drawn.
        test: By default the events that pretraining was validated on.
        reader: Of the events that are named, see `open_events`; those of the run are read as it read them.
        options: The reader's.

    Raises:
        DataError: See `open_events`; the files are of different kinds; there are too few test events.
        RecipeError: No test events are named, and pretraining was not validated.
    """
    recipe = model.recipe.data
    if test is None and recipe.val is None:
        raise RecipeError(
            "There are no events to test on: the run was trained without validation events.",
            where=f"checkpoint {model.folder}",
            fix="name labelled events that the model has not seen with --test",
        )

    def tell(given: Data | None, default: str) -> str:
        return default if given is None else ", ".join(given) if isinstance(given, list) else str(given)

    told = {
        "train": tell(train, "the run's data.train"),
        "val": tell(val, "a fifth of train, by event"),
        "test": tell(test, "the run's data.val"),
    }
    doubts: list[str] = []

    def opened(given: Data | None, default: Data | None, *, seen: bool) -> Source:
        if given is not None:
            return open_events(model, given, reader=reader, options=options, seen=seen, say=doubts.append)
        assert default is not None
        return open_events(model, default, seen=seen, say=doubts.append)

    trained = opened(train, recipe.train, seen=True)
    tested = opened(test, recipe.val, seen=False)
    chosen = None if val is None else opened(val, None, seen=True)
    if len(tested) < 2:
        raise DataError(
            "One test event has no interval.", where=tested.place(0), fix="name more events with --test"
        )
    for source in (trained, chosen):
        if isinstance(source, GeneratorSource) and isinstance(tested, GeneratorSource):
            check_apart(source, tested)
    return Opened(train=trained, val=chosen, test=tested, told=told, doubts=tuple(dict.fromkeys(doubts)))


def _refuse_shared(named: Mapping[str, Split]) -> None:
    """`DataError` where an event, by its id, is in two splits; names both places."""
    ids = {name: split.ids() for name, split in named.items()}
    for a, b in combinations(named, 2):
        shared = np.flatnonzero(np.isin(ids[b], ids[a]))
        if len(shared):
            twin = int(np.flatnonzero(ids[a] == ids[b][shared[0]])[0])
            raise DataError(
                f"{len(shared)} {b} events are {a} events too, so figures would flatter.",
                where=f"{named[a].place(twin)} and {named[b].place(int(shared[0]))}",
                fix="name other events: hepfm data split makes files apart",
            )
