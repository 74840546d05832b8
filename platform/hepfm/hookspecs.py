"""The hooks of a plugin. Each one returns frozen specs and imports nothing heavy.

A plugin is a module named by an entry point of the group ``hepfm``, with ``HEPFM_API = (1, 0)`` and any of
these functions, marked with ``hepfm.api.hookimpl``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from hepfm import api

hookspec = pluggy.HookspecMarker("hepfm")


@hookspec
def hepfm_modalities() -> Sequence[api.ModalitySpec]:
    """Kinds of event parts: schema, tokenizer, corruption, target and decoder, augmentations.

    >>> @api.hookimpl
    ... def hepfm_modalities():
    ...     return [api.ModalitySpec(name="calo", target="hepfm_calo.modality:Calo")]
    """
    raise AssertionError


@hookspec
def hepfm_readers() -> Sequence[api.ReaderSpec]:
    """File formats with random access by event.

    >>> @api.hookimpl
    ... def hepfm_readers():
    ...     return [api.ReaderSpec(name="calo-h5", target="hepfm_calo.reader:CaloReader", suffixes=(".h5",))]
    """
    raise AssertionError


@hookspec
def hepfm_generators() -> Sequence[api.GeneratorSpec]:
    """Simulators whose event i depends on (configuration, seed, i) alone.

    >>> @api.hookimpl
    ... def hepfm_generators():
    ...     return [api.GeneratorSpec(name="calo-toy", target="hepfm_calo.simulate:Showers")]
    """
    raise AssertionError


@hookspec
def hepfm_backbones() -> Sequence[api.BackboneSpec]:
    """Modules from packed tokens to packed tokens.

    >>> @api.hookimpl
    ... def hepfm_backbones():
    ...     return [api.BackboneSpec(name="deepsets", target="hepfm_calo.deepsets:DeepSets")]
    """
    raise AssertionError


@hookspec
def hepfm_objectives() -> Sequence[api.ObjectiveSpec]:
    """Self-supervised losses over any modality that offers what they need.

    >>> @api.hookimpl
    ... def hepfm_objectives():
    ...     return [api.ObjectiveSpec(name="next-layer", target="hepfm_calo.objective:NextLayer")]
    """
    raise AssertionError


@hookspec
def hepfm_heads() -> Sequence[api.HeadSpec]:
    """Tasks: target schema, module, loss, prediction.

    >>> @api.hookimpl
    ... def hepfm_heads():
    ...     return [api.HeadSpec(name="shower-energy", target="hepfm_calo.heads:ShowerEnergy")]
    """
    raise AssertionError


@hookspec
def hepfm_metrics() -> Sequence[api.MetricSpec]:
    """Figures for a task, from truth and prediction.

    >>> @api.hookimpl
    ... def hepfm_metrics():
    ...     return [api.MetricSpec(name="resolution", target="hepfm_calo.metrics:resolution")]
    """
    raise AssertionError


@hookspec
def hepfm_displays() -> Sequence[api.DisplaySpec]:
    """Pictures of event parts; a display's name is the kind that it draws.

    >>> @api.hookimpl
    ... def hepfm_displays():
    ...     return [api.DisplaySpec(name="calo", target="hepfm_calo.display:panels")]
    """
    raise AssertionError


@hookspec
def hepfm_recipes() -> Sequence[api.RecipeSpec]:
    """Named recipes shipped inside the plugin's package.

    >>> @api.hookimpl
    ... def hepfm_recipes():
    ...     return [api.RecipeSpec(name="calo/masked", target="hepfm_calo:recipes/masked.yaml")]
    """
    raise AssertionError


@hookspec
def hepfm_callbacks() -> Sequence[api.CallbackSpec]:
    """What is told of a run's milestones. Collected once a run; never called inside the step.

    >>> @api.hookimpl
    ... def hepfm_callbacks():
    ...     return [api.CallbackSpec(name="notify", target="hepfm_calo.notify:Notify")]
    """
    raise AssertionError


@hookspec
def hepfm_health_checks() -> Sequence[api.HealthCheckSpec]:
    """Checks for ``hepfm doctor``.

    >>> @api.hookimpl
    ... def hepfm_health_checks():
    ...     return [api.HealthCheckSpec(name="calo-tables", target="hepfm_calo.doctor:tables")]
    """
    raise AssertionError


@hookspec
def hepfm_commands() -> Sequence[api.CommandSpec]:
    """Further commands of ``hepfm``.

    >>> @api.hookimpl
    ... def hepfm_commands():
    ...     return [api.CommandSpec(name="calo", target="hepfm_calo.cli:app", summary="Calorimeter tools.")]
    """
    raise AssertionError
