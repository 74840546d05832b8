"""The page of recipes' settings: the named recipes, every section, and the options of every component."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hepfm.plugins import plugins
from hepfm.recipe.components import load_class
from hepfm.recipe.engine_section import OWN, PASSED, ZERO
from hepfm.recipe.schema import Generated, Recipe, Section
from reference.tables import code, prose, table

HEAD = """# Settings

All that a recipe can say, with defaults; units are in the names. [Recipes](../recipes.md) explains how
recipes are written, merged and compared. `hepfm recipe show RECIPE --origins` shows a recipe with every
value filled in.

"""

COMPONENTS = (
    ("backbones", "model.backbone", "name"),
    ("objectives", "objective", "name"),
    ("heads", "objective.head", "name"),
    ("modalities", "data.parts.PART", "kind"),
    ("generators", "data.train", "generator"),
    ("readers", "data.reader", "name"),
)


def settings() -> str:
    """The page."""
    parts = [_named(), _section("The top of a recipe", "", Recipe)]
    parts += [
        _section(name, f"{name}.", field.annotation)
        for name, field in Recipe.model_fields.items()
        if _is_section(field.annotation)
    ]
    parts.insert(3, _section("data.train and data.val as a generator", "data.train.", Generated))
    parts.append(_engine())
    for hook, key, name_key in COMPONENTS:
        parts += [_component(hook, key, name_key, spec.name) for spec in _ours(hook)]
    return HEAD + "\n".join(parts)


def _named() -> str:
    rows = (
        (code(spec.name), prose(spec.summary), code(plugins().provider("recipes", spec.name).name))
        for spec in _ours("recipes")
    )
    return "## Named recipes\n\n" + table(("name", "what it is", "plugin"), rows)


def _ours(hook: str) -> Iterator[Any]:
    """What hepfm's own distribution offers of a hook."""
    for spec in plugins().specs(hook):
        if plugins().provider(hook, spec.name).distribution == "hepfm":
            yield spec


def _section(title: str, at: str, section: type[BaseModel]) -> str:
    about = prose(inspect.cleandoc(section.__doc__ or ""))
    return f"## {title}\n\n{about}\n\n" + _table(section, at)


def _component(hook: str, key: str, name_key: str, name: str) -> str:
    config = load_class(hook, name)[1]
    kind = {
        "backbones": "Backbone",
        "objectives": "Objective",
        "heads": "Head",
        "modalities": "Modality",
        "generators": "Generator",
        "readers": "Reader",
    }[hook]
    summary = prose(plugins().find(hook, name).summary)
    beside = f"`{key}.{name_key}: {name}`"
    where = f"Options beside {beside}."
    if hook == "readers":
        where = f"Options beside {beside}, or of `hepfm data ... --reader {name} --option KEY=VALUE`."
    body = _table(config, "") or "None.\n"
    return f"## {kind} {name}\n\n{summary} {where}\n\n{body}"


def _table(model: type[BaseModel], at: str) -> str:
    schema = model.model_json_schema()
    return table(
        ("setting", "value", "default", "meaning"),
        (
            (
                code(at + name),
                code(_value(schema["properties"][name])),
                _default(field),
                prose(field.description or ""),
            )
            for name, field in model.model_fields.items()
            if not _is_section(field.annotation)
        ),
    )


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.default if field.default is not PydanticUndefined else field.default_factory()
    if isinstance(default, BaseModel):
        return code(", ".join(f"{name}: {value}" for name, value in default.model_dump().items()))
    return code(
        "none" if default is None else list(default) if isinstance(default, tuple) else _scalar(default)
    )


def _scalar(value: Any) -> Any:
    return (
        {True: "true", False: "false"}[value] if isinstance(value, bool) else value if value != "" else '""'
    )


def _value(schema: dict[str, Any]) -> str:
    """A type for people, from its JSON schema."""
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_value(option) for option in options if option != {"type": "null"}))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_value(item) for item in schema['prefixItems'])}]"
        return f"list of {_value(schema.get('items', {}))}"
    names = {
        "integer": "integer",
        "number": "number",
        "string": "text",
        "boolean": "true, false",
        "object": "section",
    }
    return f"{names.get(kind, 'section')}{_limits(schema)}"


def _limits(schema: dict[str, Any]) -> str:
    words = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ",".join(f" {sign} {schema[key]:g}" for key, sign in words.items() if key in schema)


def _engine() -> str:
    sections = table(
        ("refused", "because"),
        ((code(f"deepspeed.{key}"), prose(instead)) for key, instead in sorted(OWN.items())),
    )
    passed = ", ".join(code(key) for key in sorted(PASSED))
    zero = ", ".join(code(key) for key in sorted(ZERO))
    return (
        "## deepspeed\n\nPassed to DeepSpeed over hepfm's defaults; the values are those of DeepSpeed's own "
        f"configuration.\n\nPassed on: {passed}.\n\nOf `deepspeed.zero_optimization`: {zero}.\n\n"
        f"What hepfm sets itself is refused, with what to set instead:\n\n{sections}"
    )
