"""A JSON schema of recipe files for editors, with the options of the installed components."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hepfm.recipe.components import installed
from hepfm.recipe.engine_section import PASSED, ZERO
from hepfm.recipe.schema import Component, Generated, Part, Recipe
from hepfm.recipe.sources import recipe_names

_COMPONENTS = (
    ("backbones", "name", ("Model", "backbone")),
    ("objectives", "name", ("Recipe", "objective")),
    ("modalities", "kind", ("Data", "parts")),
    ("readers", "name", ("Data", "reader")),
    ("generators", "generator", ("Data", "train")),
    ("generators", "generator", ("Data", "val")),
)


def json_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12). No key is required, since a file may extend another recipe."""
    configs = {(hook, name): config for hook, *_ in _COMPONENTS for name, config in installed(hook)}
    named: list[type[BaseModel]] = [Recipe, Component, Part, Generated]
    models_of = [*named, *dict.fromkeys(configs.values())]
    references, definitions = models_json_schema(
        [(model, "validation") for model in models_of],
        ref_template="#/$defs/{model}",
    )
    models = definitions["$defs"]
    for hook, name_key, (section, field) in _COMPONENTS:
        options = {
            name: models[references[config, "validation"]["$ref"].rpartition("/")[2]]
            for (of, name), config in configs.items()
            if of == hook
        }
        place = models[section]["properties"][field]
        beside = models["Generated"]["properties"] if hook == "generators" else {}
        component = _component(name_key, options, {k: v for k, v in beside.items() if k != name_key})
        if hook in ("generators", "readers"):  # these may also be plain values
            plain = [one for one in _choices(place) if "$ref" not in one]
            models[section]["properties"][field] = {
                "description": place["description"],
                "anyOf": [*plain, component],
            }
        elif hook == "modalities":
            place["patternProperties"] = dict.fromkeys(place["patternProperties"], component)
        else:
            models[section]["properties"][field] = component
    for model in models.values():
        model.pop("required", None)
    recipe = models.pop("Recipe")
    recipe["properties"]["extends"] = {
        "description": "A recipe to start from: a name, or a file relative to this one.",
        "anyOf": [{"enum": recipe_names()}, {"type": "string"}],
    }
    recipe["properties"]["deepspeed"] = {
        "type": "object",
        "properties": {
            **{key: {} for key in sorted(PASSED)},
            "zero_optimization": {
                "type": "object",
                "properties": {**{key: {} for key in sorted(ZERO)}, "stage": {"enum": [0, 1, 2, 3]}},
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **recipe,
        "title": "hepfm recipe",
        "$defs": models,
    }


def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """What a value may be, of unions within unions."""
    inner = [one for union in ("anyOf", "oneOf") for one in schema.get(union, ())]
    return [choice for one in inner for choice in _choices(one)] if inner else [schema]


def _component(name_key: str, options: dict[str, dict[str, Any]], beside: dict[str, Any]) -> dict[str, Any]:
    """A component: its name, and for each name the options of its ``Config``, and what stands beside them."""
    return {
        "type": "object",
        "properties": {name_key: {"anyOf": [{"enum": sorted(options)}, {"type": "string"}]}, **beside},
        "allOf": [
            {
                "if": {"properties": {name_key: {"const": name}}, "required": [name_key]},
                "then": {
                    "properties": {name_key: {"const": name}, **beside, **config.get("properties", {})},
                    "additionalProperties": False,
                },
            }
            for name, config in sorted(options.items())
        ],
    }
