"""A process that sees a plugin more."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def install(tmp_path):
    """Installs ``hepfm-NAME`` with this module; gives the environment of a process that sees it."""

    def install(name, source):
        (tmp_path / f"hepfm_{name}.py").write_text(source)
        info = tmp_path / f"hepfm_{name}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hepfm-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hepfm]\n{name} = hepfm_{name}\n")
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        fixed = {"PYTHONPATH": path, "HEPFM_DEBUG": "", "HEPFM_PLUGINS_STRICT": "", "COLUMNS": "140"}
        return {**os.environ, **fixed}

    return install
