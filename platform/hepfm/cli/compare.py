"""``hepfm compare``: runs side by side."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.launch import Runs
from hepfm.cli.tables import text_table, wide
from hepfm.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepfm.display.curves import Curve
    from hepfm.tracking.comparison import Row, Side
    from hepfm.tracking.evaluations import SideBySide

_NONE: Curve = ([], [])
_COLOURS = ("blue", "yellow", "green", "magenta", "red", "cyan")


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...", help="Folders of runs, or the beginnings of their names or ids."
        ),
    ],
    *,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page, too.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of tables and curves.")
    ] = False,
    out: Runs = Path("runs"),
) -> None:
    """Compare runs: figures, evaluations, probes and few-shot curves side by side, their recipes and losses.

    Losses and figures of validations stand together only where runs learn the same.
    Reads the runs' folders alone; works on runs that are being trained or have failed, too.
    """
    from hepfm.tracking.comparison import compare as read
    from hepfm.tracking.comparison import figure_rows, recipe_rows
    from hepfm.tracking.evaluations import side_by_side
    from hepfm.tracking.probes import probe_tables
    from hepfm.tracking.runs import find_run

    found = []
    for run in runs:
        try:
            found.append(find_run(run, out))
        except RecipeError:
            if len(runs) == 1 or not Path(run).exists():
                raise
            typer.echo(f"{run} is no run: left out", err=True)  # runs/* has MLflow's files, too
    if not found:
        raise RecipeError("none of these is a run", where=", ".join(runs), fix="name folders with a run.json")
    sides = read(found)
    judged = side_by_side([side.evaluations for side in sides]) + probe_tables(
        [side.probes for side in sides]
    )
    figures, recipe = figure_rows(sides), recipe_rows(sides)
    if html is not None:
        _write(html, sides, figures, judged, recipe)
    if as_json:
        typer.echo(_json(sides, recipe))
    else:
        _show(sides, figures, judged, recipe)
    if html is not None:
        typer.echo(f"Written: {html}", err=as_json)


def _write(
    path: Path,
    sides: Sequence[Side],
    figures: Sequence[Row],
    judged: Sequence[SideBySide],
    recipe: Sequence[tuple[str, tuple[Any, ...]]],
) -> None:
    from hepfm.display.comparison import write_comparison
    from hepfm.recipe.diff import ABSENT, shown

    try:
        write_comparison(
            path,
            title=" and ".join(side.label for side in sides) if len(sides) < 3 else f"{len(sides)} runs",
            runs=[side.label for side in sides],
            curves=[side.curves for side in sides],
            learns=[side.learns for side in sides],
            figures=[(row.title, row.texts) for row in figures],
            evaluations=[(each.title, each.rows) for each in judged],
            recipe=[
                (key, [None if value == ABSENT else shown(value) for value in values])
                for key, values in recipe
            ],
            displays=[side.displays for side in sides],
        )
    except OSError as error:
        raise RecipeError(
            f"the page cannot be written: {error.strerror}",
            where=str(path),
            fix="name another file with --html",
        ) from error


def _json(sides: Sequence[Side], recipe: Sequence[tuple[str, tuple[Any, ...]]]) -> str:
    from hepfm.tracking.lines import plain

    content = {
        "runs": [
            {"name": side.label, "run_dir": side.run.path, **side.figures}
            | ({"evaluations": side.evaluations} if side.evaluations else {})
            | ({"probes": side.probes} if side.probes else {})
            for side in sides
        ],
        "recipe": dict(recipe),
    }
    return json.dumps(plain(content), indent=2)


def _show(
    sides: Sequence[Side],
    figures: Sequence[Row],
    judged: Sequence[SideBySide],
    recipe: Sequence[tuple[str, tuple[Any, ...]]],
) -> None:
    from rich.text import Text

    from hepfm.display.curves import draw
    from hepfm.recipe.diff import shown

    console = wide(len(sides))
    styles = [_COLOURS[i % len(_COLOURS)] for i in range(len(sides))]
    heads = [
        Text(f"{chr(ord('A') + i % 26)} {side.label}", style)
        for i, (side, style) in enumerate(zip(sides, styles, strict=True))
    ]
    console.print(text_table(heads, [(row.title, row.texts) for row in figures]))
    console.print()
    for each in judged:
        console.print(each.title, style="bold", soft_wrap=True)
        console.print(text_table(heads, each.rows))
        console.print()
    if recipe:
        console.print("The recipes differ in", style="bold")
        console.print(
            text_table(heads, [(key, [shown(value) for value in values]) for key, values in recipe])
        )
    else:
        console.print("The recipes are the same.")
    tasks = dict.fromkeys(side.learns for side in sides)
    for key, task in product(("val/loss", "train/loss"), tasks):
        curves = [side.curves.get(key, _NONE) if side.learns == task else _NONE for side in sides]
        title = f"{key} ({task})" if len(tasks) > 1 and task else key
        if picture := draw(title, curves, styles, width=min(console.width, 100)):
            console.print()
            console.print(picture)
