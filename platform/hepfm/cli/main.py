"""The command ``hepfm``: commands come from plugins and are imported when they are called.

Environment:
    HEPFM_DEBUG: ``1`` shows the traceback of any error.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from hepfm import __version__
from hepfm.api import CommandSpec
from hepfm.errors import HepfmError, PluginError, Stopped
from hepfm.plugins import plugins
from hepfm.training.in_process import SHORT_SPINS


class LazyCommand(TyperCommand):
    """Stands for a plugin's command in help and completion; becomes the real one when it is entered."""

    def __init__(self, spec: CommandSpec) -> None:
        super().__init__(name=spec.name, help=escape(spec.summary))

    def real(self) -> Any:
        """The command that this one stands for. `PluginError` when it cannot be loaded."""
        assert self.name is not None
        target = plugins().load("commands", self.name)
        shell = typer.Typer(add_completion=False)
        if isinstance(target, typer.Typer):
            shell.add_typer(target, name=self.name)
        elif callable(target):
            shell.command(self.name)(target)
        else:
            raise PluginError(
                f"The command '{self.name}' is neither a typer app nor a function.",
                where=plugins().find("commands", self.name).target,
            )
        return get_group(shell).commands[self.name]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command that this one stands for. `PluginError` when it cannot be loaded."""
        return self.real().make_context(info_name, args, parent=parent, **extra)


class Commands(TyperGroup):
    """All commands that plugins register."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for spec in plugins().specs("commands"):
            assert isinstance(spec, CommandSpec)
            self.add_command(LazyCommand(spec))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's; where a broken plugin may be why a command is unknown, says so (`PluginError`)."""
        name = args[0]
        broken = any(info.status == "error" for info in plugins().infos)
        if broken and name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            plugins().find("commands", name)
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hepfm {__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def hepfm(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """The open platform for foundation models in high-energy physics."""


def main() -> None:
    """Runs the command line, and ends the process."""
    os.environ.update(SHORT_SPINS | os.environ)
    code = _run()
    if ranks := sys.modules.get("hepfm.training.ranks"):
        ranks.end_process(code)
    sys.exit(code)


def _run() -> int:
    """Runs the command line. Errors of users are one message on stderr; the exit code says their kind."""
    try:
        typer.main.get_command(app)(prog_name="hepfm")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Stopped as stop:
        if os.environ.get("RANK", "0") == "0":  # under torchrun, one of them says it
            typer.echo(str(stop), err=True)
        return stop.exit_code
    except HepfmError as error:
        _show(str(error), error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  the last place where a traceback can be kept from the user
        _show(_unforeseen(error), error)
        return 1
    return 0


def _unforeseen(error: Exception) -> str:
    from hepfm.tracking.storage import FAILING

    if isinstance(error, OSError) and error.errno in FAILING and error.filename is not None:
        return f"{error.strerror}.\n  where: {error.filename}\n  to do: make room there, or repair it"
    hint = "HEPFM_DEBUG=1 shows the traceback; please report it with the command that you ran"
    return f"hepfm failed unexpectedly: {type(error).__name__}: {error}\n  to do: {hint}"


def _show(message: str, error: Exception) -> None:
    from rich.console import Console
    from rich.text import Text

    if os.environ.get("HEPFM_DEBUG") == "1":
        traceback.print_exception(error)
    # A note is where a command says that the traceback went to a run's log.
    text = "\n".join((f"Error: {message}", *(f"  {note}" for note in getattr(error, "__notes__", ()))))
    Console(stderr=True, highlight=False).print(Text(text, style="red"), soft_wrap=True)


if __name__ == "__main__":
    main()
