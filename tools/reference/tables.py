"""Tables and text in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing without rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *lines, ""]) if lines else ""


def cell(text: str) -> str:
    """Text that stays inside its cell. In code, a bar is let through as it is."""
    return text.replace("\n", " ").replace("|", "\\|")


def code(text: object) -> str:
    """Text as code; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def prose(text: str) -> str:
    """A docstring's text in Markdown: one pair of backticks for code, no other markup."""
    return re.sub(r"``(.+?)``", r"`\1`", text.replace("<", "&lt;")).strip()
