"""What each rank of a training does, whoever started it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hepfm.errors import HepfmError, PluginError
from hepfm.failpoints import failpoint
from hepfm.plugins import plugins
from hepfm.training.request import TrainRequest

if TYPE_CHECKING:
    from hepfm.recipe.load import Resolved
    from hepfm.tracking.runs import RunDir
    from hepfm.training.ranks import Ranks

__all__ = ["TrainRequest", "train"]

_log = logging.getLogger(__name__)


def train(request: TrainRequest) -> None:
    """Trains, as one of the ranks that RANK, WORLD_SIZE, LOCAL_RANK and MASTER_* name, or alone.

    Rank 0 records the run and keeps ``run.json``; what any rank raises ends there and in the log.

    Raises:
        Stopped: It was asked to stop, and did so after a checkpoint; on all ranks.
        HepfmError: What a user can do something about; the same error on all ranks where one failed.
    """
    found = plugins()  # before anything else: what the recipe names comes from them
    if request.plugins is not None and found.versions() != request.plugins:
        raise PluginError(
            "This worker has other plugins than the command that launched it.",
            where=f"here {found.versions()}, there {dict(request.plugins)}",
            fix="install the same packages on every node",
        )
    from hepfm.recipe.load import from_dict
    from hepfm.tracking.runs import RunDir
    from hepfm.training import effective
    from hepfm.training.ranks import join, watched
    from hepfm.training.signals import stopped

    resolved = from_dict(request.recipe)
    run = RunDir(Path(request.run_dir))
    ranks = join(request.timeout_s)
    with ExitStack() as stack:
        stack.enter_context(_logging_to(run, ranks))
        ranks.on_first(lambda: stack.enter_context(run.lock()))
        if ranks.rank == 0 and not request.launched:
            stack.enter_context(effective.attempt(run, time.time()))
        ranks = stack.enter_context(watched(ranks, run, request.timeout_s))
        with _told_of_failure(run, ranks):
            reason = _train(request, resolved, run, ranks)
    ranks.leave()
    if reason is not None:
        raise stopped(reason, run)


def _train(request: TrainRequest, resolved: Resolved, run: RunDir, ranks: Ranks) -> str | None:
    """Trains; returns why it stopped, where it was asked to."""
    from hepfm.training import effective, snapshot
    from hepfm.training.loop import run_loop
    from hepfm.training.start import start

    if ranks.rank == 0:
        run.update(status="running", reason=None, recipe_hash=resolved.hash, seed=resolved.recipe.seed)
    failpoint("starting")
    session = start(request, resolved, run, ranks)
    session.clock = effective.clock(run) if ranks.rank == 0 else None
    status: Literal["done", "stopped", "failed"] = "failed"
    try:
        for callback in session.callbacks:
            callback.on_start(run.json())
        reason = run_loop(session)
        status = "done" if reason is None else "stopped"
        if ranks.rank == 0:
            run.update(status=status, reason=reason)
            run.forget_stop(reason)
    except KeyboardInterrupt:
        status = "stopped"
        raise
    except Exception:
        if ranks.world == 1:  # what was begun before it went wrong; several ranks may not all be there
            with suppress(Exception):
                snapshot.finish(session)
        raise
    finally:
        ranks.leave_watch()  # nobody waits for what follows
        if status == "failed":  # a thread would go on writing when the run's lock is free again
            session.saver.settle()
        if session.recorder is not None:
            session.recorder.close(status)
    for callback in session.callbacks:
        callback.on_end(run.json())
    return reason


@contextmanager
def _told_of_failure(run: RunDir, ranks: Ranks) -> Iterator[None]:
    """Sees to it that an error is in the log, known to all ranks, and in ``run.json``."""
    from hepfm.tracking.storage import in_words

    try:
        yield
    except BaseException as error:
        _log.exception("training ended")
        late = None if ranks.watch is None or isinstance(error, HepfmError) else ranks.watch.verdict()
        cause = ranks.first_failure(str(run.path), late or in_words(error, run.path))
        if ranks.rank == 0:
            status = "stopped" if isinstance(cause, KeyboardInterrupt) else "failed"
            with suppress(OSError):  # where storage fails, the error itself has to do
                run.update(status=status, reason=str(cause) or type(cause).__name__)
        if cause is not error:
            raise cause from error
        raise


@contextmanager
def _logging_to(run: RunDir, ranks: Ranks) -> Iterator[None]:
    """Appends to the run's log what hepfm and DeepSpeed say: rank 0 all of it, the others their warnings."""
    handler = logging.FileHandler(run.log_path, encoding="utf-8")
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s rank {ranks.rank} %(levelname)s %(name)s: %(message)s")
    )
    handler.setLevel(logging.INFO if ranks.rank == 0 else logging.WARNING)
    logger = logging.getLogger("hepfm")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # on Ray, the root logger writes to the standard error, which is in the log too
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        with suppress(OSError):  # of a full disk; what ended the run tells of that
            handler.close()
