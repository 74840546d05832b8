"""JetNet HDF5: gluon, quark, top, W and Z jets of up to 30 or 150 particles.

``particle_features (N, M, 4)`` has etarel, phirel, ptrel relative to the jet, and a mask; ``jet_features
(N, 4)`` has pt, eta, mass and the number of particles. The class of the jets is in the file's name
(``t.hdf5``, ``q150.hdf5``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.api import ClassName
from hepfm.errors import DataError, did_you_mean
from hepfm.readers import safety
from hepfm.readers.handle import Handle
from hepfm_structured.blocks import Array, Rows, one_each
from hepfm_structured.padded import PaddedReader, has, numbers
from hepfm_structured.schema import field, part_schema

_TYPES = ("g", "q", "t", "w", "z")
_CLASSES = tuple(
    ClassName(value=k, name=name) for k, name in enumerate(("gluon", "light quark", "top", "W", "Z"))
)
_PARTICLES = {
    "etarel": field("float32", "continuous", doc="pseudorapidity from the jet's"),
    "phirel": field("float32", "continuous", unit="rad", doc="azimuth from the jet's"),
    "ptrel": field("float32", "positive", doc="share of the jet's transverse momentum"),
}
_JET = {
    "pt": field("float32", "positive", unit="GeV", doc="of the jet"),
    "eta": field("float32", "continuous", doc="of the jet"),
    "mass": field("float32", "positive", unit="GeV", doc="of the jet"),
    "num_particles": field("float32", "continuous", doc="of the jet, as the file has it"),
}


class JetnetReader(PaddedReader):
    """Jets of one JetNet file.

    Raises:
        DataError: A dataset is missing or of another shape than the format has.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "structured"
        """Name of the part that the jets get."""
        jet_type: str = ""
        """Class of the jets: g, q, t, w or z; by default as the file's name says (t.hdf5), else no label."""
        order: str = "ptrel"
        """Column that particles are put in descending order of; empty for the file's own order."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether it has the dataset ``particle_features``."""
        return has(path, "particle_features")

    def __init__(self, path: Path, config: Config | None = None) -> None:
        path = Path(path)
        options = config or self.Config()
        handle = Handle(path)
        n = len(numbers(handle, "particle_features", (None, None, 4)))
        others: tuple[str, ...] = ()
        event = {}
        with safety.reading(str(path)):
            has_jets = "jet_features" in handle.file()
        if has_jets:
            numbers(handle, "jet_features", (n, 4))
            others, event = ("jet_features",), dict(_JET)
        named = re.fullmatch(r"([gqtwz])(30|150)?", path.stem)
        kind = options.jet_type or (named[1] if named else "")
        if kind and kind not in _TYPES:
            what = f"there is no jet type '{kind}'"
            raise DataError(what, where=f"{path}, option jet_type", fix=did_you_mean(kind, _TYPES))
        self._type = _TYPES.index(kind) if kind else None
        if kind:
            event["type"] = field("int8", vocabulary="type", label=True, doc="what the jet began with")
        if options.order not in {"", *_PARTICLES}:
            what = f"option order: there is no column '{options.order}'"
            raise DataError(what, where=str(path), fix=did_you_mean(options.order, _PARTICLES))
        schema = part_schema(_PARTICLES, event, vocabularies={"type": _CLASSES}, order=options.order)
        super().__init__(
            handle,
            options,
            particles="particle_features",
            others=others,
            part=options.part,
            schema=schema,
            provenance={"format": "JetNet", "jet_type": kind},
        )

    def _real(self, particles: Array, start: int) -> Array:
        mask = particles[..., 3]
        if len(bad := np.flatnonzero(((mask != 0) & (mask != 1)).any(1))):
            what = f"the mask is {mask[bad[0]][(mask[bad[0]] != 0) & (mask[bad[0]] != 1)][0]}, not 0 or 1"
            raise DataError(what, where=f"{self.path}, event {start + bad[0]}, field particle_features")
        return np.asarray(mask == 1)

    def _tables(
        self,
        particles: Array,
        real: Array,
        others: Mapping[str, Array],
        start: int,  # noqa: ARG002  the mask is checked where it is read
    ) -> dict[str, Rows]:
        kept = particles[real]
        columns = {name: kept[:, k] for k, name in enumerate(_PARTICLES)}
        tables = {"particles": Rows(columns, real.sum(1))}
        event: dict[str, Array] = {}
        for jets in others.values():
            event |= {name: jets[:, k] for k, name in enumerate(_JET)}
        if self._type is not None:
            event["type"] = np.full(len(particles), self._type)
        return tables | ({"event": one_each(event)} if event else {})
