"""Installs plugins as pip does: a module and its metadata on the path."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points

import pytest

from hepfm.plugins import discover


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An installation folder of its own, where `Site.install` puts distributions."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]
    importlib.invalidate_caches()


class Site:
    def __init__(self, path):
        self.path = path

    def install(self, distribution, source, *, entry=None, version="1.0"):
        """Installs a distribution with one module, named by one entry point."""
        entry = entry or distribution.removeprefix("hepfm-")
        module = distribution.replace("-", "_")
        (self.path / f"{module}.py").write_text(source)
        info = self.path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[hepfm]\n{entry} = {module}\n")
        importlib.invalidate_caches()

    def discover(self, **environment):
        """Everything that is installed, the platform's own included."""
        return discover(entry_points(group="hepfm"), environment)
