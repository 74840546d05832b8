"""Whether Ray's head answers: Ray asks a silent one for a minute, and ends a driver without head (2.60)."""

from __future__ import annotations

import time

from hepfm.data.ray_address import answers

_LOOK_EVERY_S = 2.0
_SILENT_S = 20.0


class HeadLostError(Exception):
    """Ray's head, at an address, is gone."""


class Head:
    """Watches Ray's head.

    Args:
        address: ``host:port``.
        every_s: How often it is looked at, at most.
        silent_s: For how long it may not answer, from the first look that finds it so.
    """

    def __init__(self, address: str, *, every_s: float = _LOOK_EVERY_S, silent_s: float = _SILENT_S) -> None:
        self._address, self._every_s, self._silent_s = address, every_s, silent_s
        self._next = time.monotonic()
        self._silent_since: float | None = None

    @property
    def answers(self) -> bool:
        """Whether it did at the last look."""
        return self._silent_since is None

    def check(self) -> None:
        """Looks whether it answers, now and then.

        Raises:
            HeadLostError: It has not for long.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_s
        if answers(self._address):
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > self._silent_s:
            raise HeadLostError(self._address)

    def make_sure(self) -> None:
        """Waits for an answer, for a while.

        Raises:
            HeadLostError: None came.
        """
        end = time.monotonic() + self._silent_s / 2
        while not answers(self._address):
            if time.monotonic() > end:
                raise HeadLostError(self._address)
            time.sleep(0.5)
