"""What differs between two recipes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hepfm.recipe.document import flatten
from hepfm.recipe.schema import Recipe

ABSENT = "(absent)"
"""Stands for the value of a key that one of the recipes does not have (an option of another component)."""


@dataclass(frozen=True)
class Change:
    """A dotted key whose value differs: ``a`` in the first recipe, ``b`` in the second."""

    key: str
    a: Any
    b: Any


def diff(a: Recipe, b: Recipe) -> list[Change]:
    """All keys whose values differ, in the order of the first recipe, then of the second."""
    left, right = (flatten(recipe.model_dump(mode="json")) for recipe in (a, b))
    return [
        Change(".".join(key), left.get(key, ABSENT), right.get(key, ABSENT))
        for key in dict.fromkeys([*left, *right])
        if key not in left or key not in right or left[key] != right[key]
    ]


def render(changes: Iterable[Change]) -> str:
    """One line for each change: ``train.steps: 100 -> 300``."""
    return "\n".join(f"{c.key}: {_shown(c.a)} -> {_shown(c.b)}" for c in changes)


def _shown(value: Any) -> str:
    return value if value == ABSENT else json.dumps(value, ensure_ascii=False)
