"""The text of a detector's file: YAML in which no key is given twice, and words for what is wrong in it."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hepfm.errors import did_you_mean


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # as written; what is merged into it comes later
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"'{key.value}' is given twice, first in line {seen[key.value]}",
                    problem_mark=key.start_mark,
                )
            seen[key.value] = key.start_mark.line + 1
        return node


def parse(text: str) -> Any:
    """The YAML's content; `yaml.YAMLError` where it is none, or gives a key twice."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  a safe one, see above


def sentences(error: ValidationError, model: type[BaseModel]) -> str:
    """What validation found, each with its key, and the closest known key for one that does not exist."""
    known = set(_keys(model))
    found = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"]))
        what = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(problem["loc"][-1]), known)
            what = "there is no such key" + (f"; {hint}" if hint.startswith("did") else "")
        found.append(f"{key}: {what}" if key else what)
    return "; ".join(found)


def _keys(annotation: Any) -> Iterator[str]:
    """Names of all keys within a model, at every level."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield name
            yield from _keys(field.annotation)
    for argument in typing.get_args(annotation):
        yield from _keys(argument)
