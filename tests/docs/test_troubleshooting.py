"""The page of messages quotes messages that the code still has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hepfm import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def messages():
    """All texts of the code, with `…` for what is put in."""
    texts = set()
    for path in [*(ROOT / "platform").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
                texts.add("".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_message_exists(quoted, messages):
    assert any(quoted.rstrip("…") in text for text in messages)


def test_every_entry_quotes_a_message():
    sections = PAGE.partition("## Recipes and the command line")[2]
    assert len(QUOTED) == len(re.findall("^### ", sections, re.MULTILINE)) > 30
    assert len(set(QUOTED)) == len(QUOTED)


def test_exit_codes_are_those_of_the_errors():
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    used = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HepfmError)
    }
    assert used | {0, 130} <= codes
