"""From the branches of a file of events to the columns of a part: found by their names, or named by options.

A branch is a number or a list of numbers for each event. Lists that belong together (``Jet_pt``, ``Jet_eta``;
``part_px``, ``part_py``; ``Px``, ``Py``; or the numbers ``pt1``, ``pt2``) are a collection of objects.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hepfm.errors import DataError, did_you_mean

CARTESIAN = ("px", "py", "pz")
POLAR = ("pt", "eta", "phi")
_ALIASES = {
    "e": "energy", "en": "energy", "m": "mass", "q": "charge",
    "pdgid": "pdg", "pdg_id": "pdg", "barcode": "pdg",
}  # fmt: skip
_KNOWN = {*CARTESIAN, *POLAR, "energy", "mass", "charge", "pdg"}
_TRUTH_COLLECTIONS = ("Gen*", "LHE*", "MC*", "Truth*", "TrigObj*")
_MAKERS = {"M1", "D1"}
"""Columns of true particles alone: their mothers and daughters, as Delphes calls them."""
_TRUTH = ("label*", "aux_*", "gen*", "Gen*", "LHE*", "MC*", "mc*", "truth*", "Truth*", "HTXS_*", "Pileup_*",
          "lepOut_*", "nuc_*", "weight", "weight_*", "*Weight", "L1PreFiringWeight_*", "process_ID", "evType",
          "*Flavour")  # fmt: skip
_SWITCHES = ("HLT_*", "L1_*", "Flag_*", "DST_*")
_NUMBERS = {"run", "event", "lumi", "luminosityblock", "runnumber", "eventnumber", "numruns", "numensembles",
            "bunchcrossing", "orbitnumber"}  # fmt: skip
_LABELS = "label_"
_MOST_NAMES = 60


class BranchConfig(BaseModel):
    """Which branches become which columns; by default found by their names."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: str = "structured"
    """Name of the part that the events get."""
    collections: tuple[str, ...] = ()
    """Collections whose objects are the rows (``[Muon, Jet]``); by default all that have momenta and are no
    truth. Of several, the column ``object`` says which, and there are the columns that all of them have."""
    particles: dict[str, str] = {}
    """Columns of the rows by hand, ``{column: branch}``, in place of collections."""
    fill: dict[str, float] = {}
    """Columns that some collections lack, and what stands there (``{charge: 0}``)."""
    event: tuple[str, ...] | None = None
    """Patterns of branches with one number an event that are read; by default all but trigger bits."""
    labels: tuple[str, ...] = ()
    """Patterns of what is truth, beside what is known as such by its name (``[isSignal, Jet_true*]``): of
    branches, and of the columns of objects."""
    inputs: tuple[str, ...] = ()
    """Patterns of what is no truth, whatever its name says (``[genWeight]``)."""
    kinds: dict[str, Literal["continuous", "positive", "periodic"]] = {}
    """How a model treats a column, where its name says it wrongly (``{iso: positive}``)."""
    classes: dict[str, dict[str, int]] = {}
    """Columns of integers that are classes, with their names (``{evType: {QE: 1, Delta: 2}}``)."""
    momentum: Literal["polar", "cartesian", "as-is"] = "polar"
    """Four-vectors as pt, eta, phi, mass; as px, py, pz, energy; or as the file has them."""
    energy_unit: str = "GeV"
    """The file's unit of energies and momenta."""
    order: str = ""
    """Column that rows are put in descending order of (pt); by default they stay as they are in the file.
    Branches that hold row numbers are not renumbered."""


@dataclass(frozen=True)
class Branch:
    """A branch: its numpy type, and whether it is a list (``-1``), a list of ``k``, or one number (``0``)."""

    dtype: str
    length: int = 0


@dataclass(frozen=True)
class Layout:
    """What is read.

    Attributes:
        collections: Collection to column to its branches: one, or one for each object of an event.
        event: Branches with one number an event, as they are named.
        classes: Names of a one-hot label, whose branches are ``label_NAME``.
        left_out: Branches that are not read.
    """

    collections: Mapping[str, Mapping[str, tuple[str, ...]]]
    event: tuple[str, ...]
    classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def branches(self) -> list[str]:
        """All branches that are read."""
        named = {b for columns in self.collections.values() for many in columns.values() for b in many}
        return sorted(named | set(self.event) | {_LABELS + name for name in self.classes})


def find_layout(branches: Mapping[str, Branch], config: BranchConfig, *, where: str) -> Layout:
    """The collections and numbers of a file.

    Args:
        branches: All that the file has and that can be read.
        config: What is asked for.
        where: The file and tree, for errors.

    Raises:
        DataError: A branch or collection that was named is not there, or none with momenta was found.
    """
    collections: dict[str, dict[str, tuple[str, ...]]]
    if config.particles:
        collections = {"": {c: (_named(b, branches, where),) for c, b in config.particles.items()}}
        _check_one_kind(collections[""], branches, where)
    else:
        collections = _chosen(_found(branches), config, branches, where)
    used = {b for columns in collections.values() for many in columns.values() for b in many}
    scalars = [name for name, branch in branches.items() if not branch.length and name not in used]
    if config.event is None:
        lists = {name for name, branch in branches.items() if branch.length}
        counters = {n + c for n in "nN" for c in lists | {_split(name)[0] for name in lists}}
        event = [s for s in scalars if s not in counters and not fits(s, _SWITCHES)]
    else:
        for pattern in config.event:
            if not any(fnmatchcase(s, pattern) for s in scalars):
                what = f"no branch with one number an event is called '{pattern}'"
                raise DataError(what, where=where, fix=did_you_mean(pattern, scalars))
        event = [s for s in scalars if fits(s, config.event)]
    one_hot = [s for s in event if s.startswith(_LABELS)]
    classes = tuple(s.removeprefix(_LABELS) for s in one_hot) if len(one_hot) > 1 else ()
    event = [s for s in event if not (classes and s in one_hot)]
    read = {*used, *event, *(_LABELS + c for c in classes)}
    return Layout(collections, tuple(event), classes, tuple(sorted(set(branches) - read)))


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def shortened(names: Iterable[str]) -> list[str]:
    """Names for a provenance, which has to stay small: NanoAOD has thousands of branches."""
    names = sorted(names)
    rest = len(names) - _MOST_NAMES
    return names if rest <= 0 else [*names[:_MOST_NAMES], f"and {rest} more"]


