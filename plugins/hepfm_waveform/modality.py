"""The modality ``waveform``: samples of channels over time, of charge or of light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import BaseModel

from hepfm.api import PartSchema, Pieces, RaggedTable, RaggedTables, Target, Units
from hepfm.nn.ragged import segment_sum
from hepfm.random import Draws
from hepfm_waveform import augment
from hepfm_waveform.checks import check_evenness, check_schema
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.decoder import PatchDecoder, hidden_samples
from hepfm_waveform.frame import RUN, axes_of, places_of, runs_of
from hepfm_waveform.prepare import compress, ends_of, noises, pedestals, prepare, saturated
from hepfm_waveform.rebuild import tables_of
from hepfm_waveform.tokenizer import PatchTokenizer
from hepfm_waveform.traces import Traces
from hepfm_waveform.windows import Windows, windows_of


class Waveform:
    """Channels cut into patches of samples; a patch is a unit that can be hidden, and a token.

    Raises:
        DataError: The schema lacks a column or attribute that waveforms need, or has it of another type.
    """

    Config: ClassVar[type[BaseModel]] = WaveformConfig

    def __init__(self, config: WaveformConfig, schema: PartSchema) -> None:
        check_schema(schema, config)
        self.config = config
        self.schema = schema
        self.sample_ns = float(schema.attributes["sample_ns"])
        self.ends = ends_of(config, schema.attributes)
        self.axes = axes_of(schema) if config.shared_axes else ()
        self.piece_width = RUN * config.point_width
        self.n_positions: int = 3 if config.geometry == "channel" else 4

    def select(self, tables: RaggedTables) -> Mapping[str, Any]:
        """Keeps every row. Raises `DataError` for traces that do not fit the samples or the period."""
        check_evenness(tables, self.sample_ns)
        return {}

    def augment(self, tables: RaggedTables, draws: Draws) -> RaggedTables:
        """For each event one gain and one shift; noise, and channels that are lost.

        True signals in ADC, where a task learns them, take the gain. Charge does not: keep the gain fixed
        where it is learned.
        Samples of lost channels are NaN: rows stay what they are, and no token is made of them.
        """
        config, attributes = self.config, self.schema.attributes
        traces, table = Traces.of(tables), tables["traces"]
        pedestal = traces.at_samples(pedestals(traces, tables, config))
        height = traces.adc - pedestal
        factor = traces.at_samples(augment.gain(draws, config.gain)[traces.event])
        changed = factor * height
        if config.noise:
            noise, _ = noises(traces, height, config, attributes)
            changed = changed + augment.alike_noise(draws, traces, height, noise, config.noise)
        adc = pedestal + changed
        # The digitiser clips, and what it has clipped stays so.
        adc = adc.clamp(*self.ends).where(~saturated(traces.adc, self.ends), traces.adc)
        lost = augment.lost(draws, traces, config.drop_channels)
        columns = {**table.columns}
        ticks = augment.shift(draws, config.shift_ticks)[traces.event]
        columns["start_tick"] = columns["start_tick"].long() + ticks
        if "time_ns" in columns:
            later = ticks.double() * self.sample_ns
            columns["time_ns"] = columns["time_ns"] + later.to(columns["time_ns"].dtype)
        samples = {**tables["samples"].columns, "adc": adc.where(~traces.at_samples(lost), torch.nan)}
        for name, column in self.schema.tables["samples"].items():
            if column.label and column.unit == "ADC" and name in samples:
                samples[name] = factor * samples[name]
        return {
            **tables,
            "samples": RaggedTable(samples, tables["samples"].offsets),
            "traces": RaggedTable(columns, table.offsets),
        }

    def units(self, tables: RaggedTables) -> Units:
        """The windows of each event that hold a known sample, in order of plane, channel and time.

        Positions are, for the geometry ``channel``, the numbers of window, channel and plane; for
        ``position`` the number of the window, and x, y, z in pitches.
        """
        config = self.config
        prepared = prepare(tables, config, self.schema.attributes)
        windows = windows_of(
            prepared, tables["traces"], tables["samples"].offsets, patch=config.patch, ends=self.ends
        )
        if config.suppress_noise is not None:
            height = compress(torch.tensor(config.suppress_noise))
            windows = windows.keep((windows.value.abs() > height.to(windows.value.device)).any(1))
        groups = {"channel": (windows.plane.clamp_min(0) << 32) | (windows.channel & 0xFFFFFFFF)}
        if "plane" in self.schema.tables["traces"]:  # else all would be one, of which nothing can be hidden
            groups["plane"] = windows.plane
        return Units(
            positions=self._positions(windows),
            places=places_of(windows, self.schema.attributes) if self.axes else {},
            offsets=windows.offsets,
            payload=windows,
            groups=groups,
        )

    def pieces(self, units: Units, visible: torch.Tensor, features: torch.Tensor) -> Pieces:
        """Runs of a few samples of the visible patches, of those that are known."""
        return runs_of(units.payload.keep(visible), features, self.schema.attributes)

    def target(self, units: Units, hidden: torch.Tensor) -> Target:
        """Activity and heights of the hidden patches' samples; saturated ones are not asked for."""
        active = float(compress(torch.tensor(self.config.active_noise)))
        return hidden_samples(units.payload, hidden, active_value=active)

    def amount(self, units: Units) -> torch.Tensor:
        """``(B,)`` counts above the pedestals, of all known samples."""
        windows = units.payload
        height = (windows.adc - windows.pedestal_adc[:, None]).where(windows.known, 0.0)
        return segment_sum(height.double().sum(1), units.offsets)

    def visible_tables(self, units: Units, visible: torch.Tensor) -> RaggedTables:
        """The known samples of the patches of a mask, as traces that end where a patch is missing."""
        windows = units.payload.keep(visible)
        return tables_of(windows, windows.adc, sample_ns=self.sample_ns)

    def tokenizer(self, d_model: int) -> PatchTokenizer:
        """Convolutions over samples, then a linear layer over a patch."""
        return PatchTokenizer(
            d_model,
            patch=self.config.patch,
            n_positions=self.n_positions,
            width=self.config.sample_width,
            layers=self.config.sample_layers,
            point_width=self.config.point_width,
        )

    def decoder(self, d_model: int) -> PatchDecoder:
        """Activity and height of each sample of a hidden patch."""
        names = self.schema.vocabularies.get("plane", ())
        return PatchDecoder(
            d_model,
            patch=self.config.patch,
            point_width=self.config.point_width,
            n_planes=max((entry.value + 1 for entry in names), default=1),
            sample_ns=self.sample_ns,
            terms={"activity": self.config.activity_weight, "amplitude": self.config.amplitude_weight},
        )

    def _positions(self, windows: Windows) -> torch.Tensor:
        time = windows.window.float()[:, None]
        if self.config.geometry == "position":
            place = windows.traces.columns["position_mm"][windows.trace].float()
            return torch.cat((time, place / self.config.pitch_mm), 1)
        return torch.cat((time, windows.channel.float()[:, None], windows.plane.float()[:, None]), 1)
