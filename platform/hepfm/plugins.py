"""Finds the plugins of this installation, each in isolation: a broken one is named, the others go on working.

pluggy's own ``load_setuptools_entrypoints`` stops at the first import that fails and skips a second entry
point of one name in silence, so entry points are loaded here, each into a manager of its own.

Environment:
    HEPFM_PLUGINS_ALLOW: Comma-separated entry-point names; if set, no others are loaded. ``core`` always is.
    HEPFM_PLUGINS_DENY: Comma-separated entry-point names that are not loaded.
    HEPFM_PLUGINS_STRICT: ``1`` makes any broken plugin fatal.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import typing
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy

from hepfm import api, hookspecs
from hepfm.errors import PluginError, did_you_mean

CORE = "core"
"""The entry point of the platform's own parts, which no list switches off."""

SPEC_OF: Mapping[str, type[api.Spec]] = {
    name.removeprefix("hepfm_"): typing.get_args(typing.get_type_hints(hook)["return"])[0]
    for name, hook in vars(hookspecs).items()
    if name.startswith("hepfm_")
}
"""Short name of each hook (``"readers"``) to what it registers, as the hook's annotation says."""

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[^\s:]+")


@dataclass(frozen=True, kw_only=True)
class PluginInfo:
    """One entry point of the group ``hepfm``, and what came of it.

    Attributes:
        name: The entry point's name.
        distribution: The installed distribution that brings it.
        version: That distribution's version.
        module: The module that it names.
        status: ``ok``; ``denied`` by a list; ``error``, with the cause in ``error``.
        error: The cause, for people.
        registered: Short name of a hook to the names of the specs it registered.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: Literal["ok", "error", "denied"] = "ok"
    error: str = ""
    registered: Mapping[str, list[str]] = field(default_factory=dict)


class Plugins:
    """The plugins of this process and what they offer.

    Args:
        found: Each plugin with its specs, by short name of the hook.
    """

    def __init__(self, found: Iterable[tuple[PluginInfo, Mapping[str, list[api.Spec]]]]) -> None:
        infos = []
        self._offers: dict[tuple[str, str], list[tuple[PluginInfo, api.Spec]]] = defaultdict(list)
        for info, specs in found:
            infos.append(info)
            for hook, offered in specs.items():
                for spec in offered:
                    self._offers[hook, spec.name].append((info, spec))
        conflicts = defaultdict(list)
        for (hook, name), offers in self._offers.items():
            if len(offers) > 1:
                for plugin in {info.name for info, _ in offers}:
                    conflicts[plugin].append(_conflict(hook, name, offers))
        self.infos = [
            replace(info, status="error", error="\n".join(conflicts[info.name]))
            if conflicts[info.name]
            else info
            for info in infos
        ]

    def specs(self, hook: str) -> list[api.Spec]:
        """What is usable of a hook (``"readers"``), by name; names in conflict are left out."""
        _check_hook(hook)
        return [
            self._offers[key][0][1] for key in sorted(self._offers) if key[0] == hook and self._usable(key)
        ]

    def find(self, hook: str, name: str) -> api.Spec:
        """The spec of this name. `PluginError` when it is unknown or in conflict."""
        return self._offer(hook, name)[1]

    def provider(self, hook: str, name: str) -> PluginInfo:
        """The plugin that offers the spec of this name. `PluginError` when it is unknown or in conflict."""
        info = self._offer(hook, name)[0]
        return next(i for i in self.infos if i.name == info.name)

    def load(self, hook: str, name: str) -> Any:
        """Imports the target of the spec of this name. `PluginError` names the plugin and the cause."""
        info, spec = self._offer(hook, name)
        module, _, attribute = spec.target.partition(":")
        try:
            return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"Plugin '{info.name}' cannot load '{name}' of its {hook}: {_cause(error)}",
                where=f"{spec.target} ({info.distribution} {info.version})",
                fix=f"repair or reinstall {info.distribution}; HEPFM_DEBUG=1 shows the traceback",
            ) from error

    def versions(self) -> dict[str, dict[str, str]]:
        """Plugin name to its distribution and version, of all that registered something; a run's record."""
        return {
            i.name: {"distribution": i.distribution, "version": i.version} for i in self.infos if i.registered
        }

    def _usable(self, key: tuple[str, str]) -> bool:
        return len(self._offers[key]) == 1

    def _offer(self, hook: str, name: str) -> tuple[PluginInfo, api.Spec]:
        _check_hook(hook)
        if (hook, name) not in self._offers:
            known = [known for offered, known in self._offers if offered == hook]
            broken = [
                f"{i.name} ({i.distribution}): {i.status} {i.error}".strip()
                for i in self.infos
                if i.status != "ok"
            ]
            raise PluginError(
                f"No plugin offers '{name}' among the {hook}.",
                where=f"plugins that are not in use: {'; '.join(broken)}" if broken else "",
                fix=f"{did_you_mean(name, known)}; `hepfm plugin list` shows every plugin",
            )
        if not self._usable((hook, name)):
            raise PluginError(
                _conflict(hook, name, self._offers[hook, name]),
                fix="uninstall one of them, or name one in HEPFM_PLUGINS_DENY",
            )
        return self._offers[hook, name][0]


