"""The contract of a head, as checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepfm.api import Batch, Features, Need, PartSchema, RaggedTables, Sample, Tokens
from hepfm.data.tensors import tables_to_numpy, to_numpy, to_torch
from hepfm.nn.ragged import offsets_of
from hepfm.readers.layout import half
from hepfm.readers.pack import pack
from hepfm.testing.checks import empty_event, run_checks, shuffled
from hepfm.testing.head_judging import JUDGING
from hepfm.testing.head_learning import LEARNING

_WIDTHS: Mapping[Need, int] = {"tokens": 16, "points": 24, "pooled": 48}
_POSITIONS = 3
_TOKENS = 7
"""Tokens of the event that has most of them."""


def head_contract(
    head: type[Any],
    config: Any = None,
    *,
    schema: Mapping[str, PartSchema],
    samples: Sequence[Sample],
) -> None:
    """Checks a head's class against the contract of `hepfm.api.Head`.

    Args:
        head: The class.
        config: Its configuration; by default ``head.Config()``.
        schema: Part name to schema, with the labels that the head learns from.
        samples: Three events or more of these parts, with their labels.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    assert len(samples) >= 3, "the contract needs three events or more"
    torch.manual_seed(0)
    config = config if config is not None else head.Config()
    module = head(config, schema=schema, d_in=Subject.d_in)
    run_checks("head", (*LEARNING, *JUDGING), Subject(head, config, module, schema, tuple(samples)))


@dataclass(frozen=True)
class Subject:
    """What is checked: a head, and some events.

    Attributes:
        head: The class.
        config: Its configuration.
        module: Made of them.
        schema: Part name to schema.
        samples: With labels.
        order: Event to an order of the rows of the primary table of the head's part, if not as they came.
    """

    head: type[Any]
    config: Any
    module: Any
    schema: Mapping[str, PartSchema]
    samples: tuple[Sample, ...]
    order: Mapping[int, Any] = field(default_factory=dict)

    @staticmethod
    def d_in(need: Need, _part: str) -> int:
        return _WIDTHS[need]

    def batch(self, samples: Sequence[Sample], *, labels: bool = True) -> Batch:
        return to_torch(pack(samples, self.schema, labels=labels))

    def features(self, samples: Sequence[Sample]) -> Features:
        """Features of these events as the head needs them, of each event the same ones in every batch."""
        batch, needs = self.batch(samples), self.module.needs
        return Features(
            tokens=self._rows("tokens", samples, batch.cost.clamp(max=_TOKENS))
            if "tokens" in needs
            else None,
            points=self._rows("points", samples, self.points(batch), self.order)
            if "points" in needs
            else None,
            pooled=self._rows("pooled", samples, torch.ones_like(batch.cost)).x
            if "pooled" in needs
            else None,
            inputs=batch.parts[self.module.part] if "inputs" in needs else None,
            events=len(samples),
        )

    def points(self, batch: Batch) -> Tensor:
        """``(B,)`` rows of the primary table of the head's part."""
        part = self.module.part
        primary = self.schema[part].primary
        half = batch.parts if primary in batch.parts[part] else batch.labels
        lengths: Tensor = half[part][primary].lengths
        return lengths

    def _rows(
        self,
        need: Need,
        samples: Sequence[Sample],
        lengths: Tensor,
        order: Mapping[int, Any] = MappingProxyType({}),
    ) -> Tokens:
        width = _WIDTHS[need] + _POSITIONS
        values = [_values(sample.event_id, int(n), width) for sample, n in zip(samples, lengths, strict=True)]
        values = [
            each[order.get(sample.event_id, slice(None))]
            for sample, each in zip(samples, values, strict=True)
        ]
        rows = torch.cat([torch.empty(0, width), *values])
        x, positions = rows[:, :-_POSITIONS], rows[:, -_POSITIONS:]
        part = torch.zeros(len(x), dtype=torch.int64)
        return Tokens(x=x, positions=positions, offsets=offsets_of(lengths), part=part)

    def losses(self, samples: Sequence[Sample]) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Sums and counts of the loss terms."""
        batch = self.batch(samples)
        return self.module.loss(self.module(self.features(samples)), batch), self.module.counts(batch)

    def predicted(self, samples: Sequence[Sample]) -> dict[str, RaggedTables]:
        tables: dict[str, RaggedTables] = self.module.predict(self.module(self.features(samples)))
        return tables

    def statistics(self, samples: Sequence[Sample]) -> dict[str, np.ndarray[Any, Any]]:
        with torch.no_grad():
            tables = self.predicted(samples)
        predicted = {part: tables_to_numpy(each) for part, each in tables.items()}
        found: dict[str, np.ndarray[Any, Any]] = self.module.statistics(
            predicted, to_numpy(self.batch(samples))
        )
        return found

    def in_another_order(self) -> Subject:
        """The rows of the tables of inputs in another order, and labels beside them."""
        samples, order = [], {}
        for sample in self.samples:
            parts, labels = dict(sample.parts), dict(sample.labels)
            for part, tables in sample.parts.items():
                beside = sample.labels.get(part, {})
                joined = {
                    name: {c: np.asarray(v) for c, v in (*columns.items(), *beside.get(name, {}).items())}
                    for name, columns in tables.items()
                }
                moved, orders = shuffled(joined, str(sample.event_id), self.schema[part])
                parts[part] = {t: {c: moved[t][c] for c in columns} for t, columns in tables.items()}
                labels[part] = {
                    t: {c: moved[t][c] for c in columns} if t in moved else columns
                    for t, columns in beside.items()
                }
                if part == self.module.part and (primary := self.schema[part].primary) in orders:
                    order[sample.event_id] = torch.from_numpy(orders[primary])
            samples.append(replace(sample, parts=parts, labels=labels))
        return replace(self, samples=tuple(samples), order=order)

    def empty(self, event_id: int) -> Sample:
        """An event without a row in any part."""
        inputs, labels = (
            {part: empty_event(half(schema, label=label)) for part, schema in self.schema.items()}
            for label in (False, True)
        )
        return Sample(event_id=event_id, parts=inputs, labels=labels)


def _values(event_id: int, rows: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(event_id & (2**63 - 1))
    return torch.randn(rows, width, generator=generator)
