"""What a recipe is merged from: the files it extends, its own file, and the --set of the command line.

A later layer wins, key by key; lists are replaced as a whole. Where a layer names another component, the
options of the old one go, but for those that the new one has too.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

from hepfm.errors import RecipeError
from hepfm.recipe.document import Key, lookup, parse

_PARTS = ("data", "parts")

SET = "--set"
"""The origin of values from the command line."""


@dataclass(frozen=True)
class Layer:
    """One source of values.

    Attributes:
        label: A recipe's name, a file, or ``--set``.
        tree: Its values, data paths made absolute.
        places: Key to ``label:line``, or to the whole ``--set key=value``.
    """

    label: str
    tree: Mapping[str, Any]
    places: Mapping[Key, str] = field(default_factory=dict)


@dataclass
class Merged:
    """Layers made one: values, the label of each leaf's layer, and where each key was given."""

    tree: dict[str, Any] = field(default_factory=dict)
    labels: dict[Key, str] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def origin(self, key: Key) -> str:
        """The label of a leaf of the resolved recipe; ``default`` where no layer gave it."""
        return next(
            (self.labels[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.labels), "default"
        )


def merge(layers: Iterable[Layer], options_of: Callable[[str, str], set[str] | None]) -> Merged:
    """Layers made one, the first being the lowest.

    Args:
        layers: Sources of values.
        options_of: Hook and name of a component to its options' names; None if there is none such.
    """
    merged = Merged()
    for layer in layers:
        for at, hook, name_key in slots(layer.tree):
            _switch(merged, layer, at, name_key, partial(options_of, hook))
        given, inherited = lookup(layer.tree, _PARTS), lookup(merged.tree, _PARTS)
        both = set(given) & set(inherited) if isinstance(given, Mapping) and inherited else ()
        _lay(merged, layer, merged.tree, layer.tree, ())
        for part in sorted(both):
            if lookup(given, (part,)) is None:
                _leave_out(merged, layer, part)
    return merged


def _leave_out(merged: Merged, layer: Layer, part: str) -> None:
    """Takes an inherited part out, and what inherited options of the objective say of it."""
    said = [("objective", name, part) for name in lookup(merged.tree, ("objective",)) or ()]
    for key in [(*_PARTS, part), *said]:
        options = lookup(merged.tree, key[:-1])
        if isinstance(options, dict) and part in options and lookup(layer.tree, key) is None:
            del options[part]
            _forget(merged, key)


def slots(tree: Mapping[str, Any]) -> Iterator[tuple[Key, str, str]]:
    """Where a tree has components: their key, the hook of their plugins, and which option is their name."""
    yield ("model", "backbone"), "backbones", "name"
    yield ("objective",), "objectives", "name"
    if isinstance(lookup(tree, ("objective", "head")), Mapping):
        yield ("objective", "head"), "heads", "name"
    if isinstance(lookup(tree, ("data", "reader")), Mapping):
        yield ("data", "reader"), "readers", "name"
    for split in ("train", "val"):
        if isinstance(lookup(tree, ("data", split)), Mapping):
            yield ("data", split), "generators", "generator"
    parts = lookup(tree, ("data", "parts"))
    if isinstance(parts, Mapping):
        for part in parts:
            yield ("data", "parts", part), "modalities", "kind"


def _switch(
    merged: Merged, layer: Layer, at: Key, name_key: str, options_of: Callable[[str], set[str] | None]
) -> None:
    old, new = lookup(merged.tree, at), lookup(layer.tree, (*at, name_key))
    if not isinstance(old, dict) or not isinstance(new, str) or old.get(name_key) in (None, new):
        return
    options = options_of(new)
    dropped = [] if options is None else [key for key in old if key != name_key and key not in options]
    for key in dropped:
        del old[key]
        _forget(merged, (*at, key))
    if dropped:
        merged.warnings.append(
            f"{'.'.join(at)}: '{new}' replaces '{lookup(merged.tree, (*at, name_key))}', whose options "
            f"{', '.join(dropped)} are dropped"
        )


def _lay(merged: Merged, layer: Layer, below: dict[str, Any], above: Mapping[str, Any], at: Key) -> None:
    for name, value in above.items():
        here = (*at, name)
        if isinstance(value, Mapping) and value:
            if not isinstance(below.get(name), dict):
                _forget(merged, here)
                below[name] = {}
            merged.labels.pop(here, None)  # an empty section was a leaf
            _lay(merged, layer, below[name], value, here)
        elif not (isinstance(value, Mapping) and isinstance(below.get(name), dict)):
            _forget(merged, here)
            below[name] = copy.deepcopy(value)
            merged.labels[here] = layer.label
        if here in layer.places:
            merged.places[here] = layer.places[here]


def _forget(merged: Merged, at: Key) -> None:
    for kept in (merged.labels, merged.places):
        for key in [key for key in kept if key[: len(at)] == at]:
            del kept[key]


def set_layer(overrides: Iterable[str]) -> Layer:
    """The overrides of a command line as one layer. Relative data paths start from the current directory."""
    merged = set_values(overrides)
    return Layer(SET, absolute_data(merged.tree, os.curdir), merged.places)


def set_values(overrides: Iterable[str], example: str = "train.steps=300") -> Merged:
    """What ``a.b=VALUE`` each, with YAML values, say together; the last wins. What is no YAML is text."""
    merged = Merged()
    for override in overrides:
        dotted, equals, text = override.partition("=")
        key = tuple(name.strip() for name in dotted.split("."))
        if not equals or not all(key):
            raise RecipeError(
                f"'{override}' is not an override.",
                where=SET,
                fix=f"write it as key=value, e.g. {example}",
            )
        value = _value(text, f"{SET} {override}")
        tree: dict[str, Any] = {key[-1]: value}
        for name in reversed(key[:-1]):
            tree = {name: tree}
        places = {key[:n]: f"{SET} {override}" for n in range(1, len(key) + 1)}
        _lay(merged, Layer(SET, tree, places), merged.tree, tree, ())
    return merged


def _value(text: str, label: str) -> Any:
    try:
        return parse(text, label)[0]
    except RecipeError:
        if text.lstrip().startswith(("[", "{", '"', "'")):
            raise
        return text


def absolute_data(tree: Mapping[str, Any], folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The tree with ``data.train`` and ``data.val`` made absolute from a folder; ``sample:`` names stay.

    Of options of a generator or reader, those that begin like a relative path are one: with ``./``, ``../``
    or ``~/``.
    """
    data = tree.get("data")
    if not isinstance(data, Mapping):
        return dict(tree)
    placed = {name: _absolute(data[name], folder) for name in ("train", "val") if name in data}
    if isinstance(data.get("reader"), Mapping):
        placed["reader"] = absolute_options(data["reader"], folder)
    return {**tree, "data": {**data, **placed}}


def absolute_options(options: Mapping[str, Any], folder: str | os.PathLike[str]) -> dict[str, Any]:
    """A component's options; what begins with ``./``, ``../`` or ``~/`` is made absolute from a folder.

    So is the name of a file there, with its ending: ``mine.yaml``, but never ``cube``.
    """

    def place(value: Any) -> Any:
        if isinstance(value, Mapping):
            return absolute_options(value, folder)
        if isinstance(value, list):
            return [place(item) for item in value]
        is_path = isinstance(value, str) and (
            value.startswith(("./", "../", "~/")) or _is_file(value, folder)
        )
        return _absolute(value, folder) if is_path else value

    return {name: place(value) for name, value in options.items()}


def _is_file(value: str, folder: str | os.PathLike[str]) -> bool:
    return bool(PurePath(value).suffix) and os.path.isfile(os.path.join(folder, value))  # noqa: PTH113, PTH118  False for any text


def _absolute(path: Any, folder: str | os.PathLike[str]) -> Any:
    if isinstance(path, list):
        return [_absolute(item, folder) for item in path]
    if isinstance(path, Mapping):
        return absolute_options(path, folder)
    if not isinstance(path, str) or not path:
        return path
    if path.startswith("sample:"):
        return path
    return os.path.abspath(os.path.join(folder, os.path.expanduser(path)))  # noqa: PTH100, PTH111, PTH118  globs are text
