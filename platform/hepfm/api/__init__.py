"""The contracts between hepfm and its plugins: stable, versioned, and imported without numpy or torch.

How an event flows, and which contract it meets on its way::

    file -> Reader -> Batch (numpy) -> Modality.select -> Batch (torch) -> Modality.augment -> Modality.units
         -> Objective.plan (what is hidden) -> Tokenizer -> Tokens -> Backbone -> Objective -> {term: sum}

Legend of shapes: B events, N rows of a table, U units of a part, V visible ones, H hidden ones, Q points in
units, T tokens, D model width, P position axes, W and F widths.
"""

from __future__ import annotations

import pluggy

from hepfm.api.events import (
    Batch,
    ClassName,
    Column,
    PartSchema,
    Ragged,
    RaggedTable,
    RaggedTables,
    Sample,
    Tables,
)
from hepfm.api.learning import (
    Backbone,
    Causal,
    CheckedParts,
    Comparing,
    Labelled,
    Objective,
    Plan,
    Reconstruction,
    Taught,
    Watched,
)
from hepfm.api.modality import (
    Completing,
    Containing,
    Decoder,
    Encoded,
    Located,
    Modality,
    Ordered,
    Pieces,
    Surrounded,
    Target,
    Tokenizer,
    Tokens,
    Units,
    Weighed,
)
from hepfm.api.reports import Callback, Display
from hepfm.api.sources import GENERATOR_KEYS, Generator, Reader
from hepfm.api.specs import (
    BackboneSpec,
    CallbackSpec,
    CommandSpec,
    DisplaySpec,
    Finding,
    GeneratorSpec,
    HeadSpec,
    HealthCheckSpec,
    MetricSpec,
    ModalitySpec,
    ObjectiveSpec,
    ReaderSpec,
    RecipeSpec,
    Spec,
)
from hepfm.api.tasks import Answered, Features, Head, Need, Observing, Plotted, Probed

API_VERSION = (1, 0)
"""(major, minor). A plugin declares ``HEPFM_API = (major, minor)``; another major is refused."""

hookimpl = pluggy.HookimplMarker("hepfm")
"""Marks a plugin's functions as implementations of the hooks in ``hepfm.hookspecs``."""

__all__ = [
    "API_VERSION",
    "GENERATOR_KEYS",
    "Answered",
    "Backbone",
    "BackboneSpec",
    "Batch",
    "Callback",
    "CallbackSpec",
    "Causal",
    "CheckedParts",
    "ClassName",
    "Column",
    "CommandSpec",
    "Comparing",
    "Completing",
    "Containing",
    "Decoder",
    "Display",
    "DisplaySpec",
    "Encoded",
    "Features",
    "Finding",
    "Generator",
    "GeneratorSpec",
    "Head",
    "HeadSpec",
    "HealthCheckSpec",
    "Labelled",
    "Located",
    "MetricSpec",
    "Modality",
    "ModalitySpec",
    "Need",
    "Objective",
    "ObjectiveSpec",
    "Observing",
    "Ordered",
    "PartSchema",
    "Pieces",
    "Plan",
    "Plotted",
    "Probed",
    "Ragged",
    "RaggedTable",
    "RaggedTables",
    "Reader",
    "ReaderSpec",
    "RecipeSpec",
    "Reconstruction",
    "Sample",
    "Spec",
    "Surrounded",
    "Tables",
    "Target",
    "Taught",
    "Tokenizer",
    "Tokens",
    "Units",
    "Watched",
    "Weighed",
    "hookimpl",
]
