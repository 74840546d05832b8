"""Errors for people: what happened, where, and what to do next.

Everything that a user can get wrong is raised as one of these; the command line prints the message without
a traceback and exits with the class's code. What only the platform can get wrong is an ``assert``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HepfmError(Exception):
    """The base of all errors that a user should see.

    Args:
        what: What happened, one sentence.
        where: The file, event, field or key, e.g. ``train.h5, event 17, field energy_mev``.
        fix: What to do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  to do: {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Ray carries errors between processes by pickle; keyword arguments are lost by default.
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(cls: type[HepfmError], what: str, where: str, fix: str) -> HepfmError:
    return cls(what, where=where, fix=fix)


class RecipeError(HepfmError):
    """A recipe, an override or a command line that cannot be used."""

    exit_code = 2


class DataError(HepfmError):
    """A file, event or field that cannot be read or makes no sense."""

    exit_code = 3


class PluginError(HepfmError):
    """A plugin that is missing, broken, in conflict, or of another API version."""

    exit_code = 4


class CheckpointError(HepfmError):
    """A checkpoint that is missing, incomplete, damaged, or does not fit the run."""


class TrainingError(HepfmError):
    """Training that cannot go on (losses not finite, a worker lost, a limit reached)."""


class Stopped(HepfmError):  # noqa: N818  it is none
    """Training that was asked to stop, and did so after a checkpoint: ``hepfm resume`` goes on from it.

    Attributes:
        reason: Why, as ``run.json`` says it (``SIGTERM``); known where it was raised.
    """

    exit_code = 75
    reason = ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one, or the list of all known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}" if known else "none are known"
