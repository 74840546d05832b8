"""Components of a recipe and the plugin classes behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from hepfm import plugins as registry
from hepfm.api import GENERATOR_KEYS, CheckedParts
from hepfm.errors import PluginError, RecipeError
from hepfm.recipe.document import Key, lookup
from hepfm.recipe.layers import slots
from hepfm.recipe.problems import Problem, explain, raise_problems, unknown_keys
from hepfm.recipe.schema import Component, Part, Recipe

Kind = Literal["modality", "backbone", "objective", "reader"]

_HOOKS: Mapping[str, str] = {
    "modality": "modalities",
    "backbone": "backbones",
    "objective": "objectives",
    "reader": "readers",
}


def config_of(kind: Kind, component: Component | Part) -> tuple[type[Any], BaseModel]:
    """A component's class and its options as an instance of the class's ``Config``.

    Args:
        kind: ``modality``, ``backbone``, ``objective`` or ``reader``.
        component: Name (of a part: kind) and options.

    Raises:
        PluginError: No plugin offers the component, or its class cannot be loaded.
        RecipeError: An option is unknown or has a value that it cannot have.
    """
    name = component.kind if isinstance(component, Part) else component.name
    return configured(_HOOKS[kind], name, component.options(), label=f"options of the {kind} '{name}'")


def configured(
    hook: str, name: str, options: Mapping[str, Any], *, label: str, places: Mapping[Key, str] | None = None
) -> tuple[type[Any], BaseModel]:
    """A class that a plugin offers, and its ``Config`` of these options; raises as `config_of`.

    Args:
        hook: What it is (``generators``).
        name: Its name.
        options: Plain values.
        label: Where the options are from, for messages.
        places: Where single options were given, for messages.
    """
    cls, config_class = load_class(hook, name)
    config, problems = _configured(config_class, dict(options), ())
    raise_problems(problems, places or {}, label)
    assert config is not None  # there were no problems
    return cls, config


def load_class(hook: str, name: str) -> tuple[type[Any], type[BaseModel]]:
    """The class that a component names, and its ``Config``. `PluginError` where there is none."""
    cls = registry.plugins().load(hook, name)
    config_class = getattr(cls, "Config", None)
    if not (isinstance(config_class, type) and issubclass(config_class, BaseModel)):
        provider = registry.plugins().provider(hook, name)
        raise PluginError(
            f"'{name}' of the {hook} has no Config, so its options cannot be checked.",
            where=f"plugin '{provider.name}' ({provider.distribution} {provider.version})",
            fix="give the class an attribute Config, a pydantic model, as hepfm.api says",
        )
    return cls, config_class


def option_names(hook: str, name: str) -> set[str] | None:
    """The names of a component's options; None where there is no such component, which `complete` tells."""
    try:
        fields = load_class(hook, name)[1].model_fields
    except PluginError:
        return None
    beside = GENERATOR_KEYS if hook == "generators" else frozenset()
    return set(fields) | {field.alias for field in fields.values() if field.alias} | beside


def complete(tree: Mapping[str, Any]) -> tuple[list[tuple[Key, dict[str, Any]]], list[Problem]]:
    """Checks the options of every component of a recipe's tree, and fills in those that are not given.

    Returns:
        Key and complete options of each component that is right, and the problems of the others. What is no
        component at all is left to the recipe's schema.

    Raises:
        PluginError: A class cannot be loaded.
    """
    done, problems = [], []
    for at, hook, name_key in slots(tree):
        given = lookup(tree, at)
        name = lookup(given, (name_key,))
        if not isinstance(name, str):
            continue
        if not _offered(hook, name):
            problems.append(_not_offered((*at, name_key), hook, name))
            continue
        own = GENERATOR_KEYS if hook == "generators" else {name_key}
        options = {key: value for key, value in given.items() if key not in own}
        config, wrong = _configured(load_class(hook, name)[1], options, at)
        problems += wrong
        if config is not None:
            kept = {key: value for key, value in given.items() if key in own}
            done.append((at, {**kept, **config.model_dump(mode="json")}))
    reader = lookup(tree, ("data", "reader"))
    if isinstance(reader, str) and not _offered("readers", reader):
        problems.append(_not_offered(("data", "reader"), "readers", reader))
    return done, problems


def parts_refused(recipe: Recipe, groups: Mapping[str, Collection[str]] | None = None) -> Iterator[Problem]:
    """What the objective's options have against the recipe's parts (`hepfm.api.CheckedParts`).

    Args:
        recipe: Complete.
        groups: Part name to the names of its units' groups, of parts of which an event was seen.
    """
    _, config = config_of("objective", recipe.objective)
    if isinstance(config, CheckedParts):
        try:
            config.check_parts({part: (groups or {}).get(part) for part in recipe.data.parts})
        except RecipeError as error:
            key = error.where.partition(",")[0]
            yield Problem(tuple(key.split(".")), f"{error.where}: {error.what}", error.fix)


def _offered(hook: str, name: str) -> bool:
    return any(spec.name == name for spec in registry.plugins().specs(hook))


def _not_offered(key: Key, hook: str, name: str) -> Problem:
    try:
        registry.plugins().find(hook, name)
    except PluginError as error:
        cause = f" ({error.where})" if error.where else ""
        return Problem(key, f"{'.'.join(key)}: {error.what}{cause}", error.fix)
    raise AssertionError(f"{name} is offered")


def _configured(
    config_class: type[BaseModel], options: dict[str, Any], at: Key
) -> tuple[BaseModel | None, list[Problem]]:
    problems = list(unknown_keys(options, config_class, at))
    try:
        config = config_class.model_validate(options)
    except ValidationError as error:
        return None, [*problems, *explain(error, options, at)]
    return (None if problems else config), problems


def installed(hook: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Name and ``Config`` of every component of a hook whose class can be loaded."""
    for spec in registry.plugins().specs(hook):
        try:
            yield spec.name, load_class(hook, spec.name)[1]
        except PluginError:  # `hepfm plugin list` tells about it
            continue
