"""OmniLearn and OmniLearned HDF5: jets of every experiment in one form.

``data (N, M, F)`` has delta eta and delta phi from the jet, log pt and log E in GeV, then what else is known
of a particle: its class, impact parameters. ``pid`` is the jet's class, a number or one-hot; ``global`` (in
older files ``jet``) has what belongs to the jet. Padding is zeros.
"""

from __future__ import annotations

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
from hepfm_structured.schema import Field, field, part_schema

_KINEMATICS = {
    "deta": field("float32", "continuous", doc="pseudorapidity from the jet's"),
    "dphi": field("float32", "continuous", unit="rad", doc="azimuth from the jet's"),
    "pt": field("float32", "positive", unit="GeV"),
    "energy": field("float32", "positive", unit="GeV"),
}
_MORE = ("pid", "tanh_d0", "d0_error", "tanh_dz", "dz_error")
"""What stands behind the kinematics in files with 5 or 9 features."""
_N_PID = 16


class OmnilearnReader(PaddedReader):
    """Jets of one OmniLearn file.

    Raises:
        DataError: A dataset is missing or of another shape than the format has.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "structured"
        """Name of the part that the jets get."""
        features: tuple[str, ...] | None = None
        """Names of the features after the first four; by default pid, tanh_d0, d0_error, tanh_dz, dz_error as
        far as there are 5 or 9, else feature_4 and so on. One called pid is a class."""
        globals: tuple[str, ...] = ()
        """Names of the jet's features; by default global_0 and so on."""
        classes: tuple[str, ...] = ()
        """Names of the jets' classes, from 0; by default the label is a number."""
        order: str = "pt"
        """Column that particles are put in descending order of; empty for the file's own order."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether it has the datasets ``data`` and ``pid``."""
        return has(path, "data", "pid")

    def __init__(self, path: Path, config: Config | None = None) -> None:
        path = Path(path)
        options = config or self.Config()
        handle = Handle(path)
        n, _, width = numbers(handle, "data", (None, None, None)).shape
        if width < 4:
            what = f"wanted 4 features or more (delta eta, delta phi, log pt, log E), found {width}"
            raise DataError(what, where=f"{path}, field data")
        self._more = self._names(options.features, width - 4, path)
        particles: dict[str, Field] = dict(_KINEMATICS)
        vocabularies = {"pid": tuple(ClassName(value=k, name=f"class {k}") for k in range(_N_PID))}
        for name in self._more:
            particles[name] = (
                field("int8", "categorical", vocabulary="pid", doc="class of the particle")
                if name == "pid"
                else field("float32", "continuous")
            )
        event: dict[str, Field] = {}
        self._globals: tuple[str, ...] = ()
        with safety.reading(str(path)):
            self._global = next((name for name in ("global", "jet") if name in handle.file()), "")
        if self._global:
            count = numbers(handle, self._global, (n, None)).shape[1]
            self._globals = options.globals or tuple(f"global_{k}" for k in range(count))
            if len(self._globals) != count:
                what = f"option globals has {len(self._globals)} names, the file {count} features of the jet"
                raise DataError(what, where=f"{path}, field {self._global}", fix="name them all")
            event = {name: field("float32", "continuous") for name in self._globals}
        pid = safety.dataset(handle.file(), "pid", path=path)
        numbers(handle, "pid", (n,) if pid.ndim == 1 else (n, None))
        vocabularies["label"] = tuple(ClassName(value=k, name=c) for k, c in enumerate(options.classes))
        vocabulary = "label" if options.classes else ""
        event["label"] = field("int16", vocabulary=vocabulary, label=True, doc="class of the jet")
        for option, names in (
            ("features", [*_KINEMATICS, *self._more]),
            ("globals", [*self._globals, "label"]),
        ):
            if twice := [name for k, name in enumerate(names) if name in names[:k]]:
                what = f"option {option}: the name '{twice[0]}' is there already"
                raise DataError(what, where=str(path), fix="give each feature a name of its own")
        if options.order not in {"", *particles}:
            what = f"option order: there is no column '{options.order}'"
            raise DataError(what, where=str(path), fix=did_you_mean(options.order, particles))
        others = ("pid", self._global) if self._global else ("pid",)
        super().__init__(
            handle,
            options,
            particles="data",
            others=others,
            part=options.part,
            schema=part_schema(particles, event, vocabularies=vocabularies, order=options.order),
            provenance={"format": "OmniLearn", "features": width},
        )

    @staticmethod
    def _names(asked: tuple[str, ...] | None, count: int, path: Path) -> tuple[str, ...]:
        if asked is None:
            return _MORE[:count] if count in {0, 1, 5} else tuple(f"feature_{k + 4}" for k in range(count))
        if len(asked) != count:
            what = f"option features has {len(asked)} names, the file {count} features after the first four"
            raise DataError(what, where=f"{path}, field data", fix="name them all")
        return asked

    def _real(self, particles: Array, start: int) -> Array:  # noqa: ARG002  zeros are padding everywhere
        return np.asarray((particles[..., :4] != 0).any(2))

    def _tables(
        self, particles: Array, real: Array, others: Mapping[str, Array], start: int
    ) -> dict[str, Rows]:
        kept = particles[real].astype(np.float64)
        columns = {"deta": kept[:, 0], "dphi": kept[:, 1]}
        with np.errstate(over="ignore"):
            columns |= {"pt": np.exp(kept[:, 2]), "energy": np.exp(kept[:, 3])}
        columns |= {name: kept[:, 4 + k] for k, name in enumerate(self._more)}
        if "pid" in self._more:
            self._check_whole(columns["pid"], _N_PID, real.sum(1), start, "data, feature pid")
        label = self._label(others["pid"], start)
        event = (
            {name: others[self._global][:, k] for k, name in enumerate(self._globals)} if self._global else {}
        )
        return {"particles": Rows(columns, real.sum(1)), "event": one_each({**event, "label": label})}

    def _label(self, pid: Array, start: int) -> Array:
        """``(B,)`` classes of jets, from numbers ``(B,)`` or ``(B, 1)`` or one-hot ``(B, K)``."""
        if pid.ndim == 2 and pid.shape[1] > 1:
            hot = (pid == 1) & ((pid != 0).sum(1) == 1)[:, None]
            if len(bad := np.flatnonzero(~hot.any(1))):
                what = f"wanted a 1 among zeros, found {pid[bad[0]].tolist()}"
                raise DataError(what, where=f"{self.path}, event {start + bad[0]}, field pid")
            return np.asarray(hot.argmax(1))
        label = pid.reshape(len(pid))
        self._check_whole(label, 1 << 15, np.ones(len(label), np.int64), start, "pid")
        return label

    def _check_whole(self, values: Array, end: int, lengths: Array, start: int, name: str) -> None:
        """Refuses classes that are not whole numbers from 0 on."""
        bad = np.flatnonzero(~((values >= 0) & (values < end)) | (np.rint(values) != values))
        if len(bad):
            event = start + int(np.searchsorted(lengths.cumsum(), bad[0], side="right"))
            what = f"wanted a class from 0 to {end - 1}, found {values[bad[0]]}"
            raise DataError(what, where=f"{self.path}, event {event}, field {name}")
