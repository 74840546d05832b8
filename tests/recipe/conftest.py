"""A small plugin, installed for each test as any other would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from hepfm.plugins import plugins


@pytest.fixture(autouse=True)
def toy_plugin(monkeypatch):
    """Puts the toy plugin's distribution on sys.path, where its entry point is found."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "toy")
    plugins.cache_clear()
    yield
    plugins.cache_clear()
