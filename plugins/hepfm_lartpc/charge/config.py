"""What a detector file says of its charge readout: wires or pixels, electronics, noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hepfm_lartpc.charge.drift import ElectronDrift


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class WirePlane(_Section):
    """A plane of parallel wires, the same in front of each anode; wires are centred on the anode's face."""

    name: str = Field(min_length=1)
    """As displays call it: U, V, W."""
    kind: Literal["induction", "collection"]
    """Whether electrons pass it or end on it."""
    angle_deg: float = Field(ge=-90, le=90)
    """From the vertical (y; z where electrons drift along y) towards the other axis of the face."""
    pitch_mm: float = Field(gt=0)
    """From wire to wire."""
    wires: int = Field(gt=0, le=100_000)
    """How many."""
    offset_mm: float = 0.0
    """Shift of the wires along the pitch."""
    height_mm: float = Field(default=0.0, ge=0)
    """Distance of the plane from the anode's face, against the drift."""


class WireElectronics(_Section):
    """Preamplifier, shaper and digitiser of a wire."""

    gain_mv_fc: float = Field(default=14.0, gt=0)
    """Height of the shaped pulse of a short charge (LArASIC has 4.7, 7.8, 14 and 25)."""
    shaping_us: float = Field(default=2.0, gt=0)
    """Peaking time (LArASIC has 0.5, 1, 2 and 3)."""
    adc_per_mv: float = Field(default=4096 / 2000, gt=0)
    """Counts for a millivolt: 12 bits over 2 V in MicroBooNE (JINST 12 (2017) P02017)."""
    bits: int = Field(default=12, ge=8, le=15)
    """Of the digitiser; it clips at its ends."""
    induction_pedestal_adc: float = 2048.0
    """Baseline of induction planes, whose pulses go both ways."""
    collection_pedestal_adc: float = 400.0
    """Baseline of collection planes."""

    @model_validator(mode="after")
    def _holds(self) -> Self:
        highest = (1 << self.bits) - 1
        for name in ("induction_pedestal_adc", "collection_pedestal_adc"):
            if not 0 <= getattr(self, name) <= highest:
                raise ValueError(f"{name} {getattr(self, name)} lies outside the digitiser's 0 to {highest}")
        return self


class CoherentNoise(_Section):
    """Noise that neighbouring channels share, as from a voltage regulator or a motherboard."""

    group: int = Field(default=48, gt=0)
    """Neighbouring channels of a plane that share it (48 in MicroBooNE, JINST 12 (2017) P08003)."""
    rms_adc: float = Field(default=0.5, ge=0)
    """Of a channel."""
    corner_khz: float = Field(default=30.0, gt=0)
    """Its power falls as ``1 / (1 + (f / corner)^2)``."""


class WireNoise(_Section):
    """Noise of a channel: what the shaper passes of the preamplifier's, and a white part behind it.

    The share of the power at a frequency f is
    ``(1 - white) |H(f)|^2 (1 + (knee / f)^slope) / norm + white / F``: H is the shaper's response, the norm
    makes the first part 1, and F is the number of frequencies.
    """

    induction_rms_adc: float = Field(default=2.4, ge=0)
    """Of a wire of an induction plane. MicroBooNE's full-length wires have 400 electrons, at a gain of
    14 mV/fC about 180 electrons an ADC count (JINST 12 (2017) P08003)."""
    collection_rms_adc: float = Field(default=1.8, ge=0)
    """Of a wire of a collection plane."""
    white: float = Field(default=0.1, ge=0, le=1)
    """Share of the power that is white, of the digitiser."""
    knee_khz: float = Field(default=15.0, ge=0)
    """Below it the preamplifier's noise rises."""
    slope: float = Field(default=1.0, ge=0, le=4)
    """How steeply."""
    coherent: CoherentNoise | None = None
    """Noise that channels share."""


class ZeroSuppression(_Section):
    """Keeps samples that stand out of the pedestal, with some before and after."""

    threshold_adc: float = Field(gt=0)
    """Distance from the pedestal, either way."""
    pad_ticks: int = Field(default=10, ge=0)
    """Samples that are kept on either side."""