def is_truth(name: str, config: BranchConfig, branches: Iterable[str] = ()) -> bool:
    """Whether a column is a label: by its name, or because an option says so of it or of one of its branches.

    Names of branches do not count by themselves: who asks for the collection ``GenJet`` learns from it.
    """
    names = (name, *branches)
    if any(fits(one, config.inputs) for one in names):
        return False
    return fits(name, _TRUTH) or any(fits(one, config.labels) for one in names)


def is_number_of_event(branch: str) -> bool:
    """Whether a branch says which event it is, not what is in it."""
    return branch.lower() in _NUMBERS


def _named(branch: str, branches: Mapping[str, Branch], where: str) -> str:
    if branch not in branches:
        raise DataError(f"there is no branch '{branch}'", where=where, fix=did_you_mean(branch, branches))
    return branch


def _check_one_kind(
    columns: Mapping[str, tuple[str, ...]], branches: Mapping[str, Branch], where: str
) -> None:
    lengths = {b: branches[b].length for many in columns.values() for b in many}
    if len(set(lengths.values())) > 1:
        lists, others = ([b for b, n in lengths.items() if bool(n) == many] for many in (True, False))
        what = f"{lists[0]} is a list and {(others or lists[1:])[0]} is not, or of another length"
        raise DataError(what, where=where, fix="rows are made of branches of one shape")


def _split(branch: str) -> tuple[str, str]:
    """Collection and the rest of a branch's name: ``Jet_pt``, ``Jet.PT`` (Delphes), ``px``."""
    short = branch.rsplit("/", maxsplit=1)[-1]
    parts = re.split(r"[._]", short, maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else ("", short)


def column_of(stem: str) -> str:
    """The name of the column: that of the house for what all know, else as the file has it."""
    plain = _ALIASES.get(stem.lower(), stem.lower())
    return plain if plain in _KNOWN else stem.replace("/", "_")


def _found(branches: Mapping[str, Branch]) -> dict[str, dict[str, tuple[str, ...]]]:
    """All collections that have momenta."""
    lists: dict[tuple[str, int], dict[str, tuple[str, ...]]] = defaultdict(dict)
    # GiBUU's barcodes are PDG codes; where there are such, barcodes number particles.
    for name, branch in sorted(branches.items(), key=lambda item: _split(item[0])[1].lower() == "barcode"):
        if branch.length:
            collection, stem = _split(name)
            lists[collection, branch.length].setdefault(column_of(stem), (name,))
    found = {name: columns for (name, _), columns in lists.items() if _has_momenta(columns)}
    return found or _numbered(branches)


def _numbered(branches: Mapping[str, Branch]) -> dict[str, dict[str, tuple[str, ...]]]:
    """The collection of ``pt1, eta1, pt2, eta2``: the columns that all objects have, by their numbers."""
    objects: dict[int, dict[str, str]] = defaultdict(dict)
    for name, branch in branches.items():
        if not branch.length and (match := re.fullmatch(r"(.*?[A-Za-z])_?(\d+)", name)):
            objects[int(match[2])].setdefault(column_of(match[1]), name)
    numbers = [k for k in sorted(objects) if _has_momenta(objects[k])]
    if len(numbers) < 2:
        return {}
    shared = [c for c in objects[numbers[0]] if all(c in objects[k] for k in numbers)]
    return {"": {c: tuple(objects[k][c] for k in numbers) for c in shared}}


def _has_momenta(columns: Iterable[str]) -> bool:
    return set(POLAR) <= set(columns) or set(CARTESIAN) <= set(columns)


def _chosen(
    found: dict[str, dict[str, tuple[str, ...]]],
    config: BranchConfig,
    branches: Mapping[str, Branch],
    where: str,
) -> dict[str, dict[str, tuple[str, ...]]]:
    for name in config.collections:
        if config.collections.count(name) > 1:
            what = f"the collection '{name}' is named twice"
            raise DataError(what, where=f"{where}, option collections", fix="name each one once")
        if name not in found:
            what = f"there is no collection '{name}' with momenta (pt, eta, phi; or px, py, pz)"
            raise DataError(what, where=where, fix=did_you_mean(name, found))
    chosen = config.collections or [
        c for c, columns in found.items() if not fits(c, _TRUTH_COLLECTIONS) and not columns.keys() >= _MAKERS
    ]
    if not chosen:
        have = ", ".join(list(branches)[:12]) or "nothing that can be read"
        what = "no objects with momenta (pt, eta, phi; or px, py, pz) were found"
        raise DataError(what, where=where, fix=f"name them by option particles; the branches are: {have}")
    return {name: found[name] for name in chosen}
