"""How a Ray that hepfm starts for itself is set up. Imports nothing of Ray: its environment comes first."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from hepfm.errors import HepfmError

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_BIND_TO_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Has Ray (2.60) take 127.0.0.1 for the address of its node: all its ports listen there alone. Without it Ray
replaces 127.0.0.1 by the machine's address, in a driver too."""


def init_options(address: str | None, *, cpus: int) -> dict[str, Any]:
    """Arguments of ``ray.init``, and the environment set for them; call it before Ray is imported.

    Args:
        address: A running cluster, used as it is; None for a Ray of our own, which needs a token from
            a file that only the user can read, has no dashboard, and keeps its files out of others' reach.
        cpus: Cores that a Ray of our own offers.

    Raises:
        HepfmError: The folder for Ray's files belongs to somebody else.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        if address.rpartition(":")[0] in LOOPBACK and token_file().is_file():
            _use_own()  # that of `hepfm up`
        return {"address": address, **quiet}
    own_token()
    _use_own()
    return {
        "address": "local",
        "num_cpus": cpus,
        "include_dashboard": False,
        "_temp_dir": str(scratch() / "own"),
        **quiet,
    }


def client_environment() -> dict[str, str]:
    """What a process needs in its environment to reach a Ray on this machine that hepfm started."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file()), **_BIND_TO_LOOPBACK}


def _use_own() -> None:
    chosen = "RAY_AUTH_MODE" in os.environ  # by the user, who knows better
    os.environ.update(_BIND_TO_LOOPBACK if chosen else client_environment())


def scratch() -> Path:
    """A folder for Rays' files, which nobody else can enter. Ray opens those that it is given to all (2.60).

    Sockets lie below it, and their paths are short: it is not in the run's folder.

    Raises:
        HepfmError: It belongs to somebody else.
    """
    folder = Path(tempfile.gettempdir()) / f"hepfm-ray-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        raise HepfmError("Ray's folder belongs to somebody else.", where=str(folder), fix="set TMPDIR")
    folder.chmod(0o700)
    return folder


def own_token() -> Path:
    """The file with the token of the Rays that hepfm starts, made where it is missing; the user's alone."""
    token = token_file()
    token.parent.mkdir(parents=True, exist_ok=True)
    if not token.exists():
        aside = token.with_name(f".{token.name}-{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        aside.replace(token)
    token.chmod(0o600)
    return token


def token_file() -> Path:
    """Where the token of the Rays that hepfm starts is, once one was started."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepfm" / "ray-token"
