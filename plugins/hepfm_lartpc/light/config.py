"""What a detector file says of its light readout: detectors, sensors, electronics, trigger."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hepfm_lartpc.light.optics import Optics, Scintillation
from hepfm_lartpc.light.panels import PhotonDetectors, Volume, volume_of
from hepfm_lartpc.light.pulse import Pulse


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Afterpulsing(_Section):
    """Avalanches that follow another one in the same sensor."""

    probability: float = Field(default=0.0, ge=0, lt=1)
    """Mean number of afterpulses of an avalanche."""
    tau_ns: float = Field(default=100.0, gt=0)
    """Mean of their exponential delay."""


class Sensor(_Section):
    """What turns photons into charge: silicon photomultipliers, or a photomultiplier tube."""

    pulse: Pulse = Pulse()
    """What one photoelectron looks like."""
    pe_width: float = Field(default=0.1, ge=0, lt=1)
    """Spread (one sigma) of the charge of a photoelectron, over its mean."""
    dark_rate_hz: float = Field(default=0.0, ge=0)
    """Of a detector, all its sensors together."""
    crosstalk: float = Field(default=0.0, ge=0, lt=1)
    """Mean number of avalanches that one sets off at once. These do so too: n photoelectrons become
    n / (1 - crosstalk) on average, each of them a Borel number (Vinogradov, NIM A 695 (2012) 247)."""
    afterpulsing: Afterpulsing = Afterpulsing()
    """Later avalanches."""
    transit_spread_ns: float = Field(default=0.0, ge=0)
    """Spread (one sigma) of the time from photon to pulse."""
    cells: int | None = Field(default=None, gt=0)
    """Microcells of a detector: n avalanches within a sample give the charge of
    ``cells (1 - exp(-n / cells))``. None: linear."""

    @model_validator(mode="after")
    def _cascades_end(self) -> Self:
        if self.crosstalk + self.afterpulsing.probability >= 1:
            raise ValueError(
                f"crosstalk {self.crosstalk} and afterpulsing {self.afterpulsing.probability} add up to 1 or "
                "more: a photoelectron would never stop"
            )
        return self


class Digitizer(_Section):
    """From charge to ADC counts."""

    sample_ns: float = Field(default=16.0, gt=0)
    """Time between two samples."""
    steps: int = Field(default=2, gt=0, le=64)
    """Parts of a sample by which the time of a photoelectron is known to the pulse's shape."""
    samples: int = Field(default=1000, gt=0, le=1_000_000)
    """Of a waveform."""
    pretrigger: int = Field(default=100, ge=0)
    """Samples of a waveform before its trigger."""
    bits: int = Field(default=14, ge=4, le=16)
    """Of the converter, which clips at its ends."""
    signed: bool = False
    """Counts from -2^(bits - 1) in place of 0."""
    pedestal_adc: float = 1500.0
    """Baseline."""
    polarity: Literal["positive", "negative"] = "positive"
    """Where pulses go from the baseline."""
    noise_rms_adc: float = Field(default=2.0, ge=0)
    """White Gaussian noise of each sample."""

    def range_adc(self) -> tuple[int, int]:
        """Lowest and highest count."""
        return (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)

    @model_validator(mode="after")
    def _holds(self) -> Self:
        low, high = self.range_adc()
        if high >= 1 << 15:
            raise ValueError(
                "unsigned counts of 16 bits do not fit waveforms, which are int16: at most 15 bits"
            )
        if not low <= self.pedestal_adc <= high:
            raise ValueError(f"pedestal_adc {self.pedestal_adc} lies outside the converter's {low} to {high}")
        if self.pretrigger >= self.samples:
            raise ValueError(f"pretrigger {self.pretrigger} leaves nothing of {self.samples} samples")
        return self


class BeamTrigger(_Section):
    """One waveform of each detector around a fixed time."""

    kind: Literal["beam"] = "beam"
    time_ns: float = 0.0
    """Of the trigger."""


class SelfTrigger(_Section):
    """A waveform of each detector whenever all of them together see enough; waveforms do not overlap."""

    kind: Literal["self"] = "self"
    threshold_pe: float = Field(gt=0)
    """Charge in photoelectrons, summed over all detectors within the coincidence window."""
    coincidence_ns: float = Field(default=100.0, gt=0)
    """The window, rounded up to whole samples."""


class LightReadout(_Section):
    """The photon detectors and what follows them."""

    detectors: list[PhotonDetectors] = Field(min_length=1)
    """One by one, or in grids; numbered in this order, row by row."""
    volumes: list[Volume] = []
    """Parts of the argon that no light passes between (by an opaque cathode, say). Light from outside of all
    of them is not seen. Empty: light passes everywhere."""
    scintillation: Scintillation = Scintillation()
    """How argon shines."""
    optics: Optics = Optics()
    """What becomes of photons on their way."""
    sipm: Sensor = Sensor(crosstalk=0.1, afterpulsing=Afterpulsing(probability=0.02), dark_rate_hz=200.0)
    """Sensor of the detectors of this kind. Defaults are within what DUNE asks of its own at 87 K: at most
    0.2 Hz/mm2 of dark counts (here on 1,000 mm2), 35 % of crosstalk and 5 % of afterpulses."""
    pmt: Sensor = Sensor(
        pulse=Pulse(rise_ns=4.0, fall_ns=12.0), pe_width=0.3, dark_rate_hz=2000.0, transit_spread_ns=1.0
    )
    """Sensor of the detectors of this kind; an 8-inch tube as the Hamamatsu R5912 (2.4 ns of transit time
    spread, full width at half maximum)."""
    digitizer: Digitizer = Digitizer()
    """The electronics, the same for all detectors."""
    trigger: Annotated[BeamTrigger | SelfTrigger, Field(discriminator="kind")] = BeamTrigger()
    """When waveforms are taken."""

    def panels(self) -> list[PhotonDetectors]:
        """All detectors in the order of their numbers."""
        return [panel for entry in self.detectors for panel in entry.one_by_one()]

    def sensors(self) -> list[Sensor]:
        """The sensor of each detector."""
        return [self.sipm if panel.kind == "sipm" else self.pmt for panel in self.panels()]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.pmt.crosstalk:
            raise ValueError("pmt.crosstalk: a photomultiplier has no cells that could set off one another")
        if self.volumes:
            panels = self.panels()
            lost = [k for k, panel in enumerate(panels) if volume_of(panel, self.volumes) < 0]
            if lost:
                raise ValueError(f"photon detectors {lost} look into none of the volumes, at nothing")
        return self
