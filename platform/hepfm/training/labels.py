"""Whether events have the labels that a head learns from: looked at before training, not after."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from hepfm.api import Batch, Probed
from hepfm.data.batches import batches
from hepfm.data.few import whole_of
from hepfm.data.generated import GeneratorSource
from hepfm.data.loader import validation_batches
from hepfm.data.source import Source
from hepfm.errors import DataError
from hepfm.objectives.task import Task
from hepfm.recipe.schema import Recipe
from hepfm.training.ranks import Ranks

_log = logging.getLogger(__name__)

_LOOKED_AT = 256
"""Events, drawn; the others only where none of these has a label."""


def look_for_labels(objective: Any, sources: Mapping[str, Source], recipe: Recipe, ranks: Ranks) -> None:
    """Refuses events none of which has a label that counts, and warns of classes that are never there.

    Of what a generator makes, nothing is looked at. All ranks call this: the first looks at a few events, and
    only where none of them has a label, each at all of them, so that none waits for another.

    Args:
        objective: On the CPU; one that learns no task is not looked at.
        sources: By what the recipe calls them.
        recipe: The run's.
        ranks: Of the training.

    Raises:
        DataError: There is nothing to learn.
    """
    if not isinstance(objective, Task):
        return
    for where in ranks.on_first(lambda: _unknown(objective.head, sources, recipe)):
        refuse_unlabelled(objective.head, sources[where], where=where)


def refuse_unlabelled(head: Any, source: Source, *, where: str) -> None:
    """`DataError` where no event has a label that a head counts; reads until one has."""
    if any(_targets(head, batch) for batch in batches(source)):
        return
    raise DataError(
        f"None of {len(source)} events has a label that counts: there is nothing to learn or judge.",
        where=f"{where}: {source.place(0)}, and further ones",
        fix="see the labels with hepfm data inspect: NaN and classes without a name are not known, and "
        "options of the head (only) leave rows out; or name other files",
    )


def _unknown(head: Any, sources: Mapping[str, Source], recipe: Recipe) -> list[str]:
    """Those of which a few events have no label; warns of classes that these do not have."""
    unknown = []
    for where, source in sources.items():
        if isinstance(whole_of(source), GeneratorSource):
            continue
        known, absent = _seen(head, source, recipe)
        if not known:
            _log.info("%s: none of %d events has a label, the others are looked at", where, _LOOKED_AT)
            unknown.append(where)
        elif absent:
            _log.warning(
                "%s: nothing is of %s in the %d events looked at, so it can hardly be learned or judged",
                where,
                ", ".join(absent),
                min(len(source), _LOOKED_AT),
            )
    return unknown


def _seen(head: Any, source: Source, recipe: Recipe) -> tuple[int, list[str]]:
    """Labels that count in a few events, and classes that none of these has."""
    of_classes = isinstance(head, Probed) and head.answers == "classes"
    known, rows = 0, torch.zeros(head.outputs if of_classes else 0)
    cost = recipe.data.micro_batch_cost
    for batch in validation_batches(source, micro_batch_cost=cost, events=_LOOKED_AT, labels=True):
        known += _targets(head, batch)
        if of_classes:
            classes = head.targets(batch).values
            rows = rows + torch.bincount(classes[classes >= 0], minlength=head.outputs)
    return known, [_name(head, index) for index in (rows == 0).nonzero()[:, 0].tolist()]


def _targets(head: Any, batch: Batch) -> int:
    return sum(count for term, count in head.counts(batch).items() if head.weights[term])


def _name(head: Any, index: int) -> str:
    """The class as the schema of the predictions calls it, where that is clear."""
    vocabularies = [v for schema in head.predictions.values() for v in schema.vocabularies.values()]
    if len(vocabularies) == 1 and len(vocabularies[0]) == head.outputs:
        return f"'{vocabularies[0][index].name}'"
    return f"class {index}"
