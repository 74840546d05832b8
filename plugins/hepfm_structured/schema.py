"""The schema of structured data: a table with a row for each object, and one with a row for each event.

How a model treats a column stands in the part's attribute ``fields``: ``{table: {column: field}}``, a field
being ``{"kind": ...}`` with

- ``continuous``: a number of any sign;
- ``positive``: 0 or more, over orders of magnitude (energies, momenta): for a logarithmic scale;
- ``periodic``: an angle; ``period`` says after what it repeats;
- ``categorical``: one of a few classes; ``vocabulary`` names them.

The attribute ``nan: missing`` says that NaN is what is not known, and no defect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hepfm.api import ClassName, Column, PartSchema
from hepfm.errors import DataError, did_you_mean

Kind = Literal["continuous", "positive", "periodic", "categorical"]
KINDS: tuple[Kind, ...] = ("continuous", "positive", "periodic", "categorical")
EVENT = "event"
"""The table with one row for each event: what belongs to the event or jet as a whole, and its labels."""

CHARGE = tuple(ClassName(value=q, name=f"{q:+d}" if q else "0") for q in (-1, 0, 1))
SPECIES = (
    ClassName(value=-1, name="none"),
    ClassName(value=0, name="charged hadron", colour="#0072B2"),
    ClassName(value=1, name="neutral hadron", colour="#56B4E9"),
    ClassName(value=2, name="photon", colour="#E69F00"),
    ClassName(value=3, name="electron", colour="#D55E00"),
    ClassName(value=4, name="muon", colour="#CC79A7"),
)
"""What a detector tells apart."""
PDG = tuple(
    ClassName(value=code, name=name)
    for code, name in (
        (11, "e-"), (-11, "e+"), (12, "nu_e"), (-12, "anti-nu_e"), (13, "mu-"), (-13, "mu+"),
        (14, "nu_mu"), (-14, "anti-nu_mu"), (15, "tau-"), (-15, "tau+"), (16, "nu_tau"), (-16, "anti-nu_tau"),
        (22, "photon"), (111, "pi0"), (211, "pi+"), (-211, "pi-"), (221, "eta"), (130, "K_L"), (310, "K_S"),
        (311, "K0"), (-311, "anti-K0"), (321, "K+"), (-321, "K-"), (2112, "n"), (-2112, "anti-n"),
        (2212, "p"), (-2212, "anti-p"), (3122, "Lambda"), (-3122, "anti-Lambda"), (3222, "Sigma+"),
        (3212, "Sigma0"), (3112, "Sigma-"), (3322, "Xi0"), (3312, "Xi-"), (3334, "Omega-"),
    )
)  # fmt: skip
"""Particles that are common enough to be classes, for columns of PDG codes without a vocabulary."""
_OPEN = {"pdg"}
"""Vocabularies whose columns may hold values that have no name."""
_KNOWN = {"charge": CHARGE, "species": SPECIES, "pdg": PDG}

_NUMBERS_OF_THINGS = ("particle", "parent", "interaction", "index", "event")
"""Names of integer columns that say which, not what; a model gets none of them."""
_SIGNED = ("px", "py", "pz", "x", "y", "z", "eta", "t")
_SCALES = ("eV", "keV", "MeV", "GeV", "TeV")


@dataclass(frozen=True)
class Field:
    """A column and how a model treats it; ``how`` is empty for labels and for what is no feature."""

    column: Column
    how: Mapping[str, Any]


def field(
    dtype: str,
    kind: Kind | None = None,
    *,
    unit: str = "",
    doc: str = "",
    period: float = 2 * math.pi,
    vocabulary: str = "",
    label: bool = False,
    shape: tuple[int, ...] = (),
) -> Field:
    """One column of structured data.

    Args:
        dtype: numpy name.
        kind: How a model treats it; None for labels and for what is no feature.
        unit: Its unit; empty for none.
        doc: What it is.
        period: Of a periodic one.
        vocabulary: Of a categorical one, or of a label that is a class.
        label: Whether it is truth that a model may not see.
        shape: Of a row's entry.
    """
    closed = "" if vocabulary in _OPEN else vocabulary
    column = Column(dtype=dtype, shape=shape, unit=unit, doc=doc, vocabulary=closed, label=label)
    how: dict[str, Any] = {}
    if kind is not None and not label:
        how["kind"] = kind
        how |= {"period": period} if kind == "periodic" else {}
        how |= {"vocabulary": vocabulary} if kind == "categorical" else {}
    return Field(column, how)


def part_schema(
    particles: Mapping[str, Field],
    event: Mapping[str, Field] | None = None,
    *,
    primary: str = "particles",
    tables: Mapping[str, Mapping[str, Field]] | None = None,
    vocabularies: Mapping[str, tuple[ClassName, ...]] | None = None,
    order: str = "",
    **attributes: Any,
) -> PartSchema:
    """The schema of a part of the kind ``structured``.

    Args:
        particles: Columns of the table with a row for each object.
        event: Columns of the table with a row for each event; none for no such table.
        primary: Name of the table of objects.
        tables: Other tables, of truth.
        vocabularies: Classes, by name; ``charge``, ``species`` and ``pdg`` are known.
        order: The column that objects are ordered by, descending; empty where they are in no order.
        attributes: What else belongs to the part.
    """
    every = {primary: particles} | ({EVENT: event} if event else {}) | dict(tables or {})
    own = dict(vocabularies or {})
    columns = [f for fields in every.values() for f in fields.values()]
    named = {f.column.vocabulary for f in columns} - {""}
    named |= {name for f in columns if (name := f.how.get("vocabulary")) in own}
    return PartSchema(
        kind="structured",
        primary=primary,
        tables={table: {n: f.column for n, f in fields.items()} for table, fields in every.items()},
        vocabularies={name: (_KNOWN | own)[name] for name in sorted(named)},
        attributes={
            "fields": {
                t: {n: dict(f.how) for n, f in fields.items() if f.how}
                for t, fields in every.items()
                if t in {primary, EVENT}
            },
            **({"order": order} if order else {}),
            "nan": "missing",
            **attributes,
        },
    )


def fields_of(schema: PartSchema) -> dict[str, dict[str, dict[str, Any]]]:
    """How a model treats the input columns of the primary table and of the table ``event``.

    Without the attribute ``fields`` they follow from dtype, unit and name; numbers of things (``parent``,
    ``event_id``) are no features.

    Returns:
        Table to column to field, in the order of the schema's columns; tables without features are left out.

    Raises:
        DataError: The attribute names a column that is not there, or a field makes no sense.
    """
    said = schema.attributes.get("fields")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for table in dict.fromkeys((schema.primary, EVENT)):
        columns = {n: c for n, c in schema.tables.get(table, {}).items() if not c.label}
        if said is None:
            fields = {name: _default(name, column) for name, column in columns.items()}
        else:
            fields = {name: dict(how) for name, how in said.get(table, {}).items()}
            for name, how in fields.items():
                _check(name, how, columns, schema, where=f"attribute fields, {table}.{name}")
        if kept := {name: fields[name] for name in columns if fields.get(name)}:
            found[table] = kept
    return found


def classes_of(schema: PartSchema, vocabulary: str) -> tuple[ClassName, ...]:
    """The classes of a categorical field: those of the schema, else the ones known by name."""
    return tuple(schema.vocabularies.get(vocabulary) or _KNOWN[vocabulary])


def _check(
    name: str, how: Mapping[str, Any], columns: Mapping[str, Column], schema: PartSchema, *, where: str
) -> None:
    if name not in columns:
        raise DataError("there is no such input column", where=where, fix=did_you_mean(name, columns))
    if how.get("kind") not in KINDS:
        fix = did_you_mean(str(how.get("kind")), KINDS)
        raise DataError(f"there is no kind of field '{how.get('kind')}'", where=where, fix=fix)
    if how["kind"] == "periodic" and not how.get("period", 0) > 0:
        raise DataError("a periodic field needs a period above 0", where=where, fix="give its period")
    if how["kind"] == "categorical" and how.get("vocabulary") not in {**_KNOWN, **schema.vocabularies}:
        what = f"there is no vocabulary '{how.get('vocabulary', '')}'"
        fix = did_you_mean(str(how.get("vocabulary")), {**_KNOWN, **schema.vocabularies})
        raise DataError(what, where=where, fix=fix)


def _default(name: str, column: Column) -> dict[str, Any]:
    whole = column.dtype.startswith(("int", "uint", "bool"))
    if column.vocabulary:
        return {"kind": "categorical", "vocabulary": column.vocabulary}
    if column.lengths_of or (whole and (name in _NUMBERS_OF_THINGS or name.endswith(("_id", "_index")))):
        return {}
    if whole and (name == "pdg" or name.endswith("_pdg")):
        return {"kind": "categorical", "vocabulary": "pdg"}
    if name.startswith("phi") and column.unit in {"", "rad", "deg"}:
        return {"kind": "periodic", "period": 360.0 if column.unit == "deg" else 2 * math.pi}
    plain = name.split("_", maxsplit=1)[0]
    if column.unit.split("/")[0] in _SCALES and not column.shape and plain not in _SIGNED:
        return {"kind": "positive"}
    return {"kind": "continuous"}
