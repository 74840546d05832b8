"""Tables on the terminal: all commands' look alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIGURE, NAME = 40, 64
"""Letters of a figure with its interval and its spread, and of its name."""


def table(*heads: Any) -> Any:
    """An empty table of ``rich`` with these columns: their heads, or columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(*heads, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)


def console(width: int = 0) -> Any:
    """A console on standard output; into a file or a pipe, it is at least this wide."""
    from rich.console import Console

    made = Console(highlight=False, markup=False)  # what is in brackets may be a file's name
    if not made.is_terminal:
        made.width = max(made.width, width)
    return made


def figure_table(columns: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    """Figures with their intervals: a row for each, a column for each of what is compared."""
    from hepfm.tracking.evaluations import in_words

    rows = dict.fromkeys(name for figures in columns.values() for name in figures)
    return text_table(
        list(columns),
        [(name, [in_words(figures.get(name)) for figures in columns.values()]) for name in rows],
    )


def text_table(heads: Sequence[Any], rows: Sequence[tuple[str, Sequence[str]]]) -> Any:
    """Rows with a name each, and a text for each of the columns."""
    from rich.table import Column
    from rich.text import Text

    made = table("", *(Column(head, overflow="fold") for head in heads))
    for title, texts in rows:
        made.add_row(Text(title, "dim"), *map(Text, texts))
    return made


def wide(columns: int) -> Any:
    """A console with room for so many columns of figures."""
    return console(NAME + FIGURE * columns)
