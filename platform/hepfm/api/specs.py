"""What a plugin registers: frozen specs, whose targets are imported only when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One thing that a plugin offers.

    Attributes:
        name: What recipes and command lines call it.
        target: ``"package.module:Name"``, imported only when it is asked for.
        summary: One line for ``hepfm plugin show``.
    """

    name: str
    target: str
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class ModalitySpec(Spec):
    """A kind of event part. The target is a `Modality`."""


@dataclass(frozen=True, kw_only=True)
class ReaderSpec(Spec):
    """A file format. The target is a `Reader`.

    Attributes:
        suffixes: File name endings that are worth sniffing, e.g. ``(".h5", ".hdf5")``; empty for all.
    """

    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec(Spec):
    """A simulator. The target is a `Generator`."""


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """Tokens to tokens. The target is a `Backbone`."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec(Spec):
    """A self-supervised loss. The target is an `Objective`."""


@dataclass(frozen=True, kw_only=True)
class HeadSpec(Spec):
    """A task. The target is a `Head`."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A figure for a task. The target is a callable ``(truth, prediction, **options) -> {name: float}``."""


@dataclass(frozen=True, kw_only=True)
class DisplaySpec(Spec):
    """A picture of parts of one kind. The target is a `Display`; ``name`` is the kind."""


@dataclass(frozen=True, kw_only=True)
class RecipeSpec(Spec):
    """A named recipe. The target is ``"package:path/in/package.yaml"``."""


@dataclass(frozen=True, kw_only=True)
class CallbackSpec(Spec):
    """Told of a run's start, validations, checkpoints and end. The target is a `Callback`."""


@dataclass(frozen=True, kw_only=True)
class HealthCheckSpec(Spec):
    """A check for ``hepfm doctor``. The target is a callable without arguments that yields `Finding`."""


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A command of ``hepfm``. The target is a typer app (a group) or a function (one command)."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a health check found: ``status`` is ``ok``, ``warning`` or ``error``; ``fix`` says what to do."""

    subject: str
    status: str
    found: str
    fix: str = ""
