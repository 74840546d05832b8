"""LEGEND's hit tier: photoelectrons in the traces of SiPMs, which are truth to a model of raw samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hepfm.api import Column
from hepfm.readers import safety
from hepfm.readers.handle import Handle
from hepfm_waveform.reader import Array

PULSES = {
    "trace": Column(dtype="int32", label=True, doc="row of traces, counted within the event"),
    "tick": Column(dtype="float32", label=True, doc="sample where the pulse begins"),
    "photoelectrons": Column(dtype="float32", label=True, doc="energy_in_pe of the hit tier"),
    "valid": Column(dtype="uint8", label=True, doc="is_valid_hit of the hit tier"),
}
_FIELDS = {"tick": "trigger_pos", "photoelectrons": "energy_in_pe", "valid": "is_valid_hit"}


class HitTier:
    """The hit tier of the same rows as a file of the raw tier.

    Args:
        path: The file; or its folder, where the raw tier's name has ``tier_hit`` in place of ``tier_raw``.
        raw: The file of the raw tier.

    Raises:
        DataError: It is absent, or damaged.
    """

    def __init__(self, path: Path, raw: Path) -> None:
        self.path = path / raw.name.replace("tier_raw", "tier_hit") if path.is_dir() else path
        self._handle = Handle(self.path)
        self._handle.file()

    def has_light(self, channel: int) -> bool:
        """Whether the channel is a SiPM: its hits are photoelectrons."""
        return f"ch{channel}/hit/energy_in_pe" in self._handle.file()

    def pulses(self, row: int, channels: Sequence[int], *, rows: int) -> dict[str, Array]:
        """Columns of `PULSES` of the traces of these channels.

        Args:
            row: Of the raw tier.
            channels: In the order of the traces.
            rows: That the raw tier has.

        Raises:
            DataError: A channel or field is missing, or has another number of rows.
        """
        pulses: dict[str, list[Array]] = {name: [np.empty(0)] for name in PULSES}
        for trace, channel in enumerate(channels):
            found: dict[str, Array] = {}
            for column, name in _FIELDS.items():
                field = f"ch{channel}/hit/{name}"
                dataset = safety.dataset(self._handle.file(), field, path=self.path)
                safety.expect(dataset, path=self.path, shape=(rows, None))
                with safety.reading(f"{self.path}, event {row}, field {field}"):
                    found[column] = dataset[row]
            there = np.isfinite(found["tick"]) & np.isfinite(found["photoelectrons"])  # rows are padded
            pulses["trace"].append(np.full(int(there.sum()), trace))
            for column, values in found.items():
                pulses[column].append(values[there])
        return {name: np.concatenate(parts) for name, parts in pulses.items()}

    def close(self) -> None:
        """Closes the file."""
        self._handle.close()
