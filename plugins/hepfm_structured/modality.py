"""The modality ``structured``: particle lists, jets, hits, event records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import BaseModel

from hepfm.api import PartSchema, RaggedTables, Target, Units
from hepfm.errors import RecipeError
from hepfm.nn.ragged import offsets_of
from hepfm.random import Draws
from hepfm_structured import symmetry
from hepfm_structured.config import StructuredConfig
from hepfm_structured.decoder import FieldDecoder, hidden_numbers
from hepfm_structured.places import axes, order_of, pitch_of, place_of
from hepfm_structured.rebuild import kept_tables
from hepfm_structured.records import by_field, field_numbers, records_of
from hepfm_structured.slots import OBJECT, RECORD, runs, slots_of
from hepfm_structured.tokenizer import ObjectTokenizer


class Structured:
    """Rows of numbers: an object is a unit that can be hidden, and a token; or each of its fields is.

    Raises:
        DataError: The schema has no column that a model could see.
        RecipeError: An option names a column that is not there.
    """

    Config: ClassVar[type[BaseModel]] = StructuredConfig

    def __init__(self, config: StructuredConfig, schema: PartSchema) -> None:
        self.config = config
        self.schema = schema
        self.slots = slots_of(schema, config)
        self.place = place_of(config, self.slots)
        self.order = order_of(config, schema, self.slots, self.place)
        self.axes = axes(self.place, self.slots)
        self.pitch = pitch_of(config, schema, self.place)
        self.given = torch.tensor([slot.table == OBJECT and slot.column in self.place for slot in self.slots])
        if all(bool(given) for given in self.given[[slot.table == OBJECT for slot in self.slots]]):
            raise RecipeError(
                f"All that is known of an object is where it is: {', '.join(self.place)}.",
                where="option place of the kind structured",
                fix="say 'place: []', so that it is predicted",
            )
        if heavy := [column for column in self.place if config.weights.get(column)]:
            raise RecipeError(
                f"'{heavy[0]}' says where an object is, and is not predicted.",
                where="option weights of the kind structured",
                fix="leave it out there, or name other columns by place ([] for none)",
            )
        for option, asked, found in (
            ("rotate", config.rotate, [*symmetry.azimuths(schema), *symmetry.components(schema)]),
            ("reflect", config.reflect, symmetry.along_beam(schema)),
        ):
            if asked and not found:
                raise RecipeError(
                    "No column has a name that says how it changes.",
                    where=f"option {option} of the kind structured",
                    fix="see docs/structured.md for such names; or leave the option out",
                )
        self.whole = config.units == "objects"
        self.fields = field_numbers(self.slots, self.place)
        records = any(slot.table == RECORD for slot in self.slots)
        self.n_codes = 1 + records if self.whole else max(self.fields) + 1
        self.n_positions: int = len(self.axes) + (self.n_codes > 1)
        self.ordered = self.whole and not self.place

    def select(self, tables: RaggedTables) -> Mapping[str, Any]:
        """Keeps every row."""
        del tables
        return {}

    def augment(self, tables: RaggedTables, draws: Draws) -> RaggedTables:
        """Every event as it is, or turned and reflected where options say so; all parts of the kind alike."""
        if self.config.rotate:
            turn = draws.per_event("structured/rotate", 1)[:, 0]
            tables = symmetry.rotated(tables, self.schema, 2 * math.pi * turn)
        if self.config.reflect:
            flip = draws.per_event("structured/reflect", 1)[:, 0] < 0.5
            tables = symmetry.reflected(tables, self.schema, flip)
        return tables

    def units(self, tables: RaggedTables) -> Units:
        """The event's record, then its objects in order; or the known fields of each, row by row.

        Positions are the place in pitches, and which kind of unit it is, if there are several. Groups are
        ``object`` and ``field`` for single fields, ``table`` (0 objects, 1 the record) for whole objects.
        """
        records = records_of(
            tables, self.schema, self.slots, order=self.order, axes=self.axes, pitch=self.pitch
        )
        if not self.whole:
            records = by_field(records, self.slots, self.place)
        fields = torch.tensor(self.fields, device=records.own.device)
        code = records.table[records.unit] if self.whole else fields[records.own.int().argmax(1)]
        positions = records.place[records.unit]
        if self.n_codes > 1:
            positions = torch.cat((positions, code[:, None].float()), 1)
        event = records.event[records.unit]
        n_events = len(tables[self.schema.primary])
        first = offsets_of(torch.bincount(records.event, minlength=n_events))
        number = records.unit - first[event]
        return Units(
            positions=positions,
            offsets=offsets_of(torch.bincount(event, minlength=n_events)),
            payload=records,
            groups={"object": number, "field": code} if not self.whole else {"table": code},
        )

    def target(self, units: Units, hidden: torch.Tensor) -> Target:
        """The known numbers of the hidden units, save their place."""
        given = self.given.to(hidden.device)
        return hidden_numbers(units.payload, hidden, self.slots, given=given, bins=self.config.bins)

    def visible_tables(self, units: Units, visible: torch.Tensor) -> RaggedTables:
        """The rows of the units of a mask."""
        return kept_tables(units.payload, visible, self.schema, self.slots)

    def tokenizer(self, d_model: int) -> ObjectTokenizer:
        """A linear map of features of all numbers, vectors of classes, and a two-layer network."""
        return ObjectTokenizer(
            d_model,
            slots=self.slots,
            n_place=len(self.axes),
            n_codes=self.n_codes,
            whole=self.whole,
            point_width=self.config.point_width,
        )

    def decoder(self, d_model: int) -> FieldDecoder:
        """A distribution over bins for each number."""
        asked = [term for term, mine in runs(self.slots) if not bool(self.given[mine].all())]
        return FieldDecoder(
            d_model,
            schema=self.schema,
            slots=self.slots,
            terms={term: self.config.weights.get(term, 1.0) / len(asked) for term in asked},
            bins=self.config.bins,
            whole=self.whole,
            point_width=self.config.point_width,
        )
