"""``hepfm data check``: reads everything, and lists every bad file, event and field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from hepfm.cli.data.options import AsJson, ReaderName, ReaderOptions, Sources, reader_options
from hepfm.errors import DataError, PluginError, RecipeError


def check(
    sources: Sources, *, reader: ReaderName = None, option: ReaderOptions = None, as_json: AsJson = False
) -> None:
    """Read all events and list what is bad. Exit code 3 where anything is, 2 where options do not fit."""
    options = reader_options(option)
    found: dict[str, list[str]] = {}
    code = RecipeError.exit_code
    for source in sources:
        for path, problem in _problems(source, reader, options):
            sentences = found.setdefault(path, [])
            if problem:
                sentences.append(str(problem))
                code = code if isinstance(problem, _Misread) else DataError.exit_code
                if not as_json:
                    typer.echo(problem)
    bad = sum(map(bool, found.values()))
    if as_json:
        typer.echo(json.dumps({"files": found, "bad_files": bad}, indent=2))
    else:
        for path in (path for path, sentences in found.items() if not sentences):
            typer.echo(f"{path}: good")
    if bad:
        raise typer.Exit(code)


class _Misread(str):
    """The sentence of a file that the options do not fit: the command may be at fault, not the file."""

    __slots__ = ()


def _problems(source: str, reader: str | None, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and sentence for each thing that is bad; path and an empty sentence once for each path.

    Whatever one file does to its reader, the others are looked at.
    """
    from hepfm.readers.sniff import open_reader, resolve_paths

    paths: list[Path] = []
    try:
        paths = resolve_paths(source)
    except DataError as error:
        yield source, f"{error.where or source}: {error.what}"
    for path in paths:
        yield str(path), ""
        try:
            opened = open_reader(path, reader, options)
            if not len(opened):
                yield str(path), f"{path}: there are no events"
            yield from ((str(path), sentence) for sentence in opened.check())
            opened.close()
        except DataError as error:
            yield str(path), f"{error.where or path}: {error.what}"
        except RecipeError as error:
            fix = f"; {error.fix}" if error.fix else ""
            yield str(path), _Misread(f"{path}: {error.what}{fix}")
        except PluginError:
            raise
        except Exception as error:  # noqa: BLE001  a reader that stumbles must not keep the others' files
            what = f"its reader fails on it ({type(error).__name__}: {error}); please report it"
            yield str(path), f"{path}: {what}"
