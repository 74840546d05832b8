"""``hepfm data inspect``: what is inside a file or store, and a picture of one event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.data.options import AsJson, ReaderName, ReaderOptions, reader_options
from hepfm.cli.tables import console, table
from hepfm.errors import DataError, RecipeError

if TYPE_CHECKING:
    from hepfm.api import Reader


def inspect(
    path: Annotated[str, typer.Argument(help="File, folder, glob, or sample:train.", show_default=False)],
    *,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    as_json: AsJson = False,
    display: Annotated[Path | None, typer.Option(help="Write a picture of an event: .html or .png.")] = None,
    event: Annotated[
        int | None, typer.Option(min=0, help="Index of the event in the picture.", show_default="0")
    ] = None,
) -> None:
    """Show parts, columns with units, lengths, class counts and provenance."""
    from hepfm.readers.sniff import open_reader, resolve_paths
    from hepfm.readers.summary import summary

    if event is not None and display is None:
        raise RecipeError(
            "--event is the event of a picture", where="--event", fix="add --display event.html"
        )
    event = event or 0
    readers = [open_reader(found, reader, reader_options(option)) for found in resolve_paths(path)]
    if display is not None:
        _draw(readers[0], event, display)
    found = [summary(one) for one in readers]
    if as_json:
        typer.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        return
    for one in found:
        _show(one)
    if display is not None:
        typer.echo(f"event {event} of {readers[0].path} is drawn in {display}")


def _draw(reader: Reader, event: int, target: Path) -> None:
    if target.suffix not in {".html", ".png"}:
        raise RecipeError("a picture is .html or .png", where=f"--display {target}")
    if event >= len(reader):
        what = f"there is no event {event}: the file has {len(reader)}"
        raise DataError(what, where=str(reader.path), fix="give a smaller --event")
    from hepfm.display.event import sample_panels
    from hepfm.display.html import write_html
    from hepfm.display.png import write_png

    panels = sample_panels(reader.read([event]).event(0), reader.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    (write_html if target.suffix == ".html" else write_png)(
        panels, target, f"{reader.path.name}, event {event}"
    )


def _show(found: dict[str, Any]) -> None:
    from rich.table import Column
    from rich.text import Text

    screen = console()
    screen.print(
        Text(f"{found['path']}: {found['events']} events ({found['reader']})", style="bold"), soft_wrap=True
    )
    for name, part in found["parts"].items():
        figures = ", ".join(f"{key} {value:g}" for key, value in part["lengths"].items())
        screen.print(
            Text(f"part {name} ({part['kind']}), rows of {part['primary']} an event: {figures}"),
            soft_wrap=True,
        )
        # A column's name is what options and recipes are told: it is never cut.
        made = table(
            "table", Column("column", no_wrap=True, overflow="ignore"), "type", "unit", "label", "what"
        )
        for rows, columns in part["tables"].items():
            for column, about in columns.items():
                shape = "".join(f"[{n}]" for n in about["shape"])
                label = "label" if about["label"] else ""
                cells = (rows, column, about["dtype"] + shape, about["unit"], label, about["doc"])
                made.add_row(*map(Text, cells))
        screen.print(made)
        for column, counts in part["classes"].items():
            values = part["class_values"][column]
            named = ", ".join(f"{values[name]} {name}: {rows}" for name, rows in counts.items())
            screen.print(Text(f"classes of {column} (value, name: rows): {named}"), soft_wrap=True)
        for key, value in part["attributes"].items():
            screen.print(Text(f"{key}: {value}"), soft_wrap=True)
    screen.print(Text(f"digest: {found['digest']}"))
    for key, value in found["provenance"].items():
        screen.print(Text(f"{key}: {value}"), soft_wrap=True)
