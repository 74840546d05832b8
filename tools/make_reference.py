"""Writes docs/reference/ from the code: commands, settings of recipes, hooks. With --check, compares only."""
# ruff: noqa: INP001  a script, not a package

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

from reference.commands import commands
from reference.hooks import hooks
from reference.settings import settings

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by tools/make_reference.py: make reference writes it again. -->\n\n"


def main() -> int:
    """Writes the pages. With ``--check``: exit code 1 and the difference where a page is another."""
    check = sys.argv[1:] == ["--check"]
    different = False
    for page, make in (("commands.md", commands), ("settings.md", settings), ("hooks.md", hooks)):
        path, text = FOLDER / page, MADE + make()
        if check:
            old = path.read_text(encoding="utf-8") if path.exists() else ""
            different |= old != text
            lines = difflib.unified_diff(
                old.splitlines(), text.splitlines(), page, "the code", lineterm="", n=0
            )
            sys.stdout.writelines(f"{line}\n" for line in lines)
        else:
            path.write_text(text, encoding="utf-8")
    return int(different)


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    sys.exit(main())
