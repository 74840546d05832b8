"""``hepfm simulate``: events of a generator as an event store. Each generator is a command, with its options.

A generator's class is imported when its command is entered, not for the list of them.
"""

from __future__ import annotations

import inspect
import json
import os
import time
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from hepfm.api import Spec
from hepfm.cli.data.options import AsJson, events_per_s, progress_bar
from hepfm.cli.opened import doing
from hepfm.cli.shards import Address, Workers, check_ray, going_on, warn, write_all
from hepfm.errors import RecipeError
from hepfm.plugins import plugins

if TYPE_CHECKING:
    from hepfm.data.generator import GeneratedEvents
    from hepfm.recipe.document import Key

_MOST = 2**62
"""Indices and seeds up to here, so that their sums are numbers of 64 bits."""
_CLUSTER = 64
"""Workers to expect of a cluster that has not been asked yet."""
_SCALARS = (bool, int, float, str, Path)


class GeneratorCommand(TyperCommand):
    """Stands for a generator in help and completion; becomes its command when it is entered."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(name=spec.name, help=escape(spec.summary))
        self.summary = spec.summary

    def real(self) -> Any:
        """The command, with the generator's options. `PluginError` when its class cannot be loaded."""
        assert self.name is not None
        return command(self.name, self.summary)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command that this one stands for. `PluginError` when it cannot be loaded."""
        return self.real().make_context(info_name, args, parent=parent, **extra)


class Generators(TyperGroup):
    """All generators that plugins register."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for spec in plugins().specs("generators"):
            self.add_command(GeneratorCommand(spec))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's, but an unknown generator gets a hint (`PluginError`)."""
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            plugins().find("generators", args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Generators,
    no_args_is_help=True,
    help="Simulate events: each generator is a command. hepfm simulate GENERATOR --help shows its options.",
)


@app.callback()
def _group() -> None:
    pass


def simulate(
    *,
    events: Annotated[int, typer.Option(min=1, max=_MOST, help="How many.")],
    out: Annotated[Path, typer.Option(help="Folder that gets the shards of the event store.")],
    seed: Annotated[int, typer.Option(min=0, max=_MOST, help="Another seed gives other events.")] = 1,
    first: Annotated[int, typer.Option(min=0, max=_MOST, help="Index of the first event.")] = 0,
    parts: Annotated[
        str | None, typer.Option(metavar="A,B", help="Parts to keep.", show_default="all")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    shard_events: Annotated[
        int | None,
        typer.Option(
            min=1, help="Events of a shard.", show_default="8 shards a worker, 16 to 1024 events each"
        ),
    ] = None,
    compression: Annotated[Literal["none", "zstd"], typer.Option(help="Of the event store.")] = "none",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the generator; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What every generator's command takes."""


def command(name: str, summary: str) -> Any:
    """The command of one generator.

    Args:
        name: The generator's name.
        summary: What its help begins with.
    """
    from hepfm.recipe.components import load_class

    common = inspect.signature(simulate, eval_str=True).parameters
    config = load_class("generators", name)[1]
    own = _options(config, taken=set(common))

    def run(**given: Any) -> None:
        options = {key: value for key in own if (value := given.pop(key)) is not None}
        _simulate(name, options, **given)

    run.__signature__ = inspect.Signature([*common.values(), *own.values()])  # type: ignore[attr-defined]
    shell = typer.Typer(add_completion=False)
    again = "A simulation that was stopped goes on where it was: run the same command again."
    others = [_said_by_set(key, field) for key, field in config.model_fields.items() if key not in own]
    if others:
        others.insert(0, "Options that are more than one value:")
    shell.command(name, help=escape("\n\n".join([summary, again, *others])))(run)
    return typer.main.get_command(shell)


def _options(config: type[BaseModel], *, taken: set[str]) -> dict[str, inspect.Parameter]:
    """Options for the scalar fields of a generator's ``Config``; the others are left to ``--set``."""
    return {
        key: inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                scalar | None,
                typer.Option(help=escape(field.description or ""), show_default=_default(field)),
            ],
        )
        for key, field in config.model_fields.items()
        if key not in taken and (scalar := _scalar(field.annotation)) is not None
    }


