"""What ended workers on Ray: an error of theirs, or the loss of one, which another attempt may survive."""

from __future__ import annotations

import re
from typing import NoReturn

from hepfm.errors import HepfmError, TrainingError
from hepfm.tracking.runs import RunDir
from hepfm.training.watch import given_up

_PEER_GONE = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|Socket (Timeout|closed)|DistNetworkError|ncclRemoteError"
)
"""What the others raise when a rank is gone (gloo, NCCL)."""


class LostError(Exception):
    """A worker or a node was lost; the text says so in a sentence."""


class NotStartedError(Exception):
    """There was no room for the workers after all; the text says so in a sentence."""


def judge(error: BaseException, run: RunDir) -> NoReturn:
    """Raises what an exception of Ray Train means.

    Raises:
        LostError: A worker's process or its node ended, or workers failed to start.
        NotStartedError: Workers waited too long for room.
        HepfmError: What a worker raised; the lowest rank is the most telling.
    """
    from ray import train
    from ray.exceptions import RayError

    again = f"hepfm resume {run.name} goes on from the newest checkpoint"
    if isinstance(error, train.WorkerGroupError):
        failures = dict(sorted(error.worker_failures.items()))
        if gone := [rank for rank, failure in failures.items() if _is_lost(failure)]:
            if (verdict := given_up(run)) is not None:  # they ended themselves
                run.update(status="running")  # its record is open still; `closed_at_last` sees to it
                raise verdict from error
            raise LostError(f"Lost {_ranks(gone)}.") from error
        for cause in map(_own_error, failures.values()):
            if cause is not None and not _PEER_GONE.search(str(cause)):
                raise cause from error
        if any(_PEER_GONE.search(str(failure)) for failure in failures.values()):
            raise LostError("Lost the connection to a worker.") from error
        last = str(next(iter(failures.values()))).strip().splitlines()[-1]
        where = f"{run.log_path} has the traceback"
        raise TrainingError(
            f"Training ended on {_ranks(failures)}: {last}", where=where, fix=again
        ) from error
    if isinstance(error, train.ControllerError):
        _judge_controller(error.controller_failure, run)
    if isinstance(error, train.TrainingFailedError):
        raise LostError(f"A node is taken away: {error}") from error
    if isinstance(error, RayError):
        raise LostError("Lost Ray Train's controller.") from error
    raise error


def _judge_controller(failure: BaseException, run: RunDir) -> NoReturn:
    from ray.train.v2._internal import exceptions

    if isinstance(failure, exceptions.WorkerGroupStartupTimeoutError):
        raise NotStartedError("Ray found no room for the workers.") from failure
    if isinstance(failure, exceptions.WorkerGroupStartupFailedError):
        raise LostError("Ray did not start the workers.") from failure
    first = str(failure).strip().splitlines()[0]
    raise TrainingError(
        f"Ray Train failed: {type(failure).__name__}: {first}",
        where=f"{run.log_path} has what happened before",
        fix=f"hepfm resume {run.name} goes on from the newest checkpoint",
    ) from failure


def _is_lost(failure: BaseException) -> bool:
    """Whether Ray tells that a worker's process or node ended."""
    from ray.exceptions import RayActorError

    return isinstance(getattr(failure, "health_check_failure", failure), RayActorError)


def _own_error(failure: BaseException) -> HepfmError | None:
    """The error of ours that a worker raised, if it was one."""
    seen: BaseException | None = failure
    while seen is not None:
        if isinstance(seen, HepfmError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return None


def _ranks(ranks: list[int] | dict[int, Exception]) -> str:
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(map(str, ranks))}"
