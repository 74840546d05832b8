"""The page of hooks: what a plugin can offer, with an example of each."""

from __future__ import annotations

import inspect
import re

from hepfm import api, hookspecs, testing
from hepfm.cli.plugin_new import HOOK_OF
from reference.tables import code, prose, table

HEAD = """# Hooks

A plugin is a module that an entry point of the group `hepfm` names. It declares `HEPFM_API = {version}` and
has any of these functions, marked with `hepfm.api.hookimpl`. Each returns a list of specs. A spec names its
class or function by a string (`"package.module:Name"`), which is imported when it is needed. [Write a
plugin](../plugins.md) begins with one that works; `hepfm plugin list` shows what is installed.

`HEPFM_PLUGINS_DENY` (names, separated by commas) leaves plugins out. A plugin that fails to load is named,
and the others go on working; `HEPFM_PLUGINS_STRICT=1` makes it an error.

The fields of a spec:

{fields}

"""


LATER = ("hepfm_heads", "hepfm_metrics")
"""Hooks that the core offers to plugins, but does not use itself yet."""

KINDS = {f"hepfm_{hook}": kind for kind, hook in HOOK_OF.items()} | {"hepfm_backbones": "backbone"}
"""What a hook registers, where there is a contract suite for it."""


def hooks() -> str:
    """The page."""
    found = [hook for name, hook in vars(hookspecs).items() if name.startswith("hepfm_")]
    summary = table(
        ("hook", "what a plugin offers with it"),
        ((f"[`{hook.__name__}`](#{hook.__name__})", _sentences(hook)[0]) for hook in found),
    )
    fields = table(
        ("field", "meaning"),
        [*_fields(api.Spec), *(field for hook in found for field in _fields(_spec(hook)))],
    )
    head = HEAD.format(version=api.API_VERSION, fields=fields)
    return head + "\n".join([summary, *map(_hook, found)])


def _hook(hook: object) -> str:
    sentence, example = _sentences(hook)
    shown = "\n".join(line[4:] for line in example.splitlines())
    target = re.search(r"The target is .*", inspect.cleandoc(_spec(hook).__doc__ or ""))
    about = f"{sentence} {prose(target[0]) if target else ''}"
    signature = f"{hook.__name__}{inspect.signature(hook)}".replace("'", "")
    later = "" if hook.__name__ not in LATER else "\nRegistered and listed; no command uses it yet.\n"
    return (
        f"## {hook.__name__}\n\n```python\ndef {signature}: ...\n```\n\n"
        f"{about}\n{_help(hook.__name__)}{later}\n"
        f"```python\n{shown}\n```\n"
    )


def _help(hook: str) -> str:
    """The suite that checks what is registered, and the command that writes an example."""
    kind = KINDS.get(hook, "")
    if not kind:
        return ""
    suite = f"`hepfm.testing.{getattr(testing, f'{kind}_contract').__name__}` checks it."
    written = f" `hepfm plugin new --kind {kind} NAME` writes one." if kind in HOOK_OF else ""
    return f"\n{suite}{written}\n"


def _sentences(hook: object) -> tuple[str, str]:
    """What a hook is for, and its example."""
    text, _, example = (inspect.getdoc(hook) or "").partition("\n\n")
    return prose(text), example


def _spec(hook: object) -> type:
    """The class of what a hook returns."""
    (name,) = re.findall(r"api\.(\w+Spec)", str(inspect.signature(hook)))
    return getattr(api, name)


def _fields(spec: type) -> list[tuple[str, str]]:
    """The fields that a spec adds, with their meaning."""
    text = inspect.cleandoc(vars(spec).get("__doc__") or "").partition("Attributes:\n")[2]
    of = "" if spec is api.Spec else f" (`{spec.__name__}`)"
    return [
        (code(name) + of, prose(what)) for name, what in re.findall(r"^ *(\w+): (.+)$", text, re.MULTILINE)
    ]
