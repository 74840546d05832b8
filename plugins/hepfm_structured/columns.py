"""The schema of what was found among the branches of a file, and the tables of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hepfm.api import ClassName, PartSchema
from hepfm.errors import DataError, did_you_mean
from hepfm_structured import fourvectors as fv
from hepfm_structured.blocks import Array, Rows, one_each
from hepfm_structured.branches import (
    CARTESIAN,
    POLAR,
    Branch,
    BranchConfig,
    Layout,
    column_of,
    fits,
    is_number_of_event,
    is_truth,
    shortened,
)
from hepfm_structured.schema import Field, Kind, field, part_schema

FLAG = (ClassName(value=0, name="no"), ClassName(value=1, name="yes"))
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("pt", "energy", "mass"), "positive"),
    "phi": "periodic",
    "charge": "categorical",
    "pdg": "categorical",
}
_SPECIES = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
"""JetClass's flags of what a particle is, in the order of the vocabulary ``species``."""

_MOST_FILLED = 5
"""Columns in an example of the option ``fill``."""

Lists = Mapping[str, tuple[Array, Array | None]]
"""Branch to its values end to end and, for lists, the number in each event."""


class Columns:
    """Turns branches into columns: names, four-vectors, classes.

    Raises:
        DataError: Collections have no column in common, or an option names a column that is not there.
    """

    def __init__(
        self, layout: Layout, branches: Mapping[str, Branch], config: BranchConfig, *, where: str
    ) -> None:
        self._layout, self._config, self._where = layout, config, where
        self._branches = branches
        self._objects = {name: self._readable(columns) for name, columns in layout.collections.items()}
        first, *others = self._objects.values()
        self._shared = [c for c in first if all(c in o for o in others) or c in config.fill]
        self._shared += [c for c in config.fill if c not in first and any(c in o for o in others)]
        if not self._shared:
            what = f"{' and '.join(layout.collections)} have no column in common"
            raise DataError(what, where=where, fix="set the option collections, or fill")
        event = [_plain(branch) for branch in layout.event]
        offered = {c for columns in self._objects.values() for c in columns}
        for option, names, known in (
            ("kinds", config.kinds, [*self._shared, *event]),
            ("classes", config.classes, [*self._shared, *event]),
            ("fill", config.fill, offered),
            ("order", [config.order], self._shared),
        ):
            if strange := [n for n in names if n and n not in known]:
                what = f"option {option}: there is no column '{strange[0]}'"
                raise DataError(what, where=where, fix=did_you_mean(strange[0], known))
        known = [*self._shared, *(b for c in self._shared for b in self._branches_of(c)), *layout.event]
        for option, patterns in (("labels", config.labels), ("inputs", config.inputs)):
            if strange := [p for p in patterns if not any(fits(name, [p]) for name in known)]:
                what = f"option {option}: nothing that is read fits '{strange[0]}'"
                raise DataError(what, where=where, fix=did_you_mean(strange[0], known))
        for column, words in config.classes.items():
            if not words or len(set(words.values())) < len(words):
                what = (
                    f"option classes: {column} has {'one number for two classes' if words else 'no classes'}"
                )
                raise DataError(what, where=where, fix="give each class a name and a number of its own")

    def _readable(self, columns: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Column to its type, in the form of momentum that is asked for."""
        types = {
            c: str(np.result_type(*(self._branches[b].dtype for b in many))) for c, many in columns.items()
        }
        if set(_SPECIES) <= types.keys():
            types = {c: t for c, t in types.items() if c not in _SPECIES} | {"species": "int8"}
        if "charge" in types and "charge" not in self._config.kinds:
            types["charge"] = "int8"
        types = {c: "uint8" if t == "bool" else t for c, t in types.items()}
        has = types.keys()
        polar, cartesian = set(POLAR) <= has, set(CARTESIAN) <= has
        wanted = self._config.momentum
        if wanted == "as-is" or not (polar or cartesian):
            return types
        given = POLAR if polar else CARTESIAN
        kind = str(np.result_type(*(types[c] for c in given), "float32"))
        scale = {"energy", "mass"} & has
        new = dict.fromkeys(POLAR if wanted == "polar" else CARTESIAN, kind)
        if scale:
            new["mass" if wanted == "polar" else "energy"] = kind
        rest = {c: t for c, t in types.items() if c not in {*POLAR, *CARTESIAN, "energy", "mass"}}
        return {**new, **rest}

    def _branches_of(self, column: str) -> list[str]:
        return [b for columns in self._layout.collections.values() for b in columns.get(column, ())]

    def left_out(self, others: Iterable[str] = ()) -> dict[str, Any]:
        """For a provenance: what is not read, ``others`` included, and what ``fill`` would read of it."""
        some = {c for columns in self._objects.values() for c in columns} - set(self._shared)
        branches = {b for column in some for b in self._branches_of(column)}
        told: dict[str, Any] = {"left_out": shortened({*self._layout.left_out, *branches, *others})}
        if some:
            fill = ", ".join(f"{column}: 0" for column in sorted(some)[:_MOST_FILLED])
            told["not_in_all_collections"] = f"{', '.join(shortened(some))}: read with option fill={{{fill}}}"
        return told

    def schema(self) -> PartSchema:
        """The schema of the part."""
        config = self._config
        particles = {c: self._field(c) for c in self._shared}
        vocabularies: dict[str, tuple[ClassName, ...]] = {"flag": FLAG}
        if len(self._objects) > 1:
            names = tuple(ClassName(value=k, name=n) for k, n in enumerate(self._objects))
            vocabularies["object"] = names
            particles["object"] = field("int8", "categorical", vocabulary="object", doc="what the row is")
        event = {_plain(b): self._event_field(b) for b in self._layout.event}
        for column, words in config.classes.items():
            table = particles if column in particles else event
            table[column] = self._class_field(column, table[column])
            vocabularies[column] = tuple(ClassName(value=v, name=n) for n, v in words.items())
        if self._layout.classes:
            classes = self._layout.classes
            vocabularies["label"] = tuple(ClassName(value=k, name=n) for k, n in enumerate(classes))
            event["label"] = field("int16", vocabulary="label", label=True, doc="class of the event or jet")
        return part_schema(particles, event, vocabularies=vocabularies, order=config.order)

    def _field(self, column: str) -> Field:
        dtype = self._dtype(column)
        origin = self._branches_of(column)
        boolean = bool(origin) and all(self._branches[b].dtype == "bool" for b in origin)
        vocabulary = {"charge": "charge", "pdg": "pdg", "species": "species"}.get(column, "")
        kind = self._config.kinds.get(column) or _KINDS.get(column, "continuous")
        if boolean or column == "species":
            kind, vocabulary = "categorical", vocabulary or "flag"
        if column == "pdg" and dtype[0] not in "iu":
            kind = "continuous"
        unit = self._config.energy_unit if column in {"pt", "energy", "mass", *CARTESIAN} else ""
        label = is_truth(column, self._config, origin)
        return field(
            dtype,
            None if label else kind,
            unit="rad" if column == "phi" else unit,
            vocabulary=vocabulary if kind == "categorical" else "",
            label=label,
            doc=", ".join(origin[:2]),
        )

    def _dtype(self, column: str) -> str:
        """The type that holds the numbers of all collections, and what stands where one has none."""
        dtype = np.result_type(*(o[column] for o in self._objects.values() if column in o))
        fill = self._config.fill.get(column, 0.0)
        if dtype.kind in "iu" and not all(column in o for o in self._objects.values()):
            dtype = np.result_type(dtype, np.min_scalar_type(int(fill) if fill.is_integer() else fill))
        return str(dtype)

    def _class_field(self, column: str, plain: Field) -> Field:
        dtype = plain.column.dtype
        if np.dtype(dtype).kind not in "iu":
            what = f"option classes: the column '{column}' is {dtype}, not integers"
            raise DataError(what, where=self._where, fix="only integers can be classes")
        label = plain.column.label
        return field(dtype, "categorical", vocabulary=column, label=label, doc=plain.column.doc)

    def _event_field(self, branch: str) -> Field:
        dtype = self._branches[branch].dtype
        label = is_truth(branch, self._config)
        kind: Kind | None = self._config.kinds.get(_plain(branch)) or (
            "categorical" if dtype == "bool" else "continuous"
        )
        stem = column_of(branch.rsplit("_", maxsplit=1)[-1])
        if stem in _KINDS and stem not in {"charge", "pdg"} and _plain(branch) not in self._config.kinds:
            kind = _KINDS[stem]
        if is_number_of_event(branch) or label:
            kind = None
        return field(
            "uint8" if dtype == "bool" else dtype,
            kind,
            label=label,
            vocabulary="flag" if dtype == "bool" else "",
            unit=self._config.energy_unit if stem in {"pt", "energy", "mass", *CARTESIAN} else "",
        )

    def tables(self, lists: Lists, start: int) -> dict[str, Rows]:
        """The tables of the events whose branches these are.

        Args:
            lists: The branches of the layout.
            start: Index of the first event, for errors.

        Raises:
            DataError: Lists of one collection differ in length, or a label is not of one class.
        """
        objects = [self._rows(name, lists, start) for name in self._objects]
        tables = {"particles": objects[0] if len(objects) == 1 else self._merged(objects)}
        event = {_plain(b): lists[b][0] for b in self._layout.event}
        if self._layout.classes:
            event["label"] = self._label(lists, start)
        return tables | ({"event": one_each(event)} if event else {})

    def _rows(self, name: str, lists: Lists, start: int) -> Rows:
        columns: dict[str, Array] = {}
        lengths: Array | None = None
        for column, many in self._layout.collections[name].items():
            values, counts = _stacked([lists[b] for b in many])
            if lengths is not None and not np.array_equal(counts, lengths):
                event = start + int(np.flatnonzero(counts != lengths)[0])
                what = "a list has another length than the others of its collection"
                raise DataError(what, where=f"{self._where}, event {event}, branch {many[0]}")
            columns[column], lengths = values, counts
        assert lengths is not None
        return Rows(self._converted(columns, lengths, start), lengths)

    def _converted(self, columns: dict[str, Array], lengths: Array, start: int) -> dict[str, Array]:
        if set(_SPECIES) <= columns.keys():
            flags = np.stack([columns.pop(c) for c in _SPECIES], 1) > 0.5
            columns["species"] = np.where(flags.any(1), flags.argmax(1), -1)
        if "charge" in columns and "charge" not in self._config.kinds:
            charge = columns["charge"]
            if len(bad := np.flatnonzero(~(np.abs(charge) <= 127) | (np.rint(charge) != charge))):
                event = start + int(np.searchsorted(lengths.cumsum(), bad[0], side="right"))
                what = f"a charge is not a whole number: {charge[bad[0]]}"
                fix = "say kinds={charge: continuous}, if it is none of a particle"
                raise DataError(what, where=f"{self._where}, event {event}", fix=fix)
        return self._in_form(columns)

    def _in_form(self, columns: dict[str, Array]) -> dict[str, Array]:
        """With the four-vectors in the form that is asked for; what is there already stays."""
        wanted = self._config.momentum
        polar, cartesian = set(POLAR) <= columns.keys(), set(CARTESIAN) <= columns.keys()
        if wanted == "as-is" or not (polar or cartesian):
            return columns
        given = [columns[c] for c in (CARTESIAN if cartesian else POLAR)]
        px, py, pz = given if cartesian else fv.momentum_of(*given)
        if wanted == "polar":
            if not polar:
                columns |= {"pt": fv.pt_of(px, py), "eta": fv.eta_of(px, py, pz), "phi": fv.phi_of(px, py)}
            if "mass" not in columns and "energy" in columns:
                columns["mass"] = fv.mass_of(px, py, pz, columns["energy"])
        else:
            columns |= {"px": px, "py": py, "pz": pz}
            if "energy" not in columns and "mass" in columns:
                columns["energy"] = fv.energy_of(px, py, pz, columns["mass"])
        return columns

    def _merged(self, objects: list[Rows]) -> Rows:
        """All collections' rows, event by event, in the order of the collections."""
        event = np.concatenate([np.repeat(np.arange(len(o.lengths)), o.lengths) for o in objects])
        order = np.argsort(event, kind="stable")
        columns = {}
        for column in self._shared:
            fill = self._config.fill.get(column, 0)
            many = [o.columns.get(column, np.full(o.lengths.sum(), fill)) for o in objects]
            columns[column] = np.concatenate(many)[order]
        which = [np.full(o.lengths.sum(), k) for k, o in enumerate(objects)]
        return Rows(
            {**columns, "object": np.concatenate(which)[order]}, np.sum([o.lengths for o in objects], axis=0)
        )

    def _label(self, lists: Lists, start: int) -> Array:
        hot = np.stack([lists[f"label_{c}"][0] for c in self._layout.classes], 1) > 0.5
        if len(bad := np.flatnonzero(hot.sum(1) != 1)):
            what = f"{hot[bad[0]].sum()} of the labels {', '.join(self._layout.classes)} are set, not one"
            raise DataError(what, where=f"{self._where}, event {start + bad[0]}")
        return np.asarray(hot.argmax(1), np.int16)


def _plain(branch: str) -> str:
    """The name of the column of a branch with one number an event."""
    return branch.replace("/", "_")


def _stacked(many: list[tuple[Array, Array | None]]) -> tuple[Array, Array]:
    """Values and lengths of a column: of a list, or of one number for each object."""
    values, counts = many[0]
    if counts is not None:
        return values, counts
    stacked = np.stack([v for v, _ in many], 1)
    return stacked.reshape(-1), np.full(len(stacked), stacked.shape[1], np.int64)
