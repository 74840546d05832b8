"""The plugin of a stranger, which the contract suites are tried on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def calo(monkeypatch):
    """The module ``hepfm_calo``, which keeps to the contracts."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "plugins" / "calo")
    yield importlib.import_module("hepfm_calo")
    sys.modules.pop("hepfm_calo")
