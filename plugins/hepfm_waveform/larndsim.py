"""larnd-sim's light: ``light_wvfm`` (triggers, channels, samples), ``light_trig``, ``light_wvfm_mc_assn``.

An event is a trigger. The truth of the simulation, the photocurrent at each sample, becomes a label.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Column
from hepfm.errors import DataError, RecipeError
from hepfm.readers import safety
from hepfm_waveform.h5 import H5Reader, has
from hepfm_waveform.reader import Array, Parts, whole_traces
from hepfm_waveform.schema import sample_type, waveform_schema

_TRUTH = "light_wvfm_mc_assn"
_CURRENT = Column(dtype="float32", unit="PE/us", label=True, doc="true photocurrent, of all segments")


class LarndsimReader(H5Reader):
    """Triggers of one file of larnd-sim with light.

    Channels are those that ``light_trig`` lists for the trigger; where it lists others than the waveforms
    have, their rows.

    Raises:
        DataError: An array is missing or of another shape than the format has.
        RecipeError: The time between samples is not given.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        sample_ns: float | None = Field(default=None, gt=0)
        """From one sample to the next, which the files do not say: 10 in module 0, 16 in the 2x2."""
        dataset: str = "light_wvfm"
        """The waveforms; light_wvfm/light_wvfm_mod0 in files whose modules were not merged."""

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file has ``light_wvfm`` and ``light_trig``."""
        return has(path, "light_wvfm", "light_trig")

    @classmethod
    def nearly(cls, path: Path) -> str:
        """Whether it holds hits of the charge readout, which are no waveforms."""
        with h5py.File(path, "r", locking="best-effort") as file:
            batches = [file[name] for name in file if name.startswith("batch_")]
            hits = "packets" in file or any(
                "pix_x" in batch[event] for batch in batches[:1] for event in batch
            )
        return "these are LArPix hits; of larnd-sim's output only light waveforms are read" if hits else ""

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.open(Path(path))
        self.options = options = config or self.Config()
        self._name = options.dataset
        found = self.numbers(self._name, (None, None, None))
        self.n_events, self._n_channels, self._n_samples = found.shape
        triggers = safety.dataset(self.file, "light_trig", path=self.path)
        where = f"{path}, field light_trig"
        if "op_channel" not in (triggers.dtype.names or ()):
            raise DataError("the triggers have no op_channel", where=where)
        if len(triggers) != self.n_events:
            what = f"{len(triggers)} triggers are listed, {self._name} has {self.n_events}"
            raise DataError(what, where=where, fix="make the file again")
        listed = triggers.dtype["op_channel"].shape or (1,)
        self._listed = listed == (self._n_channels,)
        truth = self._find_truth()
        if options.sample_ns is None:
            raise RecipeError(
                "larnd-sim's files do not say how far apart their samples of light are",
                where=str(path),
                fix="set the reader's option sample_ns (light_digit_sample_spacing of its detector "
                "properties): 10 in module 0, 16 in the 2x2",
            )
        self.parts = {
            "light": waveform_schema(
                sample_ns=options.sample_ns,
                dtype=sample_type(found.dtype, where=f"{path}, field {self._name}"),
                labels={"samples": {"pe_current": _CURRENT}} if truth else None,
            )
        }
        self.provenance = {
            "format": "larnd-sim light",
            "file": self.path.name,
            "options": options.model_dump(mode="json"),
        }

    def _find_truth(self) -> bool:
        """Whether there is truth; notes where each trigger's is."""
        self._dense, self._runs = False, np.zeros(self.n_events + 1, np.int64)
        if _TRUTH not in self.file:
            return False
        truth = safety.dataset(self.file, _TRUTH, path=self.path)
        names, where = set(truth.dtype.names or ()), f"{self.path}, field {_TRUTH}"
        if truth.ndim == 3 and "pe_current" in names:  # older files: an entry for each sample
            self._dense = True
            safety.expect(truth, path=self.path, shape=(self.n_events, self._n_channels, self._n_samples))
            return True
        if missing := {"trigger_id", "op_channel_id", "tick", "pe_current"} - names:
            raise DataError(f"the truth has no {', '.join(sorted(missing))}", where=where)
        with safety.reading(where):
            trigger = truth.fields("trigger_id")[:]
        if (np.diff(trigger) < 0).any():
            raise DataError("the truth does not stand in the order of triggers", where=where)
        self._runs = np.searchsorted(trigger, np.arange(self.n_events + 1))
        return True

    def lengths(self, part: str) -> Array:  # noqa: ARG002  there is one part
        """``(len,)`` int64 samples of each trigger, all alike."""
        return np.full(self.n_events, self._n_channels * self._n_samples, np.int64)

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:
        """The traces of all channels, and their truth."""
        channel = np.arange(self._n_channels)
        if self._listed:
            channel = self.values("light_trig", index)["op_channel"].reshape(-1)
        tables = whole_traces(self.values(self._name, index), channel)
        if not (labels and "pe_current" in self.parts["light"].tables["samples"]):
            return {"light": tables}, {}
        return {"light": tables}, {"light": {"samples": {"pe_current": self._current(index, channel)}}}

    def _current(self, index: int, channel: Array) -> Array:
        if self._dense:
            found = self.values(_TRUTH, index)["pe_current"]
            summed: Array = found.reshape(self._n_channels * self._n_samples, -1).sum(1)
            return summed
        rows = self.values(_TRUTH, slice(self._runs[index], self._runs[index + 1]))
        order = np.argsort(channel)
        at = order[np.searchsorted(channel, rows["op_channel_id"], sorter=order).clip(max=len(order) - 1)]
        tick = rows["tick"].astype(np.int64)
        if (channel[at] != rows["op_channel_id"]).any() or ((tick < 0) | (tick >= self._n_samples)).any():
            what = "the truth is of a channel or tick that the waveforms do not have"
            raise DataError(what, where=f"{self.path}, event {index}, field {_TRUTH}")
        size = self._n_channels * self._n_samples
        return np.bincount(at * self._n_samples + tick, rows["pe_current"], size)
