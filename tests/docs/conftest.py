"""The module that reads pages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pages():
    """The module ``pages.py``."""
    spec = importlib.util.spec_from_file_location("docs_pages", Path(__file__).parent / "pages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclass
    spec.loader.exec_module(module)
    return module
