"""Writes checkpoints while training goes on: tensors are copied, and the copies written in the background.

Training is held up by the copying, and on rank 0 by what follows a complete checkpoint (`snapshot.advance`:
old ones are deleted, ``run.json`` is told). Between them are two stages, each in a thread of its own that
leaves Python to the training nearly all the time (writing, hashing and syncing do without its lock):

1. every rank writes, hashes and syncs its own files;
2. when all have, rank 0 adds the manifest and renames the folder: now there is a checkpoint.

All ranks agree on when a stage has ended, by a flag that travels with an exchange of every step. A kill
meanwhile leaves the checkpoint before.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import torch

from hepfm.failpoints import failpoint
from hepfm.tracking.storage import storing, with_patience
from hepfm.training import checkpoint
from hepfm.training.checkpoint import Buffer
from hepfm.training.ranks import Ranks

T = TypeVar("T")

_Entries = dict[str, dict[str, Any]]

_log = logging.getLogger(__name__)


@dataclass
class _Save:
    """A checkpoint that is being made.

    Attributes:
        aside: The folder that its files are written into.
        stored: Says what its storage raises in a sentence.
        written: This rank's files, and on rank 0 the facts for the manifest: the first stage.
        completed: The checkpoint, on rank 0: the second.
    """

    aside: Path
    stored: Callable[[Callable[[], Any]], Callable[[], Any]]
    written: Future[tuple[_Entries, Mapping[str, Any]]]
    completed: Future[Path | None] | None = None


class Saver:
    """Makes the checkpoints of a run, one after the other.

    Args:
        checkpoints: The run's folder of checkpoints, shared by all ranks.
        ranks: The processes that train together.
    """

    def __init__(self, checkpoints: Path, ranks: Ranks) -> None:
        self._checkpoints = checkpoints
        self._ranks = ranks
        self._staged: dict[tuple[str, str], torch.Tensor] = {}
        self._save: _Save | None = None

    @property
    def active(self) -> bool:
        """Whether a checkpoint is being made; the same on all ranks."""
        return self._save is not None

    @property
    def busy(self) -> bool:
        """Whether this rank has not ended its share of the present stage."""
        if self._save is None:
            return False
        return not (self._save.completed or self._save.written).done()

    def stage(self, file: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Copies in the host's memory, pinned where they come from a GPU; they hold until the next ones.

        Args:
            file: That they are meant for; its copies take the place of those before.
            tensors: Names and tensors.
        """
        copies = {}
        on_gpu = False
        for name, tensor in tensors:
            copy = self._staged.get((file, name))
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                self._staged[file, name] = copy
            copies[name] = copy.copy_(tensor, non_blocking=True)
            on_gpu |= tensor.is_cuda
        if on_gpu:
            torch.cuda.current_stream().synchronize()
        return copies

    def begin(
        self, step: int, files: Mapping[str, Iterable[Buffer]], facts: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Begins a checkpoint; the one before must have ended. All ranks call this.

        Args:
            step: What it is called after.
            files: Name in the checkpoint to content, of this rank; it must not change until the end.
            facts: Makes the JSON that goes into the manifest (world size, validation loss); run by rank 0 in
                the background.

        Raises:
            StorageError: Its folder cannot be made; on all ranks.
        """
        assert self._save is None
        needed = checkpoint.size_of_newest(self._checkpoints) if self._ranks.rank == 0 else None
        stored = storing(f"the checkpoint of step {step}", self._checkpoints, needed)
        failpoint("checkpoint-staged")
        made = stored(lambda: checkpoint.begin(self._checkpoints, step))
        aside = with_patience(lambda: self._ranks.on_first(made))

        def write() -> tuple[_Entries, Mapping[str, Any]]:
            entries = with_patience(stored(lambda: _write(aside, files)))
            known = {"step": step, **facts()} if self._ranks.rank == 0 else {}
            return entries, known

        self._save = _Save(aside, stored, _in_background(write))

    def advance(self) -> Path | None:
        """Ends the present stage, waiting for whoever is busy, and begins the next. All ranks call this.

        Returns:
            The checkpoint, on all ranks, where it is complete.

        Raises:
            StorageError: It could not be written, for half a minute; on all ranks. Others are as they were.
        """
        save = self._save
        assert save is not None
        try:
            if save.completed is None:
                written = self._ranks.each(save.written.result)
                failpoint("checkpoint-written")
                if self._ranks.rank == 0:
                    files = {name: entry for entries, _ in written for name, entry in entries.items()}
                    complete = save.stored(partial(checkpoint.complete, save.aside, files, written[0][1]))
                    save.completed = _in_background(lambda: with_patience(complete))
                else:
                    save.completed = Future()
                    save.completed.set_result(None)
                return None
            completed = save.completed
            path = self._ranks.on_first(completed.result)
        except BaseException:
            self._save = None
            if self._ranks.rank == 0:  # what is not complete takes the room that others need
                shutil.rmtree(save.aside, ignore_errors=True)
            raise
        self._save = None
        return path

    def settle(self) -> None:
        """Waits until this rank's thread, if any, has ended, whatever came of it.

        For a training that fails: the others need not be there. What is not complete stays aside.
        """
        if self._save is not None:
            (self._save.completed or self._save.written).exception()


def _write(aside: Path, files: Mapping[str, Iterable[Buffer]]) -> _Entries:
    try:
        return {name: checkpoint.write_file(aside / name, content) for name, content in files.items()}
    except OSError:
        for name in files:  # what is not complete takes the room that others need
            (aside / name).unlink(missing_ok=True)
        raise


def _in_background(make: Callable[[], T]) -> Future[T]:
    """What will have been made, in a thread that does not keep the process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001  raised by whoever asks for the result
            future.set_exception(error)

    Thread(target=run, name="checkpoint", daemon=True).start()
    return future
