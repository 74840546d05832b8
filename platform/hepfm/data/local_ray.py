"""How a Ray that hepfm starts for itself is set up. Imports nothing of Ray: its environment comes first."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from hepfm.errors import HepfmError


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
        return {"address": address, **quiet}
    _own_token()
    # Sockets lie below this folder, and their paths are short: not in the run's folder.
    scratch = Path(tempfile.gettempdir()) / f"hepfm-ray-{os.getuid()}"
    scratch.mkdir(mode=0o700, exist_ok=True)
    if scratch.stat().st_uid != os.getuid() or scratch.is_symlink():
        raise HepfmError("Ray's folder belongs to somebody else.", where=str(scratch), fix="set TMPDIR")
    return {
        "address": "local",
        "num_cpus": cpus,
        "include_dashboard": False,
        "_temp_dir": str(scratch),
        **quiet,
    }


def _own_token() -> None:
    if "RAY_AUTH_MODE" in os.environ:
        return
    token = token_file()
    folder = token.parent
    folder.mkdir(parents=True, exist_ok=True)
    if not token.exists():
        aside = folder / f".ray-token-{os.getpid()}"
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        aside.replace(token)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def token_file() -> Path:
    """Where the token of the Rays that hepfm starts is, once one was started."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepfm" / "ray-token"
