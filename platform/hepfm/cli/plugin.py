"""``hepfm plugin``: which plugins there are, what each registers, what is wrong with one; a new one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from hepfm.cli.plugin_new import new
from hepfm.cli.tables import console, table
from hepfm.errors import PluginError, did_you_mean
from hepfm.plugins import SPEC_OF, PluginInfo, plugins

app = typer.Typer(no_args_is_help=True, help="List, show and write plugins.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLOURS = {"ok": "green", "error": "red", "denied": "yellow"}


def complete_names(incomplete: str) -> list[str]:
    """Names of plugins, for shell completion."""
    return [info.name for info in plugins().infos if info.name.startswith(incomplete)]


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List all plugins with their status."""
    infos = plugins().infos
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in infos], indent=2))
        return
    from rich.text import Text

    made = table("name", "distribution", "version", "status", "registers")
    for info in infos:
        registers = "\n".join(f"{hook}: {', '.join(names)}" for hook, names in info.registered.items())
        status = Text(info.status, style=_COLOURS[info.status])
        made.add_row(info.name, info.distribution, info.version, status, Text(registers))
    screen = console()
    screen.print(made)
    for info in infos:
        if info.status == "error":
            screen.print(Text(f"{info.name}: {info.error}", style="red"), soft_wrap=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the entry point.", autocompletion=complete_names)],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a plugin registers, or why it is not in use."""
    matches = [info for info in plugins().infos if info.name == name]
    if not matches:
        raise PluginError(f"No plugin '{name}'.", fix=did_you_mean(name, {i.name for i in plugins().infos}))
    if as_json:
        shown = [{**asdict(info), "specs": _specs(info)} for info in matches]
        typer.echo(json.dumps(shown[0] if len(shown) == 1 else shown, indent=2))
        return
    from rich.text import Text

    screen = console()
    for info in matches:
        screen.print(Text(f"{info.name}: {info.module} ({info.distribution} {info.version})", style="bold"))
        screen.print(Text(f"{info.status} {info.error}".strip(), style=_COLOURS[info.status]), soft_wrap=True)
        made = table("hook", "name and target", "summary")
        for hook, specs in _specs(info).items():
            for spec in specs:
                made.add_row(
                    hook, Text(f"{spec['name']}\n{spec['target']}", overflow="fold"), Text(spec["summary"])
                )
        if made.row_count:
            screen.print(made)


app.command("new")(new)


def _specs(info: PluginInfo) -> dict[str, list[dict[str, str]]]:
    """What is usable of a plugin: hook to specs; names in conflict are in the plugin's error instead."""
    usable = {
        hook: [asdict(s) for s in plugins().specs(hook) if plugins().provider(hook, s.name).name == info.name]
        for hook in SPEC_OF
    }
    return {hook: specs for hook, specs in usable.items() if specs}
