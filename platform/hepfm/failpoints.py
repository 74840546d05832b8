"""Named points where a test can kill, raise, hang or signal: ``HEPFM_FAILPOINT=<where>:<n>:kill|raise|hang``.

The n-th time (from 1) that a process passes the point of that name, it happens. Several are separated by
commas. With ``@<rank>`` after the name (``after-step@1:3:kill``) only the process with that RANK is meant.
An action may also be the name of a signal (``SIGTERM``), which the process then sends to itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

_passed: Counter[str] = Counter()


class FailpointError(RuntimeError):
    """What ``raise`` raises: an error that no code of ours expects."""


def failpoint(where: str) -> None:
    """Does what the environment asks for at this point; nothing, and at no cost, without it."""
    wanted = os.environ.get("HEPFM_FAILPOINT")
    if not wanted:
        return
    _passed[where] += 1
    for point in wanted.split(","):
        name, count, action = point.split(":")
        name, _, rank = name.partition("@")
        if name != where or int(count) != _passed[where] or rank not in {"", os.environ.get("RANK", "0")}:
            continue
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "hang":
            time.sleep(3600)
        elif action == "raise":
            raise FailpointError(f"failpoint {point}")
        elif action in signal.Signals.__members__:
            os.kill(os.getpid(), signal.Signals[action])
        else:
            raise ValueError(f"HEPFM_FAILPOINT: '{action}' is none of kill, raise, hang and no signal")
