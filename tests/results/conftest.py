"""The tools of docs/results.md can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    """The folder of tools, on the path of modules."""
    monkeypatch.syspath_prepend(TOOLS)
    yield TOOLS
    for name in [name for name in sys.modules if name.partition(".")[0] in ("results", "make_results")]:
        del sys.modules[name]
