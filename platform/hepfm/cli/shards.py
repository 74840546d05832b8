"""What the commands share that fill a folder of shards: work on Ray or here, and words on how it went."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

import typer

from hepfm.errors import HepfmError, RecipeError

Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Worker processes of Ray; 0 for none.", show_default="one a core"),
]
Address = Annotated[str | None, typer.Option(help="A running Ray; by default RAY_ADDRESS, else a local one.")]


class Unit(Protocol):
    """One shard to write."""

    @property
    def events(self) -> int:
        """Of the shard."""


U = TypeVar("U", bound=Unit)


def check_ray(*, workers: int | None, address: str | None, many: bool) -> None:
    """Refuses an address where no Ray can be, before anything else is done.

    Args:
        workers: Of ``--workers``.
        address: Of ``--address``.
        many: Whether there is more than one shard to write.

    Raises:
        RecipeError: Nothing listens there, or no Ray is to be used.
    """
    from hepfm.data.ray_address import refuse_silent

    if address is not None and workers == 0:
        raise RecipeError(
            "--workers 0 uses no Ray", where=f"--address {address}", fix="leave one of them out"
        )
    if workers != 0 and (workers or address or many):
        refuse_silent(address, named="--address")


def write_all(
    write: Callable[..., int],
    units: Sequence[U],
    advance: Callable[[int], None],
    *,
    workers: int | None,
    address: str | None,
    gpu: bool = False,
) -> None:
    """Writes shards, on Ray or here; one that fails does not stop the others, a full disk does.

    Args:
        write: Writes one, told whom to tell of progress; a function of a module.
        units: The shards.
        advance: Told of events as they are done.
        workers: Of ``--workers``.
        address: Of ``--address``.
        gpu: Whether each worker needs a GPU.

    Raises:
        HepfmError: What went wrong with the first shard that was not written, and with others.
    """
    from hepfm.readers.storing import StorageError

    failed: list[HepfmError] = []
    done = 0
    with _interruptible() as check:
        for result in _results(write, units, advance, workers=workers, address=address, gpu=gpu):
            check()
            if isinstance(result, HepfmError):
                failed.append(result)
            else:
                done += 1
            if isinstance(result, StorageError):
                break
    if failed:
        others = sorted({str(error) for error in failed} - {str(failed[0])})
        first = failed[0]
        what = f"{len(units) - done} of {len(units)} shards were not written. {first.what}"
        raise type(first)("\n".join([what, *others]), where=first.where, fix=first.fix)


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Within, no Ctrl-C is lost: where Python swallows one in a callback of its own, ``check`` raises it."""
    pressed = threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _results(
    write: Callable[..., int],
    units: Sequence[U],
    advance: Callable[[int], None],
    *,
    workers: int | None,
    address: str | None,
    gpu: bool,
) -> Iterator[int | HepfmError]:
    """Yields the events of each shard, or what went wrong."""
    if units and workers != 0 and (len(units) > 1 or workers or address):
        from hepfm.data.ray_jobs import each_unit

        for _, result in each_unit(write, units, workers=workers, address=address, gpu=gpu):
            if isinstance(result, int):
                advance(result)
            yield result
        return
    each: Any = partial(write, progress=advance)
    for unit in units:
        try:
            yield each(unit)
        except HepfmError as error:
            yield error


@contextmanager
def going_on() -> Iterator[None]:
    """Within, Ctrl-C ends the command with a word on how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped. Finished shards are kept; the same command goes on from them.", err=True)
        raise


def warn(sentence: str) -> None:
    """A warning on standard error."""
    typer.secho(f"warning: {sentence}", fg="yellow", err=True)
