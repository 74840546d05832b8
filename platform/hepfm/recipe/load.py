"""From a recipe's name or file, and overrides, to the resolved recipe: complete and checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hepfm.errors import PluginError
from hepfm.plugins import plugins
from hepfm.recipe.checks import contradictions, ineffective
from hepfm.recipe.components import complete, option_names, parts_refused
from hepfm.recipe.document import dump, flatten, lookup
from hepfm.recipe.engine_section import check_engine
from hepfm.recipe.layers import Layer, Merged, absolute_data, merge, set_layer
from hepfm.recipe.problems import explain, raise_problems, unknown_keys
from hepfm.recipe.schema import Component, Model, Recipe, settings
from hepfm.recipe.sources import find_source, read_layers

NOT_HASHED = frozenset({"name", "summary", "cluster", "tracking"})
"""Sections that do not change the numbers of a run."""

_BUDGETS = ("data.batch_cost", "data.batch_events", "data.micro_batch_cost")


@dataclass(frozen=True)
class Resolved:
    """A recipe with every value filled in and checked.

    Attributes:
        recipe: The recipe; the options of its components are complete.
        origins: Dotted key of every value to where it is from: ``default``, a recipe's name or file, or
            ``--set``.
        hash: SHA-256 (hex) over what changes the numbers: all but ``name``, ``summary``, ``cluster`` and
            ``tracking``.
        warnings: Sentences about settings without effect; whoever talks to the user shows them.
    """

    recipe: Recipe
    origins: Mapping[str, str]
    hash: str
    warnings: tuple[str, ...] = ()

    def yaml(self) -> str:
        """The recipe as YAML that loads back to itself, from any folder."""
        return dump(self.recipe.model_dump(mode="json"))


def load_recipe(
    source: str, overrides: Sequence[str] = (), *, below: Sequence[Layer] = (), above: Sequence[Layer] = ()
) -> Resolved:
    """Loads, merges, completes and checks a recipe.

    Relative data paths of a recipe file start from its folder, those of overrides from the current one.

    Args:
        source: A named recipe (``image3d/masked-tiny``), a YAML file, or a run's folder.
        overrides: ``section.key=VALUE`` each, with a YAML value.
        below: Values that the recipe overrides.
        above: Values that override it, and that the overrides override.

    Raises:
        RecipeError: All that is wrong, with the file and line or the override it came from.
        PluginError: A component's class cannot be loaded.
    """
    found = find_source(source)
    layers = [*below, *read_layers(found), *above, set_layer(overrides)]
    return _resolve(_merged(layers), found.label)


def from_dict(tree: Mapping[str, Any], *, label: str = "recipe") -> Resolved:
    """A recipe from plain values such as ``recipe.model_dump(mode="json")``; raises as `load_recipe`."""
    return _resolve(_merged([Layer(label, absolute_data(tree, os.curdir))]), label)


def as_written(source: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and origins of a recipe as its layers give them, unchecked and without defaults.

    Imports no component, unless a layer replaces one by another that has options.
    """
    merged = merge([*read_layers(find_source(source)), set_layer(overrides)], option_names)
    return merged.tree, {".".join(key): label for key, label in merged.labels.items()}


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 (hex) of the canonical JSON of what changes the numbers."""
    values = recipe.model_dump(mode="json", exclude=set(NOT_HASHED))
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _merged(layers: Iterable[Layer]) -> Merged:
    # The default backbone is a name, so that options can be set without naming it.
    backbone: Component = Model.model_fields["backbone"].default
    default = Layer("default", {"model": {"backbone": {"name": backbone.name}}})
    return merge([default, *layers], option_names)


def _resolve(merged: Merged, label: str) -> Resolved:
    tree = merged.tree
    problems = [*unknown_keys(tree, Recipe, elsewhere=list(settings())), *check_engine(tree.get("deepspeed"))]
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        problems += explain(error, tree)
    try:
        components, wrong = complete(tree)
    except PluginError:
        raise_problems(problems, merged.places, label)  # the user's own mistakes come first
        raise
    raise_problems([*problems, *wrong], merged.places, label)
    for key, options in components:
        lookup(tree, key[:-1])[key[-1]] = options
    recipe = Recipe.model_validate(tree)
    raise_problems([*contradictions(recipe), *parts_refused(recipe)], merged.places, label)
    origins = {".".join(key): merged.origin(key) for key in flatten(recipe.model_dump(mode="json"))}
    warnings = [sentence for sentence in ineffective(recipe) if not _of_other_data(sentence, origins)]
    return Resolved(recipe, origins, recipe_hash(recipe), (*merged.warnings, *warnings))


def _of_other_data(sentence: str, origins: Mapping[str, str]) -> bool:
    """Whether a warning is of a budget that a named recipe chose for its own data, since replaced."""
    key = re.split("[ :]", sentence, maxsplit=1)[0]
    named = {spec.name for spec in plugins().specs("recipes")}
    return (
        key in _BUDGETS
        and origins.get(key) in named
        and origins.get("data.train") not in {None, origins.get(key)}
    )
