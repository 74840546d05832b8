"""Finds recipes, by name through the plugins that ship them or by path, and reads what they extend."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from hepfm import plugins as registry
from hepfm.errors import PluginError, RecipeError, did_you_mean
from hepfm.recipe.document import parse
from hepfm.recipe.layers import Layer, absolute_data

_LARGEST = 1_000_000
"""Bytes; what is larger is no recipe, but a data file given by mistake."""


@dataclass(frozen=True)
class Source:
    """A recipe's text: its name or path for people, its file, and the folder its paths start from."""

    label: str
    file: Traversable
    folder: str


def find_source(source: str, folder: str = os.curdir) -> Source:
    """A recipe by name or path; a folder (of a run) stands for its ``recipe.yaml``.

    Args:
        source: A named recipe (``image3d/masked-tiny``), or a path.
        folder: What a relative path is relative to.

    Raises:
        RecipeError: There is no such recipe.
    """
    names = recipe_names()
    path = Path(folder, os.path.expanduser(source))  # noqa: PTH111  Path.expanduser raises for unknown users
    if source in names:
        return _named(source)
    if path.is_dir():
        path /= "recipe.yaml"
    if path.is_file():
        return Source(os.path.normpath(path), path, str(path.parent))
    if path.suffix in (".yaml", ".yml") or path.name == "recipe.yaml":
        raise RecipeError("There is no such recipe file.", where=str(path), fix="check the path")
    broken = [f"{i.name}: {i.error}" for i in registry.plugins().infos if i.status == "error"]
    raise RecipeError(
        f"There is no recipe '{source}', neither by name nor as a file.",
        where=f"plugins that failed to load may have it: {'; '.join(broken)}" if broken else "",
        fix=f"{did_you_mean(source, names)}; `hepfm recipe list` shows the named ones",
    )


def recipe_names() -> list[str]:
    """Names of the recipes that the installed plugins ship."""
    return [spec.name for spec in registry.plugins().specs("recipes")]


def _named(name: str) -> Source:
    spec = registry.plugins().find("recipes", name)
    package, _, inside = spec.target.partition(":")
    try:
        file = files(package).joinpath(*inside.split("/"))
    except (ImportError, TypeError) as error:
        raise PluginError(
            f"The package of the recipe '{name}' cannot be imported: {error}.", where=spec.target
        ) from error
    if not file.is_file():
        provider = registry.plugins().provider("recipes", name)
        raise PluginError(
            f"The plugin '{provider.name}' registers the recipe '{name}', but its file is not there.",
            where=spec.target,
            fix=f"reinstall {provider.distribution}",
        )
    return Source(name, file, str(Path(str(file)).parent))


def read_layers(source: Source, *, below: tuple[Source, ...] = ()) -> list[Layer]:
    """A recipe and all that it extends, the lowest first.

    Raises:
        RecipeError: A file that cannot be read or is no mapping; recipes that extend each other in a circle.
    """
    chain = (*below, source)
    if source.file in [other.file for other in below]:
        raise RecipeError(
            "Recipes extend each other in a circle.",
            where=" -> ".join(other.label for other in chain),
            fix="take one `extends` out",
        )
    tree, lines = parse(_text(source), source.label)
    if not isinstance(tree, dict):
        raise RecipeError("A recipe is a mapping of key: value lines.", where=source.label)
    places = {key: f"{source.label}:{line}" for key, line in lines.items()}
    extended = tree.pop("extends", None)
    layer = Layer(source.label, absolute_data(tree, source.folder), places)
    if extended is None:
        return [layer]
    where = places[("extends",)]
    if not isinstance(extended, str):
        raise RecipeError("`extends` is the name or the file of one recipe.", where=where)
    try:
        lower = find_source(extended, source.folder)
    except RecipeError as error:
        raise RecipeError(
            f"The recipe to extend is missing: {error.what}", where=where, fix=error.fix
        ) from error
    return [*read_layers(lower, below=chain), layer]


def _text(source: Source) -> str:
    try:
        with source.file.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise RecipeError(
                "This file is too large for a recipe.", where=source.label, fix="name a recipe's YAML file"
            )
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The recipe cannot be read: {error}.",
            where=source.label,
            fix="name a YAML file in UTF-8 that you may read",
        ) from error
