"""The waveform of one photoelectron: two exponentials, or as measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hepfm.errors import DataError

Floats = NDArray[np.float64]

_TAIL = 1e-4
"""The parametric pulse ends where it falls below this part of its peak."""


class Pulse(BaseModel):
    """What a photoelectron leaves at the digitiser, upwards from the baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    rise_ns: float = Field(default=30.0, gt=0)
    """Of the difference of two exponentials, ``exp(-t / fall_ns) - exp(-t / rise_ns)``."""
    fall_ns: float = Field(default=300.0, gt=0)
    """Longer than the rise."""
    adc_per_pe: float | None = Field(default=10.0, gt=0)
    """Height of the pulse of one photoelectron in ADC counts. None: that of the file."""
    file: Path | None = None
    """A measured pulse in place of the exponentials: ``.npy`` with one pulse, or the JSON of ProtoDUNE-HD's
    templates (16 ns a sample, ADC counts)."""
    file_sample_ns: float = Field(default=16.0, gt=0)
    """Time between two samples of the file."""
    channel: int | None = None
    """Which of the JSON's channels all detectors have. None: detector k has the k-th template."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.rise_ns >= self.fall_ns:
            raise ValueError(f"rise_ns {self.rise_ns} must be shorter than fall_ns {self.fall_ns}")
        if self.adc_per_pe is None and self.file is None:
            raise ValueError("adc_per_pe is needed where no file gives the height")
        return self

    def sampled(self, sample_ns: float, detector: int) -> Floats:
        """The pulse of a photoelectron at time 0: ``(L,)`` ADC counts at 0, 1, 2 ... samples.

        Where there is an `adc_per_pe`, it is the pulse's true peak; samples that miss it are lower.

        Raises:
            DataError: The file is missing, damaged, or has no such channel.
        """
        if self.file is None:
            values, peak = self._exponentials(sample_ns), 1.0
        else:
            measured = _measured(self.file, self.channel, detector)
            peak = float(measured.max())
            duration = (len(measured) - 1) * self.file_sample_ns
            times = np.arange(int(duration / sample_ns) + 1) * sample_ns
            values = np.interp(times, np.arange(len(measured)) * self.file_sample_ns, measured)
        return values if self.adc_per_pe is None else values * (self.adc_per_pe / peak)

    def _exponentials(self, sample_ns: float) -> Floats:
        rise, fall = self.rise_ns, self.fall_ns
        summit = np.log(fall / rise) * rise * fall / (fall - rise)
        height = np.exp(-summit / fall) - np.exp(-summit / rise)
        end = -fall * np.log(_TAIL * height)
        times = np.arange(int(np.ceil(end / sample_ns)) + 1) * sample_ns
        return np.asarray((np.exp(-times / fall) - np.exp(-times / rise)) / height)


def _measured(file: Path, channel: int | None, detector: int) -> Floats:
    try:
        if file.suffix == ".npy":
            content: Any = np.load(file, allow_pickle=False)
        else:
            content = _template(json.loads(file.read_text(encoding="utf-8")), channel, detector)
        values = np.asarray(content, np.float64)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(
            f"The pulse of a photoelectron cannot be read: {type(error).__name__}: {error}",
            where=f"{file}, channel {channel}" if channel is not None else str(file),
            fix="give a .npy file with one pulse, or ProtoDUNE's JSON of templates and one of its channels",
        ) from error
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or values.max() <= 0:
        raise DataError(
            f"The pulse of a photoelectron, of shape {values.shape}, is no list of numbers with a peak.",
            where=str(file),
        )
    return values


def _template(content: dict[str, Any], channel: int | None, detector: int) -> Any:
    templates = content["templates"]
    if channel is None:
        return templates[detector % len(templates)]["values"]
    return templates[content["template_index"][content["channels"].index(channel)]]["values"]