@functools.cache
def plugins() -> Plugins:
    """The plugins of this process, found once. `PluginError` if one is broken and HEPFM_PLUGINS_STRICT=1."""
    return discover(entry_points(group="hepfm"), os.environ)


def discover(entries: Iterable[EntryPoint], environment: Mapping[str, str]) -> Plugins:
    """Loads these entry points as the environment says; see the module's text for its variables."""
    allow, deny = (_names(environment.get(f"HEPFM_PLUGINS_{which}", "")) for which in ("ALLOW", "DENY"))
    entries = sorted(entries, key=lambda entry: (entry.name != CORE, entry.name))
    owners = defaultdict(list)
    for entry in entries:
        owners[entry.name].append(_described(entry).distribution)
    found: list[tuple[PluginInfo, Mapping[str, list[api.Spec]]]] = []
    for entry in entries:
        info = _described(entry)
        if entry.name != CORE and (entry.name in deny or (allow and entry.name not in allow)):
            found.append(
                (replace(info, status="denied", error="by HEPFM_PLUGINS_ALLOW or HEPFM_PLUGINS_DENY"), {})
            )
        elif len(owners[entry.name]) > 1:
            cause = (
                f"Entry point '{entry.name}' is in several distributions: {', '.join(owners[entry.name])}."
            )
            found.append((replace(info, status="error", error=f"{cause} Uninstall all but one."), {}))
        else:
            found.append(_loaded(entry, info))
    result = Plugins(found)
    broken = [
        f"{info.name} ({info.distribution}): {info.error}" for info in result.infos if info.status == "error"
    ]
    if broken and environment.get("HEPFM_PLUGINS_STRICT") == "1":
        raise PluginError(
            "\n".join(("Plugins are broken, and HEPFM_PLUGINS_STRICT=1 makes that fatal.", *broken)),
            fix="repair or uninstall them, or name them in HEPFM_PLUGINS_DENY",
        )
    return result


def _described(entry: EntryPoint) -> PluginInfo:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")
    return PluginInfo(name=entry.name, distribution=name, version=version, module=entry.value)


def _loaded(entry: EntryPoint, info: PluginInfo) -> tuple[PluginInfo, dict[str, list[api.Spec]]]:
    try:
        specs = _collect(entry.load(), entry.name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's module may raise anything
        return replace(info, status="error", error=_cause(error)), {}
    return replace(
        info, registered={hook: [spec.name for spec in offered] for hook, offered in specs.items()}
    ), specs


def _collect(plugin: Any, name: str) -> dict[str, list[api.Spec]]:
    """All that one plugin registers, checked."""
    declared = getattr(plugin, "HEPFM_API", None)
    if not (isinstance(declared, tuple) and len(declared) == 2 and all(isinstance(n, int) for n in declared)):
        raise PluginError(f"HEPFM_API must be a pair of numbers like {api.API_VERSION}, not {declared!r}.")
    if declared[0] != api.API_VERSION[0]:
        raise PluginError(
            f"It is written for version {declared[0]} of the API; this hepfm has {api.API_VERSION[0]}.",
            fix="install a version of the plugin for this hepfm, or of hepfm for this plugin",
        )
    manager = pluggy.PluginManager("hepfm")
    manager.add_hookspecs(hookspecs)
    for attribute in dir(plugin):
        _check_attribute(attribute, manager.parse_hookimpl_opts(plugin, attribute))
    manager.register(plugin, name)
    specs = {}
    for hook, kind in SPEC_OF.items():
        results = getattr(manager.hook, f"hepfm_{hook}")()
        if offered := [spec for result in results for spec in result]:
            specs[hook] = [_checked(hook, kind, spec) for spec in offered]
            twice = [spec for spec, count in Counter(spec.name for spec in offered).items() if count > 1]
            if twice:
                raise PluginError(f"hepfm_{hook} registers twice: {', '.join(twice)}.")
    return specs


def _check_attribute(attribute: str, options: Any) -> None:
    hooks = [f"hepfm_{hook}" for hook in SPEC_OF]
    name = (options or {}).get("specname") or attribute
    if options is None and attribute in hooks:
        raise PluginError(f"{attribute} is not marked.", fix="put @hepfm.api.hookimpl above it")
    if options is not None and name not in hooks:
        raise PluginError(f"{name} is not a hook of hepfm.", fix=did_you_mean(name, hooks))


def _checked(hook: str, kind: type[api.Spec], spec: Any) -> api.Spec:
    if not isinstance(spec, kind):
        raise PluginError(f"hepfm_{hook} must return {kind.__name__}s, not {type(spec).__name__}.")
    if not spec.name or not _TARGET.fullmatch(spec.target):
        raise PluginError(
            f"hepfm_{hook} registers '{spec.name}' with target '{spec.target}'.",
            fix='give a name, and a target like "package.module:Name"',
        )
    return spec


def _check_hook(hook: str) -> None:
    assert hook in SPEC_OF, f"no hook '{hook}': {did_you_mean(hook, SPEC_OF)}"


def _conflict(hook: str, name: str, offers: list[tuple[PluginInfo, api.Spec]]) -> str:
    who = " and ".join(f"{info.distribution} {info.version} (plugin '{info.name}')" for info, _ in offers)
    return f"'{name}' of the {hook} is offered by {who}; neither is used."


def _cause(error: BaseException) -> str:
    return str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}
