"""TrackML CSV: a folder of ``eventNNN-hits.csv``, each with its ``-truth.csv`` and ``-particles.csv``.

Plain or ``.csv.gz``. An event is a file of hits; cells and the detector's modules are not read. A hit of no
particle has particle_id 0, and what the file says of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.api import ClassName
from hepfm.errors import DataError, did_you_mean
from hepfm.random import stable_id
from hepfm.readers.digest import file_digest
from hepfm_structured.blocks import Array, BlockReader, Rows
from hepfm_structured.schema import Field, field, part_schema

_NAME = re.compile(r"(event\d+)-(hits|truth|particles)\.csv(\.gz)?")
_VOLUMES = (7, 8, 9, 12, 13, 14, 16, 17, 18)
_LAYERS = tuple(range(2, 15, 2))
_HITS = {
    "x": ("x", field("float32", "continuous", unit="mm")),
    "y": ("y", field("float32", "continuous", unit="mm")),
    "z": ("z", field("float32", "continuous", unit="mm")),
    "volume": ("volume_id", field("int16", "categorical", vocabulary="volume")),
    "layer": ("layer_id", field("int16", "categorical", vocabulary="layer", doc="within the volume")),
    "module": ("module_id", field("int32", "continuous", doc="within the layer")),
}


def _truth(dtype: str, unit: str = "", doc: str = "") -> Field:
    return field(dtype, unit=unit, doc=doc, label=True)


_TRUTH = {
    "particle_id": ("particle_id", _truth("int64", doc="that made the hit; 0 for none")),
    **{
        f"true_{a}": (f"t{a}", _truth("float32", "mm", "where the particle crossed the module"))
        for a in "xyz"
    },
    **{f"true_p{a}": (f"tp{a}", _truth("float32", "GeV", "the particle's momentum there")) for a in "xyz"},
    "weight": ("weight", _truth("float64", doc="of the hit in the challenge's score")),
}
_TRACKS = {
    "particle_id": ("particle_id", _truth("int64")),
    "pdg": ("particle_type", _truth("int32", doc="PDG code")),
    **{f"v{a}": (f"v{a}", _truth("float32", "mm", "where it was made")) for a in "xyz"},
    **{f"p{a}": (f"p{a}", _truth("float32", "GeV", "when it was made")) for a in "xyz"},
    "charge": ("q", _truth("int8")),
    "n_hits": ("nhits", _truth("int32")),
}
_OPTIONAL = {"particle_type"}
"""Not in the files of the challenge itself."""


class TrackmlReader(BlockReader):
    """Events of one folder.

    Raises:
        DataError: A file is missing, damaged, or lacks a column; hits and truth are not of the same hits.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "structured"
        """Name of the part that the events get."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether it is a folder with a file of hits."""
        return path.is_dir() and any(
            (match := _NAME.fullmatch(p.name)) and match[2] == "hits" for p in path.iterdir()
        )

    def __init__(self, path: Path, config: Config | None = None) -> None:
        path = Path(path)
        options = config or self.Config()
        if not path.is_dir():
            what = "there is no such folder" if not path.exists() else "this is no folder of TrackML's files"
            raise DataError(what, where=str(path), fix="name the folder with the files event...-hits.csv")
        files: dict[str, dict[str, Path]] = {}
        for file in sorted(path.iterdir()):
            if match := _NAME.fullmatch(file.name):
                files.setdefault(match[1], {})[match[2]] = file
        self._per_event = [kinds for kinds in files.values() if "hits" in kinds]
        if not self._per_event:
            raise DataError("there is no file event...-hits.csv", where=str(path), fix="name another folder")
        self._kinds = {kind for kinds in self._per_event for kind in kinds}
        for kinds in self._per_event:
            if missing := sorted(self._kinds - kinds.keys()):
                what = f"the event has no {missing[0]}, others of the folder do"
                raise DataError(what, where=str(kinds["hits"]), fix="add the file, or remove those of others")
        self._headers = {kind: _header(self._per_event[0][kind]) for kind in self._kinds}
        hits = {name: f for name, (_, f) in _HITS.items()}
        if "truth" in self._kinds:
            hits |= {name: f for name, (_, f) in _TRUTH.items()}
        schema = part_schema(
            hits,
            primary="hits",
            vocabularies={
                "volume": tuple(ClassName(value=v, name=f"volume {v}") for v in _VOLUMES),
                "layer": tuple(ClassName(value=v, name=f"layer {v}") for v in _LAYERS),
            },
            tables={"tracks": {n: f for n, (_, f) in self._track_columns().items()}}
            if "particles" in self._kinds
            else {},
        )
        super().__init__(
            path,
            options,
            part=options.part,
            schema=schema,
            n=len(self._per_event),
            provenance={"format": "TrackML", "files": sorted(self._kinds)},
            block=1,
        )

    def _track_columns(self) -> dict[str, tuple[str, Field]]:
        missing = _OPTIONAL - set(self._headers["particles"])
        return {name: column for name, column in _TRACKS.items() if column[0] not in missing}

    def _files(self) -> list[Path]:
        return [kinds[kind] for kinds in self._per_event for kind in sorted(kinds)]

    def _ids(self, indices: Sequence[int]) -> Array:
        # Of the event's own file: another event in the folder changes none.
        digests = [file_digest(self._per_event[int(i)]["hits"]) for i in indices]
        return np.array([stable_id(digest, 0) for digest in digests], np.uint64)

    def _load(self, start: int, stop: int) -> Mapping[str, Rows]:
        events = [self._event(kinds) for kinds in self._per_event[start:stop]]
        return {
            table: Rows(
                {c: np.concatenate([e[table][c] for e in events]) for c in events[0][table]},
                np.array([len(next(iter(e[table].values()))) for e in events], np.int64),
            )
            for table in events[0]
        }

    def _event(self, kinds: Mapping[str, Path]) -> dict[str, dict[str, Array]]:
        hits = _read(kinds["hits"], {"hit_id": "int64"} | _types(_HITS))
        hit_id = hits.pop("hit_id")
        tables = {"hits": _renamed(hits, _HITS)}
        if "truth" in kinds:
            truth = _read(kinds["truth"], {"hit_id": "int64"} | _types(_TRUTH))
            if not np.array_equal(truth.pop("hit_id"), hit_id):
                what = f"the truth is of other hits than {kinds['hits'].name} has"
                raise DataError(what, where=str(kinds["truth"]), fix="get both files again")
            tables["hits"] |= _renamed(truth, _TRUTH)
        if "particles" in kinds:
            columns = self._track_columns()
            tables["tracks"] = _renamed(_read(kinds["particles"], _types(columns)), columns)
        return tables

    def _count(self) -> Array:
        return np.array(
            [len(_read(k["hits"], {"hit_id": "int64"})["hit_id"]) for k in self._per_event], np.int64
        )


def _types(columns: Mapping[str, tuple[str, Field]]) -> dict[str, str]:
    return {source: f.column.dtype for source, f in columns.values()}


def _renamed(found: Mapping[str, Array], columns: Mapping[str, tuple[str, Field]]) -> dict[str, Array]:
    return {name: found[source] for name, (source, _) in columns.items()}


def _header(path: Path) -> list[str]:
    return list(_csv(path, {}).column_names)


def _read(path: Path, types: Mapping[str, str]) -> dict[str, Array]:
    """Columns of a CSV file, with these types."""
    table = _csv(path, types)
    found = {}
    for name in types:
        if name not in table.column_names:
            what = f"there is no column '{name}'"
            raise DataError(what, where=str(path), fix=did_you_mean(name, table.column_names))
        if table[name].null_count:
            raise DataError(f"column {name} has empty entries", where=str(path), fix="get the file again")
        found[name] = table[name].to_numpy()
    return found


def _csv(path: Path, types: Mapping[str, str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    kinds = {name: pa.from_numpy_dtype(dtype) for name, dtype in types.items()}
    try:
        return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=kinds))
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"the file is no whole CSV ({str(error).strip().splitlines()[:1]})"
        raise DataError(what, where=str(path), fix="get it again") from error
