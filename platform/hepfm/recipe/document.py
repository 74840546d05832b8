"""YAML as recipes use it: every key once, with the line it is on; ``1e-3`` is a number, ``no`` is text.

Reading follows YAML 1.2's core schema (PyYAML's own YAML 1.1 takes ``1e-3`` for text, ``no`` for false and
``1:30`` for 90) and refuses anchors, so what a file holds is what is written in it. Writing quotes whatever
either version would take for something else than text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml

from hepfm.errors import RecipeError

Key = tuple[str, ...]
"""The way to a value: ``("train", "steps")`` is written ``train.steps``."""

_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # untyped upstream

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases (& and *) are not used in recipes; write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z"), list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  nothing is shared in a recipe
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    one_line = (
        '"' if len(text.splitlines()) > 1 or text.endswith(("\n", "\r", "\x85", "\u2028", "\u2029")) else None
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=one_line)


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, list | dict) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def parse(text: str, label: str) -> tuple[Any, dict[Key, int]]:
    """A YAML text as plain values, and the line of every key (from 1).

    Args:
        text: One YAML document.
        label: What errors call it.

    Raises:
        RecipeError: Not YAML, a key twice, an anchor, or a value that JSON does not know.
    """
    lines: dict[Key, int] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return (None if node is None else _build(loader, node, (), lines)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RecipeError(
            f"This is not a YAML that a recipe can use: {error.problem or error}.",
            where=f"{label}:{mark.line + 1}, column {mark.column + 1}" if mark else label,
            fix="correct the line; values with special characters need quotes",
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(
            f"This is not a YAML that a recipe can use: {' '.join(str(error).split())}.",
            where=label,
            fix="write it as key: value lines of plain text",
        ) from error


def _build(loader: _Loader, node: yaml.Node, at: Key, lines: dict[Key, int]) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*at, str(i)), lines) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        tree = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            here = (*at, key.value)
            if key.value in tree:
                problem = f"'{key.value}' is given twice, first in line {lines[here]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[here] = key.start_mark.line + 1
            tree[key.value] = _build(loader, value, here, lines)
        return tree
    value = loader.construct_object(node)
    if not isinstance(value, str | int | float | None):
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not used", problem_mark=node.start_mark)
    return value


def dump(tree: Mapping[str, Any]) -> str:
    """Plain values as YAML that `parse` reads back to the same; each value on its key's line."""
    return yaml.dump(
        dict(tree),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=sys.maxsize,
    )


def flatten(tree: Mapping[str, Any], at: Key = ()) -> dict[Key, Any]:
    """The leaves of a tree; a list or an empty mapping is a leaf."""
    leaves: dict[Key, Any] = {}
    for key, value in tree.items():
        here = (*at, key)
        leaves |= flatten(value, here) if isinstance(value, Mapping) and value else {here: value}
    return leaves


def lookup(tree: Any, key: Key) -> Any:
    """The value at a key; None where there is none."""
    for name in key:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
