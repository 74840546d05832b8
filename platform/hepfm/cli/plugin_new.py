"""``hepfm plugin new``: writes a working plugin, to be changed into one's own."""

from __future__ import annotations

import importlib.util
import re
import shlex
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from hepfm.errors import RecipeError, did_you_mean
from hepfm.plugins import plugins

HOOK_OF = {
    "modality": "modalities",
    "reader": "readers",
    "head": "heads",
    "objective": "objectives",
    "generator": "generators",
}
"""What can be written, and the hook that it registers with."""

_BESIDE = {"modality": ("generators", "displays")}
"""Hooks with which more of the same name is registered."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_EXAMPLE = "lower-case letters and digits, and words joined by '-', for example tile-calo"


def new(
    name: Annotated[str, typer.Argument(help="What recipes and command lines shall call it: tile-calo.")],
    *,
    kind: Annotated[
        str,
        typer.Option(
            help=f"What the plugin offers: {', '.join(HOOK_OF)}.", autocompletion=lambda: [*HOOK_OF]
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write, new or empty; by default hepfm-NAME.")
    ] = None,
) -> None:
    """Write a package with a working plugin: code, tests that pass, a README.

    It has an example of its kind that makes sense; change it into your own, while its tests watch the
    contract.
    """
    if kind not in HOOK_OF:
        raise RecipeError(f"There is no kind '{kind}'.", where="--kind", fix=did_you_mean(kind, HOOK_OF))
    _check_name(name, kind)
    folder = out if out is not None else Path(f"hepfm-{name}")
    _check_folder(folder)
    words = {"NAME": name, "MODULE": _module(name), "CLASS": _class(name, kind)}
    templates = files("hepfm") / "scaffold"
    try:
        for template in (templates / "every", templates / kind):
            _write(template, folder, words)
    except OSError as error:
        what = f"The folder cannot be written: {error.strerror}."
        raise RecipeError(what, where=str(folder), fix="name another with --out") from error
    typer.echo(f"Written to {folder}. What to do next:")
    for command in (
        f"cd {shlex.quote(str(folder))}",
        "pip install -e '.[test]'",
        "pytest",
        f"hepfm plugin show {name}",
    ):
        typer.echo(f"  {command}")
    typer.echo("README.md says what is in it.")


def _check_name(name: str, kind: str) -> None:
    where = f"name '{name}'"
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or name.startswith("hepfm-"):
        plain = re.sub(r"[^a-z0-9]+", "-", _lower(name)).strip("-").removeprefix("hepfm-")
        fix = f"did you mean '{plain}'?" if _NAME.fullmatch(plain) and len(plain) <= _LONGEST else ""
        what = "'hepfm-' is put before it anyway" if name.startswith("hepfm-") else f"it takes {_EXAMPLE}"
        raise RecipeError(f"This cannot be a plugin's name: {what}.", where=where, fix=fix)
    hooks = (HOOK_OF[kind], *_BESIDE.get(kind, ()))
    for info in plugins().infos:
        if info.name == name or any(name in info.registered.get(hook, ()) for hook in hooks):
            raise RecipeError(
                f"The plugin '{info.name}' ({info.distribution} {info.version}) has taken this name.",
                where=where,
                fix="choose another, or uninstall that plugin",
            )
    if importlib.util.find_spec(_module(name)) is not None:
        raise RecipeError(
            f"There is a module {_module(name)} already.", where=where, fix="choose another name"
        )


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        what = "is not empty" if folder.is_dir() else "is a file"
        raise RecipeError(f"The folder {what}.", where=str(folder), fix="name another with --out")


def _lower(name: str) -> str:
    """``TileCalo`` as ``tile-calo``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _module(name: str) -> str:
    return f"hepfm_{name.replace('-', '_')}"


def _class(name: str, kind: str) -> str:
    """``TileCaloReader``: with the kind in it, it cannot be a name of the contracts, such as ``Column``."""
    words = "".join(word.capitalize() for word in name.split("-"))
    suffix = kind.capitalize()
    return words if words.endswith(suffix) and words != suffix else words + suffix


def _write(template: Traversable, folder: Path, words: dict[str, str]) -> None:
    """Copies a folder of templates, with the words in place of those that stand for them, in paths too."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in template.iterdir():
        path = folder / _filled(entry.name, words)
        if entry.is_dir():
            if entry.name != "__pycache__":
                _write(entry, path, words)
        else:
            path.write_text(_filled(entry.read_text(encoding="utf-8"), words), encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\b(NAME|MODULE|CLASS)\b", lambda word: words[word[1]], text)
