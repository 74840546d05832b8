"""What a run was made with: code, packages, plugins."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hepfm import __version__
from hepfm.plugins import plugins

_PACKAGES = ("hepfm", "torch", "deepspeed", "ray", "mlflow", "numpy", "h5py", "pydantic")


def code_version() -> str:
    """The git commit of the checkout that hepfm runs from (``-dirty`` if changed), else its version."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout  # noqa: S603

    try:
        # Fails where hepfm is installed inside a checkout of something else, too.
        git("ls-files", "--error-unmatch", str(here))
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty").strip()
    except (OSError, subprocess.SubprocessError):
        return __version__


def versions() -> dict[str, Any]:
    """Python, packages and plugins, by name."""
    packages: dict[str, str] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"code": code_version(), "packages": packages, "plugins": plugins().versions()}
