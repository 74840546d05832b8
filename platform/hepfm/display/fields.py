"""Rows of predictions and of truth in words: one line for each number of an event, or for each particle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hepfm.api import ClassName, Column
from hepfm.display.instances import Matched, colour
from hepfm.display.panels import Branch, Tree
from hepfm.display.scene import GREY, PALETTE

Array = np.ndarray[Any, Any]
Table = Mapping[str, Array]
Columns = Mapping[str, Column]
Vocabularies = Mapping[str, Sequence[ClassName]]

_RIGHT, _WRONG = PALETTE[3], PALETTE[5]
_SURE = "probability"
_WIDTH = "_sigma"


def answer_tree(
    title: str,
    columns: Columns,
    predicted: Table,
    truth: Table,
    *,
    vocabularies: Vocabularies,
    number: str | None = None,
    matched: Matched | None = None,
) -> Tree:
    """A table's predictions beside its truth.

    Args:
        title: Of the panel.
        columns: Of the table.
        predicted: Column name to ``(rows, ...)``.
        truth: The same; columns may be missing, and values NaN, where they are not known.
        vocabularies: Names of classes.
        number: The column with the number of the instance that a row is of; None for a table of the event.
        matched: The instances' numbers in the pictures.
    """
    if number is None or matched is None:
        branches = _event(columns, predicted, truth, vocabularies)
    else:
        branches = _rows(columns, predicted, truth, vocabularies, number, matched)
    return Tree(title=title, branches=list(branches) or [Branch(depth=0, text="nothing is predicted")])


def _event(columns: Columns, predicted: Table, truth: Table, vocabularies: Vocabularies) -> Iterator[Branch]:
    """A line for each column, of tables with a row for the event."""
    for name, column in columns.items():
        if not is_answer(name) or not len(predicted[name]):
            continue
        found = predicted[name][0]
        said = _predicted(columns, predicted, 0, name, vocabularies)
        true = np.asarray(truth.get(name, ()))
        known = true[[_is_known(value, column, vocabularies) for value in true]] if len(true) else true
        if not len(known):
            missing = "" if not truth else "true not known, "
            yield Branch(depth=0, text=f"{_plain(name, column)}: {missing}predicted {said}", colour=GREY)
            continue
        if column.vocabulary:
            right = known[0]
            mark, apart = (_RIGHT if right == found else _WRONG), ""
        elif column.shape == (3,) and column.unit:
            distance = np.linalg.norm(known.astype(np.float64) - found, axis=1)
            right, mark = known[distance.argmin()], PALETTE[1]
            apart = f", {distance.min():.4g} {column.unit} apart" + (
                f" (nearest of {len(known)})" if len(known) > 1 else ""
            )
        else:
            right, mark = known[0], PALETTE[1]
            apart = _residual(name, column, found, right, predicted)
        words = f"true {_value(right, column, vocabularies)}, predicted {said}{apart}"
        yield Branch(depth=0, text=f"{_plain(name, column)}: {words}", colour=mark)


def _residual(name: str, column: Column, found: Any, right: Any, predicted: Table) -> str:
    if column.shape:
        return ""
    apart = float(found) - float(right)
    pull = ""
    if name + _WIDTH in predicted and (sigma := float(predicted[name + _WIDTH][0])) > 0:
        pull = f" ({apart / sigma:+.2g} sigma)"
    return f", residual {apart:+.3g} {column.unit}".rstrip() + pull


def _rows(
    columns: Columns,
    predicted: Table,
    truth: Table,
    vocabularies: Vocabularies,
    number: str,
    matched: Matched,
) -> Iterator[Branch]:
    """A line for each instance, in the pictures' order."""
    lines: dict[int, list[str]] = {}
    for word, table, names in (
        ("true", truth, matched.of_true),
        ("predicted", predicted, matched.of_predicted),
    ):
        for row, old in enumerate(np.asarray(table.get(number, ())).tolist()):
            fields = [
                ("" if column.vocabulary else f"{_plain(name, column)} ")
                + _predicted(columns, table, row, name, vocabularies)
                for name, column in columns.items()
                if name != number
                and name in table
                and is_answer(name)
                and _is_known(table[name][row], column, vocabularies)
            ]
            if int(old) in names:
                lines.setdefault(names[int(old)], []).append(f"{word} {', '.join(fields)}".rstrip())
    for new in sorted(lines):
        said = lines[new]
        if new in matched.overlap:
            said = [*said, f"overlap {matched.overlap[new]:.2f}"]
        elif truth:
            said = [*said, "not found" if said[0].startswith("true") else "no true one"]
        yield Branch(depth=0, text=f"{new + 1}: {'; '.join(said)}", colour=colour(new))


def is_answer(name: str) -> bool:
    """Whether a column of predictions is an answer, and not how sure another one is."""
    return name not in {_SURE, "score"} and not name.endswith(_WIDTH)


def _is_known(value: Any, column: Column, vocabularies: Vocabularies) -> bool:
    """Whether it is finite, and one of the classes where there are any."""
    if not np.isfinite(np.asarray(value, np.float64)).all():
        return False
    return not column.vocabulary or int(value) in {e.value for e in vocabularies.get(column.vocabulary, ())}


def _predicted(columns: Columns, table: Table, row: int, name: str, vocabularies: Vocabularies) -> str:
    """A value, and how sure it is where the table says so: its standard deviation, or its probability."""
    column = columns[name]
    width = table.get(name + _WIDTH)
    said = _value(table[name][row], column, vocabularies, None if width is None else width[row])
    if _SURE in table and (column.vocabulary or not columns[_SURE].shape):
        return f"{said} ({float(np.max(table[_SURE][row])):.0%})"
    return said


def _value(value: Any, column: Column, vocabularies: Vocabularies, width: Any = None) -> str:
    if column.vocabulary:
        names = {each.value: each.name for each in vocabularies.get(column.vocabulary, ())}
        return names.get(int(value), f"class {int(value)}")
    between = "" if width is None else f" +- {_numbers(np.ravel(width))}"
    return f"{_numbers(np.ravel(value))}{between} {column.unit}".rstrip()


def _numbers(values: Array) -> str:
    whole = values.dtype.kind in "iu"
    words = [f"{int(value)}" if whole else f"{value:.4g}" for value in values]
    return words[0] if len(words) == 1 else f"({', '.join(words)})"


def _plain(name: str, column: Column) -> str:
    """A column's name without its unit."""
    unit = column.unit.split("/")[0].lower()
    return (name.removesuffix(f"_{unit}") if unit else name).replace("_", " ")