def _said_by_set(key: str, field: FieldInfo) -> str:
    """A line of help on an option that ``--set`` gives: a list, a mapping, or a section of options."""
    what = " ".join((field.description or "").split())
    if field.is_required():
        return f"--set {key}=VALUE: {what}"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        return f"--set {key}.OPTION=VALUE: {what}"
    return f"--set '{key}={json.dumps(default, default=str)}': {what}"


def _scalar(annotation: Any) -> Any:
    """The type of one value that an option can give; None for what takes more than that."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        return _scalar(rest[0]) if len(rest) == 1 else None
    if typing.get_origin(annotation) is Literal:
        return annotation if all(isinstance(word, str) for word in typing.get_args(annotation)) else None
    return annotation if annotation in _SCALARS else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, bool | str):
        return json.dumps(default).strip('"')
    return "none" if default is None else str(default)


def _simulate(
    name: str,
    options: Mapping[str, Any],
    *,
    events: int,
    out: Path,
    seed: int,
    first: int,
    parts: str | None,
    workers: int | None,
    address: str | None,
    shard_events: int | None,
    compression: Literal["none", "zstd"],
    overrides: list[str] | None,
    as_json: bool,
) -> None:
    from hepfm.data.generator import GeneratedEvents
    from hepfm.data.simulate import plan, shard_size
    from hepfm.data.simulate import simulate as simulate_unit
    from hepfm.readers.plan import SIMULATION, claimed
    from hepfm.recipe.layers import set_values

    if shard_events is None:
        at_once = _CLUSTER if address and workers is None else workers
        shard_events = shard_size(
            out, events, max(len(os.sched_getaffinity(0)) if at_once is None else at_once, 1)
        )
    check_ray(workers=workers, address=address, many=events > shard_events)
    said = set_values(overrides or (), example="energy_mev=300")
    if twice := sorted(options.keys() & said.tree.keys()):
        raise RecipeError(f"'{twice[0]}' is given twice", where="--set", fix="leave one of them out")
    flags: dict[Key, str] = {(key,): f"--{key.replace('_', '-')} {value}" for key, value in options.items()}
    source = GeneratedEvents(
        name,
        {
            **{key: _absolute(value) if isinstance(value, Path) else value for key, value in options.items()},
            **said.tree,
        },
        seed=seed,
        parts=None if parts is None else _names(parts),
        places={**said.places, **flags},
    )
    for doubt in source.doubts:
        warn(doubt)
    with claimed(out, SIMULATION), going_on():
        units = plan(
            source,
            out,
            first=first,
            events=events,
            shard_events=shard_events,
            compression=compression,
            say=warn,
        )
        missing = sum(unit.events for unit in units)
        began = time.perf_counter()
        if missing:
            doing("Making events; a generator may compile its code before the first")
        with progress_bar("simulate", events, done=events - missing) as advance:
            write_all(simulate_unit, units, advance, workers=workers, address=address)
    _report(source, out, events=events, written=missing, seconds=time.perf_counter() - began, as_json=as_json)


def _absolute(path: Path) -> str:
    """As other processes find it, wherever they run."""
    return str(path.expanduser().absolute())


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise RecipeError(
            f"'{text}' names parts twice or not at all", where="--parts", fix="write them as a,b"
        )
    return names


def _report(
    source: GeneratedEvents, out: Path, *, events: int, written: int, seconds: float, as_json: bool
) -> None:
    from hepfm.readers.layout import COUNTS
    from hepfm.readers.store import StoreReader

    with StoreReader(out) as reader:
        counts = reader.provenance.get(COUNTS, {})
    if as_json:
        found = {
            "out": str(out),
            "events": events,
            "written": written,
            "seconds": round(seconds, 3),
            "parts": list(source.parts),
            "generator": source.generator,
            "configuration": source.options,
            "configuration_digest": source.digest,
            "seed": source.seed,
            COUNTS: counts,
        }
        typer.echo(json.dumps(found))
        return
    if written:
        rate = events_per_s(written, seconds)
        typer.echo(f"{out}: {written} events written in {seconds:.1f} s ({rate}): {', '.join(source.parts)}")
    else:
        typer.echo(f"{out}: complete, nothing to do")
    for what, n in counts.items():
        typer.echo(f"{what}: {n}")
