"""The shell commands of a page, and the output that it shows for them.

A block of ``bash`` is run; a block of ``text`` after it is what it printed; ``yaml`` or ``diff`` with
``title="NAME"`` is written as a file. A comment before a block of bash says how a test runs it otherwise than a
reader does:

    <!-- test: + --set train.steps=4 -->    these words are added to each `hepfm` command of the block
    <!-- test: STORE => store -->           this word stands for that (several: separated by ;)
    <!-- test: skip, it needs a browser --> not run
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"""(?:<!--\ test:\ (?P<how>[^\n]*?)\ -->\n+)?  # how a test runs it
    ^```(?P<kind>bash|text|(?:yaml|diff)\ title="(?P<file>[^"\n]+)")\n
    (?P<text>.*?)^```$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """Commands as a test runs them, the output that the page shows (or none), and the line of the page."""

    script: str
    shown: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The blocks that are run, in order."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    for at, match in enumerate(found):
        how, line = match["how"] or "", text.count("\n", 0, match.start("text"))
        if match["kind"] == "text" or how.startswith("skip, "):
            continue
        if match["file"]:
            yield Block(f"cat > {match['file']} <<'END'\n{match['text']}END", "", line)
            continue
        after = found[at + 1] if at + 1 < len(found) else None
        shown = after["text"] if after and after["kind"] == "text" else ""
        yield Block(_script(match["text"], how), shown, line)


def _script(text: str, how: str) -> str:
    text = re.sub(r"^make (\w+)$", lambda target: _made(target[1]), text, flags=re.MULTILINE)
    if how.startswith("+ "):
        text = re.sub(r"^(hepfm .*?)( +#.*)?$", lambda line: f"{line[1]} {how[2:]}", text, flags=re.MULTILINE)
    elif how:
        for pair in how.split("; "):
            word, stands_for = pair.split(" => ")
            assert word in text, f"{word} is not in the block:\n{text}"
            text = text.replace(word, stands_for)
    return text


def _made(target: str) -> str:
    """What ``make`` runs for a target, once everything is installed."""
    rule = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule, f"the Makefile has no {target}"
    return rule[1].replace("\t", "").replace("$(BIN)/", "").rstrip("\n")


def not_printed(shown: str, printed: str) -> list[str]:
    """The lines that a page shows, but that no line of what was printed is like but for its figures and ids."""
    like = {_figureless(line) for line in printed.splitlines()}
    return [
        line
        for line in shown.splitlines()
        if line.strip() not in {"", "..."} and _figureless(line) not in like
    ]


def _figureless(line: str) -> str:
    line = re.sub(r"\b[0-9a-f]{12,64}\b|(?<=-)[0-9a-f]{8}\b", "ID", line)
    line = re.sub(r"\d+[smhd] ago", "AGO", line)
    line = re.sub("─+", "─", line)  # as wide as the figures below it
    line = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "0", line)
    return " ".join(line.split())
