"""The page of promises names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
CITED = re.compile(r"((?:\*[^*]+\*,? ?)+)\(`([\w/]+\.py)`\)")


def test_every_test_named_exists():
    cited = [
        (name, path) for names, path in CITED.findall(PAGE) for name in re.findall(r"\*([^*]+)\*", names)
    ]
    assert len(cited) > 40
    for name, path in cited:
        source = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert f"def test_{name.replace(' ', '_')}(" in source, f"{path} has no test '{name}'"


def test_every_case_names_a_test():
    for line in PAGE.splitlines():
        if re.match(r"\| \d+ \|", line):
            assert CITED.search(line), line
