"""``hepfm recipe``: list, show, validate and compare recipes, and their schema for editors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.tables import console, table
from hepfm.plugins import plugins

if TYPE_CHECKING:
    from hepfm.recipe.schema import Recipe

app = typer.Typer(no_args_is_help=True, help="List, show, validate and compare recipes.")


def complete_names(incomplete: str) -> list[str]:
    """Names of recipes, for shell completion."""
    return [spec.name for spec in plugins().specs("recipes") if spec.name.startswith(incomplete)]


Source = Annotated[str, typer.Argument(help="A named recipe or a YAML file.", autocompletion=complete_names)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe; may be repeated."),
]
_ABSENT = "YOUR-FILES"
"""Stands where a recipe says no data."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List the recipes that the installed plugins ship."""
    recipes = [
        {
            "name": spec.name,
            "summary": spec.summary,
            "plugin": plugins().provider("recipes", spec.name).name,
            "distribution": plugins().provider("recipes", spec.name).distribution,
        }
        for spec in plugins().specs("recipes")
    ]
    if as_json:
        typer.echo(json.dumps(recipes, indent=2))
        return
    from rich.text import Text

    made = table("name", "summary", "plugin")
    for recipe in recipes:
        made.add_row(Text(recipe["name"]), Text(recipe["summary"]), Text(recipe["plugin"]))
    console().print(made)


@app.command()
def show(
    recipe: Source,
    *,
    overrides: Set = None,
    origins: Annotated[
        bool, typer.Option("--origins", help="Say of each value where it is from, as a comment.")
    ] = False,
    written: Annotated[
        bool,
        typer.Option(
            "--written", help="Only what the recipe and those it extends say: no defaults, no checks."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a recipe as a run would use it: every value filled in, ready to save as a file.

    A recipe for files of yours is shown without them, and says so.
    """
    from hepfm.recipe.document import dump, lookup
    from hepfm.recipe.load import as_written, load_recipe

    shown: dict[str, Any] = {}
    if written:
        tree, sources = as_written(recipe, overrides or [])
    else:
        named = lookup(as_written(recipe, overrides or [])[0], ("data", "train")) is not None
        resolved = load_recipe(recipe, [*(overrides or []), *([] if named else [f"data.train={_ABSENT}"])])
        _warn(resolved.warnings if named else ())
        tree, sources = resolved.recipe.model_dump(mode="json"), dict(resolved.origins)
        shown["hash"] = resolved.hash if named else None
        if not named:
            tree["data"]["train"], sources["data.train"] = _ABSENT, "missing"
            _warn((f"data.train is missing, here {_ABSENT}; add it, and data.val, or --set data.train=...",))
    if as_json:
        typer.echo(json.dumps({"recipe": tree, "origins": sources, **shown}, indent=2))
    else:
        typer.echo(_commented(dump(tree), sources) if origins else dump(tree), nl=False)


@app.command()
def validate(recipe: Source, *, overrides: Set = None) -> None:
    """Check a recipe: everything that is wrong with it is said, and the exit code is then 2.

    Where its data are there, parts are compared with the first file.
    """
    from hepfm.recipe.load import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    _warn((*resolved.warnings, *_doubts(resolved.recipe), *_unseen(resolved.recipe)))
    typer.echo(f"{recipe} is a valid recipe (hash {resolved.hash[:12]}).")


@app.command()
def diff(a: Source, b: Source, *, as_json: AsJson = False) -> None:
    """Compare two recipes as runs would use them: named ones, files, or the folders of runs."""
    from hepfm.recipe.diff import diff as changes_between
    from hepfm.recipe.diff import render
    from hepfm.recipe.load import load_recipe

    changes = changes_between(load_recipe(a).recipe, load_recipe(b).recipe)
    if as_json:
        typer.echo(json.dumps([asdict(change) for change in changes], indent=2))
    else:
        typer.echo(render(changes) or "They are the same.")


@app.command()
def schema(
    *, out: Annotated[Path | None, typer.Option(help="File to write; by default it is printed.")] = None
) -> None:
    """Write the JSON schema of recipes, with the installed plugins' options, for editors."""
    from hepfm.errors import RecipeError
    from hepfm.recipe.json_schema import json_schema

    text = json.dumps(json_schema(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(
            f"The schema cannot be written: {error}.", where=str(out), fix="name another file"
        ) from error


def _doubts(recipe: Recipe) -> list[str]:
    """What generators of the recipe doubt; raises what they refuse, as a run would before its first event."""
    from hepfm.data.source import check_apart, doubts, open_source
    from hepfm.recipe.schema import Generated

    data = recipe.data
    sources = [
        open_source(spec, parts=data.parts, max_event_cost=data.max_event_cost)
        for spec in (data.train, data.val)
        if isinstance(spec, Generated)
    ]
    if len(sources) == 2:
        check_apart(*sources)
    return doubts(*sources)


def _unseen(recipe: Recipe) -> list[str]:
    """Compares the parts with the first event of the first file; says which files are not there."""
    from hepfm.data.tensors import to_torch
    from hepfm.errors import DataError
    from hepfm.readers.sniff import open_reader, resolve_paths
    from hepfm.recipe.components import config_of, parts_refused
    from hepfm.recipe.problems import raise_problems
    from hepfm.recipe.schema import Generated

    data, unseen = recipe.data, []
    for name in ("train", "val"):
        spec = getattr(data, name)
        if spec is None or isinstance(spec, Generated):
            continue
        try:
            path = resolve_paths(spec)[0]
        except DataError as error:
            unseen.append(f"data.{name}: {error.what} ({error.where}): checked without it")
            continue
        reader = open_reader(path, data.reader_name, data.reader_options)
        event = to_torch(reader.read(range(min(len(reader), 1)), labels=False))
        groups = {}
        for part, given in data.parts.items():
            if part in reader.parts:  # another file may have it
                cls, config = config_of("modality", given)
                try:
                    modality = cls(config, reader.parts[part])
                except DataError as error:
                    where = f"data.parts.{part} and {path}, {error.where}"
                    raise DataError(error.what, where=where, fix=error.fix) from error
                groups[part] = modality.units(event.parts[part]).groups
        reader.close()
        raise_problems(parts_refused(recipe, groups), {}, f"data.{name}: {path}")
    return unseen


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        typer.secho(f"warning: {warning}", fg="yellow", err=True)


def _commented(text: str, sources: dict[str, str]) -> str:
    """The YAML with the origin of each value behind it."""
    from hepfm.recipe.document import parse

    key_at = {
        line: ".".join(key) for key, line in parse(text, "recipe")[1].items() if ".".join(key) in sources
    }
    lines = text.splitlines()
    width = max(
        (len(line) for number, line in enumerate(lines, 1) if number in key_at and len(line) < 60), default=0
    )
    return "".join(
        f"{line:<{width}}  # {sources[key_at[number]]}\n" if number in key_at else f"{line}\n"
        for number, line in enumerate(lines, 1)
    )
