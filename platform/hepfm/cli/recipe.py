"""``hepfm recipe``: list, show, validate and compare recipes, and their schema for editors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "summary", "plugin")
    for recipe in recipes:
        table.add_row(Text(recipe["name"]), Text(recipe["summary"]), Text(recipe["plugin"]))
    Console().print(table)


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
    """Show a recipe as a run would use it: every value filled in, ready to save as a file."""
    from hepfm.recipe.document import dump
    from hepfm.recipe.load import as_written, load_recipe

    shown: dict[str, Any] = {}
    if written:
        tree, sources = as_written(recipe, overrides or [])
    else:
        resolved = load_recipe(recipe, overrides or [])
        _warn(resolved.warnings)
        tree, sources = resolved.recipe.model_dump(mode="json"), dict(resolved.origins)
        shown["hash"] = resolved.hash
    if as_json:
        typer.echo(json.dumps({"recipe": tree, "origins": sources, **shown}, indent=2))
    else:
        typer.echo(_commented(dump(tree), sources) if origins else dump(tree), nl=False)


@app.command()
def validate(recipe: Source, *, overrides: Set = None) -> None:
    """Check a recipe: everything that is wrong with it is said, and the exit code is then 2."""
    from hepfm.recipe.load import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    _warn((*resolved.warnings, *_doubts(resolved.recipe)))
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