class WireReadout(_Section):
    """Planes of wires, digitised continuously. Channels count through drift volumes, planes and wires."""

    kind: Literal["wires"] = "wires"
    planes: Annotated[list[WirePlane], Field(min_length=1)]
    """In the order that electrons pass them."""
    ticks: int = Field(gt=0, le=1_000_000)
    """Samples of a frame."""
    tick_ns: float = Field(default=500.0, gt=0)
    """Time between two samples."""
    trigger_offset_ticks: float = 0.0
    """Sample at which the event's time 0 lies."""
    drift: ElectronDrift = ElectronDrift()
    """How electrons come here."""
    electronics: WireElectronics = WireElectronics()
    """Of every wire."""
    noise: WireNoise | None = WireNoise()
    """None for noise-free frames."""
    bad_channels: list[int] = []
    """Channels that show their pedestal and nothing else."""
    zero_suppression: ZeroSuppression | None = None
    """None: whole frames."""
    response: Path | None = None
    """GARFIELD field responses in the format of Wire-Cell (JSON, also ``.bz2`` or ``.gz``); its planes are
    those of this readout, in order. None: a parametric response."""

    @property
    def wires(self) -> int:
        """Of all planes of a drift volume."""
        return sum(plane.wires for plane in self.planes)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        heights = [plane.height_mm for plane in self.planes]
        if heights != sorted(heights, reverse=True) or len(set(heights)) != len(heights):
            raise ValueError(f"planes: height_mm must fall from plane to plane, here {heights}")
        if any(plane.kind == "collection" for plane in self.planes[:-1]):
            raise ValueError("planes: behind a collection plane no electrons come; it must be the last")
        if any(channel < 0 for channel in self.bad_channels):
            raise ValueError("bad_channels: channels count from 0")
        names = [plane.name for plane in self.planes]
        if len(set(names)) != len(names):
            raise ValueError(f"planes: two have one name, {names}")
        return self


class PixelReadout(_Section):
    """Square pixels that trigger themselves, after LArPix (Dwyer et al., JINST 13 (2018) P10007).

    A pixel integrates its current. When the charge passes the threshold, it waits for ``sync_ticks`` and
    ``hold_ticks``, digitises the charge, and starts anew ``reset_ticks`` later; what came meanwhile is lost.
    """

    kind: Literal["pixels"] = "pixels"
    pitch_mm: float = Field(default=4.434, gt=0)
    """Of the pixels; they fill the anode from its lower corner on."""
    drift: ElectronDrift = ElectronDrift()
    """How electrons come here."""
    neighbours: int = Field(default=1, ge=0, le=3)
    """Pixels on each side of the collecting one whose induced current is followed."""
    clock_ns: float = Field(default=100.0, gt=0)
    """A tick."""
    threshold_e: float = Field(default=5000.0, gt=0)
    """Charge that triggers, in electrons."""
    sync_ticks: int = Field(default=3, ge=0)
    """Ticks from the trigger to the beginning of the hold."""
    hold_ticks: int = Field(default=15, ge=0)
    """Ticks during which charge is still integrated."""
    reset_ticks: int = Field(default=1, ge=0)
    """Ticks from the digitisation to the new start."""
    gain_mv_ke: float = Field(default=4.0, gt=0)
    """Millivolt for a thousand electrons."""
    pedestal_mv: float = 580.0
    """Voltage without charge."""
    v_cm_mv: float = 288.0
    """Lower end of the digitiser."""
    v_ref_mv: float = 1300.0
    """Upper end of the digitiser."""
    bits: int = Field(default=8, ge=4, le=15)
    """Of the digitiser; it clips at its ends."""
    reset_noise_e: float = Field(default=900.0, ge=0)
    """Spread of the charge that a reset leaves, in electrons (larnd-sim)."""
    readout_noise_e: float = Field(default=500.0, ge=0)
    """Noise of each digitisation, in electrons (larnd-sim)."""
    bad_channels: list[int] = []
    """Pixels that never trigger."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.v_ref_mv <= self.v_cm_mv:
            raise ValueError(f"v_ref_mv {self.v_ref_mv} must lie above v_cm_mv {self.v_cm_mv}")
        if not self.v_cm_mv <= self.pedestal_mv < self.v_ref_mv:
            raise ValueError(f"pedestal_mv {self.pedestal_mv} lies outside v_cm_mv to v_ref_mv")
        return self
