"""Options that the commands of ``hepfm data`` share, and their progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
import yaml

from hepfm.errors import RecipeError

Sources = Annotated[
    list[str],
    typer.Argument(help="Files, folders, globs, or sample:train and sample:val.", show_default=False),
]
ReaderName = Annotated[str | None, typer.Option("--reader", help="The reader's name; by default recognised.")]
ReaderOptions = Annotated[
    list[str] | None, typer.Option("--option", "-o", help="A reader's option, KEY=VALUE; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reader_options(pairs: list[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as a mapping; values are YAML, or else text.

    Raises:
        RecipeError: A pair without ``=``, or a value that is not YAML.
    """
    options = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError(
                "an option is KEY=VALUE", where=f"--option {pair}", fix="for example voxel_mm=4"
            )
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            if value.lstrip().startswith(("[", "{", '"', "'")):
                what = f"the value is not YAML ({getattr(error, 'problem', None) or error})"
                raise RecipeError(what, where=f"--option {pair}", fix="close what is opened") from error
            options[key] = value  # a pattern, say: * begins no text in YAML
    return options


def pairs_of(text: str, *, where: str, example: str) -> dict[str, str]:
    """``a=1,b=2`` as a mapping.

    Raises:
        RecipeError: It has another form, a name twice, or a name that cannot be a folder's.
    """
    pairs: dict[str, str] = {}
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        if not equals or not name.replace("-", "").replace("_", "").isalnum() or name in pairs:
            raise RecipeError(f"'{item}' cannot be used", where=where, fix=f"for example {example}")
        pairs[name] = value
    return pairs


@contextmanager
def progress_bar(what: str, events: int, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, with events/s, told of events as they are done; ``done`` of them were before."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    began = time.perf_counter()
    completed = done

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=events, completed=done, rate="")

        def advance(n: int) -> None:
            nonlocal completed
            completed += n
            rate = events_per_s(completed - done, time.perf_counter() - began)
            bar.update(task, completed=completed, rate=rate)

        yield advance


def events_per_s(events: int, seconds: float) -> str:
    """A rate, with three figures or whole."""
    rate = events / max(seconds, 1e-9)
    return f"{rate:.0f} events/s" if rate >= 100 else f"{rate:.3g} events/s"
