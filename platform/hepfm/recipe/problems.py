"""What is wrong with a recipe, in sentences: key, what was found, what is wanted, and where it came from."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hepfm.errors import RecipeError, did_you_mean
from hepfm.recipe.document import Key
from hepfm.recipe.schema import PATTERNS

_NUMBER_TOO = {"greater_than": "more than {gt}", "less_than": "less than {lt}"} | {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
}
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text (in quotes where it looks like a number or a truth value)",
    "model_type": "a section of key: value lines",
    "model_attributes_type": "a section of key: value lines",
    "dict_type": "a section of key: value lines",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "null",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the key, a sentence that names it, and what to do if it is known."""

    key: Key
    text: str
    fix: str = ""


def raise_problems(problems: Iterable[Problem], places: Mapping[Key, str], label: str) -> None:
    """One `RecipeError` for all problems, if there are any.

    Args:
        problems: What is wrong; of several about one key the first is shown.
        places: Where keys were given (``file:line``, ``--set key=value``); a section stands in for its keys.
        label: The recipe, for keys that are given nowhere.
    """
    unique: dict[Key, Problem] = {}
    for problem in problems:
        unique.setdefault(problem.key, problem)
    found = [(problem, _place(problem.key, places, label)) for problem in unique.values()]
    if len(found) == 1:
        problem, place = found[0]
        raise RecipeError(problem.text, where=place, fix=problem.fix)
    if found:
        lines = [f"  - {p.text} ({place})" + (f"\n    to do: {p.fix}" if p.fix else "") for p, place in found]
        raise RecipeError("\n".join([f"{len(found)} things are wrong in this recipe:", *lines]), where=label)


def _place(key: Key, places: Mapping[Key, str], label: str) -> str:
    return next((places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in places), label)


def unknown_keys(
    tree: Any, model: type[BaseModel], at: Key = (), *, elsewhere: Iterable[str] = ()
) -> Iterator[Problem]:
    """Keys that a model does not have, at every level, whatever the model itself would do with them.

    Args:
        tree: What was given for the model; anything but a mapping has no keys.
        model: A model whose values are checked too where they are models.
        at: The key of the tree.
        elsewhere: Dotted keys among which a name that is known elsewhere is looked up.
    """
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        here = (*at, name)
        field = model.model_fields.get(name)
        if field is not None:
            yield from _unknown_inside(value, field.annotation, here, elsewhere)
        elif model.model_config.get("extra") != "allow" and name not in _aliases(model):
            moved = [key for key in elsewhere if key.rpartition(".")[2] == name]
            hint = f"did you mean '{moved[0]}'?" if moved else did_you_mean(name, model.model_fields)
            yield Problem(here, f"{'.'.join(here)} is not a setting.", hint)


def _aliases(model: type[BaseModel]) -> set[str]:
    return {f.alias for f in model.model_fields.values() if f.alias}


def _unknown_inside(value: Any, annotation: Any, at: Key, elsewhere: Iterable[str]) -> Iterator[Problem]:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from unknown_keys(value, annotation, at, elsewhere=elsewhere)
    elif origin is Annotated:
        yield from _unknown_inside(value, args[0], at, elsewhere)
    elif origin in (typing.Union, types.UnionType):
        models = [arg for arg in args if isinstance(arg, type) and issubclass(arg, BaseModel)]
        if len(models) == 1:  # of several models, pydantic alone knows which one is meant
            yield from unknown_keys(value, models[0], at, elsewhere=elsewhere)
    elif origin is dict and isinstance(value, dict):
        for name, item in value.items():
            yield from _unknown_inside(item, args[1], (*at, name), elsewhere)
    elif origin in (list, tuple) and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unknown_inside(item, args[0], (*at, str(i)), elsewhere)


def explain(error: ValidationError, tree: Any, at: Key = ()) -> Iterator[Problem]:
    """Pydantic's errors in sentences, one for each key.

    Args:
        error: What validating ``tree`` raised.
        tree: What was validated.
        at: The key of the tree.
    """
    grouped: dict[Key, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        # The location of a value that may be of several types ends in a type's name, which is no key.
        path, value, rest = at, tree, list(details["loc"])
        while rest and isinstance(value, dict | list):
            step = rest.pop(0)
            if isinstance(value, dict) and step not in value and str(step)[:1].isupper():
                continue  # the name of a section that is one of several types; its keys follow
            absent = step not in value and details["type"] != "missing"
            if absent if isinstance(value, dict) else not isinstance(step, int):
                break
            path = (*path, str(step))
            if isinstance(value, dict):
                value = value.get(step)
            else:
                value = value[int(step)] if int(step) < len(value) else None  # a tuple that is too short
        grouped.setdefault(path, []).append(details)
    for key, several in grouped.items():
        if not any(other[: len(key)] == key and other != key for other in grouped):  # that one says more
            yield _sentence(key, several)


def _sentence(key: Key, several: list[ErrorDetails]) -> Problem:
    name, first = ".".join(key), several[0]
    if first["type"] == "missing":
        return Problem(key, f"{name} is missing.", f"add {name}, or --set {name}=...")
    if first["type"] == "value_error":
        return Problem(
            key, f"{name or 'The recipe'}: {first['msg'].removeprefix('Value error, ').rstrip('.')}."
        )
    found = _shown(first["input"])
    wanted = " or ".join(dict.fromkeys(_wanted(details) for details in several))
    fix = ""
    if first["type"] in ("literal_error", "enum") and isinstance(first["input"], str):
        fix = did_you_mean(first["input"], [word.strip(" '") for word in _words(first)])
    return Problem(
        key, f"{name or 'The recipe'} is {found}; wanted: {wanted}.", "" if fix.startswith("known") else fix
    )


def _words(details: ErrorDetails) -> list[str]:
    return str(details.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")


def _wanted(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _NUMBER_TOO:
        return _NUMBER_TOO[kind].format(**context)
    if kind in ("literal_error", "enum"):
        return f"one of {', '.join(_words(details))}"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], details["msg"])
    if kind == "too_short":
        return "at least one"
    message = details["msg"]
    return _WANTED.get(kind, message[0].lower() + message[1:])


def _shown(value: Any) -> str:
    """A value as a recipe writes it, cut where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
