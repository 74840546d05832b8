"""What the commands share that use a trained run: its checkpoint, and the events that it is used on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepfm.errors import RecipeError

if TYPE_CHECKING:
    from hepfm.data.source import Source
    from hepfm.tracking.runs import RunDir
    from hepfm.training.pretrained import Pretrained

Run = Annotated[str, typer.Argument(help="The run's folder, its id, or the beginning of it.")]
Events = Annotated[
    list[str],
    typer.Option("--data", metavar="PATH", help="File, folder or glob of events; may be repeated."),
]
Count = Annotated[
    int | None,
    typer.Option("--events", min=1, help="Only so many of the events: the first ones.", show_default="all"),
]
Step = Annotated[int | None, typer.Option(min=1, help="Step of the run's checkpoint; by default the newest.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 ...", show_default="a GPU where there is one")
]


def doing(words: str) -> None:
    """Says on standard error what is begun, which may take a while."""
    typer.echo(f"{words} ...", err=True)


def open_run(
    run: str, runs: Path, step: int | None, device: str | None, *named: list[str] | None
) -> tuple[RunDir, Pretrained]:
    """A run and its model.

    Args:
        run: As a command line names it.
        runs: Folder of runs.
        step: Of the checkpoint; by default the newest.
        device: See `device_of`.
        named: Files of events that are used then: whether they are there is seen before the model is read.

    Raises:
        RecipeError: There is no such run or device.
        DataError: A file is not there.
        CheckpointError: It has no such checkpoint, or it is damaged.
    """
    from hepfm.tracking.runs import find_run

    found = find_run(run, runs.resolve())
    paths_of([path for each in named for path in each or ()])  # raises where one is not there
    doing(f"Reading the model of {found.name}")
    # Only now what takes seconds to import.
    from hepfm.training.checkpoint import choose
    from hepfm.training.pretrained import open_checkpoint

    return found, open_checkpoint(choose(found.checkpoints, step), device=device_of(device))


def device_of(asked: str | None) -> str:
    """The device that is asked for, or a GPU where there is one. `RecipeError` for one that is not there."""
    import torch

    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = asked.partition(":")
    there = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in {"cpu", "cuda"} or (number and not number.isdecimal()) or int(number or 0) >= there:
        raise RecipeError(
            f"There is no device '{asked}' here.",
            where="--device",
            fix=f"cpu, or one of {there} GPUs (cuda:0)" if kind == "cuda" and there else "cpu",
        )
    return asked


def of_which(source: Source, asked: int | None, named: str) -> str:
    """What events are called: where only the first of those named were asked for, it is said."""
    if asked is None:
        return named
    from hepfm.data.few import whole_of

    whole = whole_of(source)
    of = "" if whole is source else f" of {len(whole)}"
    return f"{named} (the first {len(source)}{of})"


def numbers(text: str, option: str) -> list[int]:
    """Different numbers from 0, with commas between them. `RecipeError` for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise RecipeError(
            f"{option} {text} is no list of different numbers.", where=option, fix="write it as 1,2,3"
        )
    return [int(part) for part in parts]


def paths_of(data: list[str]) -> list[str]:
    """The files or stores that a command line names, as other processes find them."""
    from hepfm.readers.sniff import resolve_paths

    return [str(path.absolute()) for path in resolve_paths(data)]
