"""The plugin that docs/add-a-modality.md shows is the one that is written; test_pages.py follows the page."""

from __future__ import annotations

import re
from pathlib import Path

from hepfm.cli.plugin_new import new

PAGE = Path(__file__).parents[2] / "docs" / "add-a-modality.md"


def test_it_shows_what_is_written(tmp_path):
    new("tilecal", kind="modality", out=tmp_path / "tilecal")
    written = "".join(path.read_text() for path in (tmp_path / "tilecal").rglob("*.py"))
    shown = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    for block in shown:
        assert block in written
