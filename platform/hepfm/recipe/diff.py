"""What differs between two recipes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hepfm.recipe.document import flatten
from hepfm.recipe.load import NOT_HASHED
from hepfm.recipe.schema import Checkpoint, Recipe

ABSENT = "(absent)"
"""Stands for the value of a key that one of the recipes does not have (an option of another component)."""

FREE = {
    *("data.train", "data.val", "train.time_limit_minutes"),
    *("data.val.events", "train.validate_events", "train.validate_every"),
    "train.patience",
    *(f"checkpoint.{name}" for name in Checkpoint.model_fields),
}
"""What a run that goes on may change beside `NOT_HASHED`: where data lies (what it holds is compared by
digest), how often and on how many events it is validated, when to save and stop. Not by what the best is told
(``train.best_by``): scores of two figures do not compare."""


@dataclass(frozen=True)
class Change:
    """A dotted key whose value differs: ``a`` in the first recipe, ``b`` in the second."""

    key: str
    a: Any
    b: Any


def diff(a: Recipe, b: Recipe) -> list[Change]:
    """All keys whose values differ, in the order of the first recipe, then of the second."""
    trees = [recipe.model_dump(mode="json") for recipe in (a, b)]
    return [Change(key, *values) for key, values in differences(trees)]


def deciding(a: Recipe, b: Recipe) -> list[Change]:
    """Of `diff`, what may not change where a run goes on."""
    return [
        change
        for change in diff(a, b)
        if change.key.partition(".")[0] not in NOT_HASHED and change.key not in FREE
    ]


def differences(trees: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The same for any number of recipes as plain values: dotted keys, with the value in every recipe."""
    flat = [flatten(tree) for tree in trees]
    for key in dict.fromkeys(key for each in flat for key in each):
        values = tuple(each.get(key, ABSENT) for each in flat)
        if any(value != values[0] for value in values):
            yield ".".join(key), values


def render(changes: Iterable[Change]) -> str:
    """One line for each change: ``train.steps: 100 -> 300``."""
    return "\n".join(f"{c.key}: {shown(c.a)} -> {shown(c.b)}" for c in changes)


def shown(value: Any) -> str:
    """A value as a recipe would write it."""
    return value if value == ABSENT else json.dumps(value, ensure_ascii=False)
