"""What a recipe may say of waveforms: preparation, patches, augmentations, losses."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class WaveformConfig(BaseModel):
    """What a recipe may say of a part of the kind ``waveform``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    pedestal: Literal["stored", "median"] = "stored"
    """What is subtracted: ``pedestal_adc`` as the data has it, or the median of each trace; the median, too,
    where the data has none."""
    noise_samples: int | None = Field(default=512, ge=16)
    """Traces of so many samples or more tell their noise themselves: the spread of samples within three
    standard deviations, by the median distance from the pedestal (MAD). None for zero-suppressed data, whose
    regions are signal."""
    noise_adc: float | None = Field(default=None, gt=0)
    """Noise (standard deviation, ADC) of the other traces; by default the schema's attribute ``noise_adc``,
    or else 1."""
    noise_floor_adc: float = Field(default=0.5, gt=0)
    """No estimate of the noise is smaller: digitised counts do not tell it."""
    coherent_channels: int | None = Field(default=None, ge=4)
    """Subtract the noise that so many consecutive channels of a plane share: at each tick the median of those
    without a signal. For traces that tell their noise; None switches it off."""
    adc_range: tuple[float, float] | None = None
    """Lowest and highest count of the digitiser: samples there are saturated. By default the schema's
    attribute ``adc_range``; without it, no sample is."""
    suppress_noise: float | None = Field(default=None, gt=0)
    """Windows in which no sample is further from the pedestal than so many times the noise make no token:
    zero suppression. None keeps all."""

    patch: int = Field(default=64, ge=2, le=4096)
    """Samples of a patch: a channel's window of so many ticks is a token."""
    geometry: Literal["channel", "position"] = "channel"
    """Where a patch is: time, number of the channel, and plane (wires), or time and ``position_mm`` (pixels,
    photon detectors)."""
    pitch_mm: float = Field(default=10.0, gt=0)
    """Distance of neighbours, for the geometry ``position``."""
    shared_axes: bool = True
    """Where the data tells the detector's axes (attribute ``frame``), units lie along them beside those of
    other parts that do; false keeps this part apart."""
    sample_width: int = Field(default=16, gt=0)
    """Width of the convolutions over samples."""
    sample_layers: int = Field(default=2, ge=0)
    """Convolutions with skip connections over the samples of a patch."""
    point_width: int = Field(default=16, gt=0)
    """Width of a sample's features in the light of its event, which tasks read beside the tokens."""

    gain: float = Field(default=0.05, ge=0, lt=1)
    """Augment with a factor on an event's heights above the pedestal, even in 1 -+ this. Where traces tell
    their noise it scales with them, and the model sees no difference."""
    shift_ticks: int = Field(default=64, ge=1)
    """Augment with a shift by 0 to one less than so many ticks, the same for all channels, which cuts pulses
    elsewhere; 1 switches it off."""
    noise: float = Field(default=0.0, ge=0)
    """Augment with noise of each trace's own spectrum, of up to so many times its noise."""
    drop_channels: float = Field(default=0.02, ge=0, lt=1)
    """Augment by taking away this share of the channels."""

    active_noise: Annotated[float, Field(gt=0)] = 4.0
    """A sample further from the pedestal than so many times the noise is active: there is a signal."""
    activity_weight: float = Field(default=1.5, ge=0)
    """Weight of the loss on which samples of a hidden patch are active."""
    amplitude_weight: float = Field(default=0.08, ge=0)
    """Weight of the loss on the compressed heights of active samples. With these weights, what learning
    nothing gets is about one for either term on zero-suppressed wires."""

    @model_validator(mode="after")
    def _range_has_room(self) -> Self:
        if self.adc_range is not None and self.adc_range[0] >= self.adc_range[1]:
            raise ValueError(f"adc_range {list(self.adc_range)}: the lowest count comes first")
        return self
