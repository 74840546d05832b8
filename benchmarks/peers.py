"""The environment of the peers: a virtual environment that sees hepfm's own packages behind its own.

So peers never change what hepfm runs with, and both sides of a row run in one process with one torch.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".venv-peers"
PYTHON = FOLDER / "bin" / "python"


def setup() -> None:
    """Makes the environment anew and installs the pinned peers, without what they depend on."""
    venv.create(FOLDER, clear=True, with_pip=False)
    behind = sysconfig.get_paths()["purelib"]
    [packages] = FOLDER.glob("lib/python*/site-packages")
    # addsitedir also reads the .pth files there, such as that of an editable hepfm.
    (packages / "behind.pth").write_text(f"import site; site.addsitedir({behind!r})\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(PYTHON)]
    wanted = HERE / "requirements-peers.txt"
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "-r", str(wanted)], check=True)


def python() -> str:
    """The interpreter that rows run in: the peers', where there is one."""
    return str(PYTHON) if PYTHON.exists() else sys.executable
