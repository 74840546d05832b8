"""Runs a command for as long as whoever started it lives: ``python -m hepfm.tracking.tether COMMAND...``.

Standard input is the tether: a pipe whose other end the starter holds, and which the kernel closes when the
starter ends, also by kill -9. Then the process group is ended; the starter makes it one of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

_END_S = 10.0


def main(command: Sequence[str]) -> None:
    """Ends with the command's exit code, and not before the command."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=lambda: os._exit(child.wait() & 0xFF), daemon=True).start()
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(_END_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
