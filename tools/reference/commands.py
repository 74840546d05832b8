"""The page of commands: every command of hepfm itself, with every argument and option."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from hepfm.cli.main import app
from hepfm.plugins import plugins
from reference.tables import code, prose, table

HEAD = """# Commands

All commands, as `hepfm COMMAND --help` shows them. `hepfm --install-completion` completes them in your shell.
Errors go to standard error; the [exit code](../troubleshooting.md#exit-codes) says their kind.

"""


def commands() -> str:
    """The page."""
    shell: Any = typer.main.get_command(app)
    ours = [
        command
        for name, command in shell.commands.items()
        if plugins().provider("commands", name).distribution == "hepfm"
    ]
    leaves = [leaf for command in ours for leaf in _leaves(f"hepfm {command.name}", command)]
    summary = table(
        ("command", "what it does"),
        ((f"[`{name}`](#{name.replace(' ', '-')})", _summary(command)) for name, command in leaves),
    )
    return HEAD + "\n".join([summary, *(_command(name, command) for name, command in leaves)])


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The command, or those of its group."""
    if hasattr(command, "real"):
        command = command.real()
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
    else:
        for short, one in inner.items():
            if name != "hepfm simulate" or plugins().provider("generators", short).distribution == "hepfm":
                yield from _leaves(f"{name} {short}", one)


def _summary(command: Any) -> str:
    return prose(_help(command).partition("\n\n")[0])


def _command(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, *map(_argument, arguments), "[OPTIONS]"])
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    parts = [
        f"## {name}\n",
        f"```console\n{usage}\n```\n",
        prose(_help(command)) + "\n",
        table(
            ("argument", "meaning"),
            ((code(_argument(p).strip("[].")), prose(_help(p))) for p in arguments),
        ),
        table(
            ("option", "value", "default", "meaning"),
            (
                (
                    code(", ".join((*p.opts, *p.secondary_opts))),
                    code(_value(p, context)),
                    _default(p),
                    _meaning(p),
                )
                for p in options
            ),
        ),
    ]
    return "\n".join(part for part in parts if part)


def _argument(argument: Any) -> str:
    shown = argument.metavar or argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def _value(option: Any, context: Any) -> str:
    """What follows the option."""
    if option.is_flag or option.count:
        return ""
    shown = option.get_help_record(context)[0].partition(" ")[2].split(" ", 1 if option.opts[1:] else 0)[-1]
    names = {"int range": "int", "float range": "float", "list[str]": "str"}
    shown = shown.strip("<>")
    return names.get(shown, shown)


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):
        return code(option.show_default)
    if option.is_flag or option.default is None or option.multiple:
        return "required" if option.required else ""
    return code(option.default)


def _meaning(option: Any) -> str:
    low = "" if option.min is None else f" At least {option.min:g}."
    high = "" if option.max is None else f" At most {option.max:g}."
    return prose(_help(option)) + low + high


def _help(described: Any) -> str:
    """What help says of a command or an option, without the escapes of rich's markup."""
    return inspect.cleandoc(described.help or "").replace("\\[", "[")
