"""``hepfm data``: inspect, convert, check and split event data."""

from __future__ import annotations

import typer

from hepfm.cli.data.check import check
from hepfm.cli.data.convert import convert
from hepfm.cli.data.inspect import inspect
from hepfm.cli.data.split import split

app = typer.Typer(no_args_is_help=True, help="Inspect, convert, check and split event data.")
for command in (inspect, convert, check, split):
    app.command()(command)
