"""The generator ``lartpc``: event i of a configuration and seed, in every modality, aligned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from hepfm.api import PartSchema, Sample
from hepfm.errors import DataError, RecipeError, did_you_mean
from hepfm_lartpc import schema, waveforms
from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.drift import drift_of
from hepfm_lartpc.charge.nest import nest_version
from hepfm_lartpc.charge.pixels import PixelPlanes
from hepfm_lartpc.charge.recombination import Recombination, Yields, yields
from hepfm_lartpc.charge.wires import WirePlanes
from hepfm_lartpc.coverage import doubts
from hepfm_lartpc.detector import Detector, load_detector
from hepfm_lartpc.event import Simulated
from hepfm_lartpc.frame import charge_frame, frame_of, light_frame
from hepfm_lartpc.geant4 import Geant4Config, Geant4Transport, geant4_version
from hepfm_lartpc.image import voxelise
from hepfm_lartpc.light.simulation import LightSimulation
from hepfm_lartpc.streams import stream
from hepfm_lartpc.tables import Split, image_tables, truth_tables
from hepfm_lartpc.transport import Transport, TransportConfig
from hepfm_lartpc.truth import classify
from hepfm_lartpc.vertices import Composer, CompositionConfig, RecordFile, preset


class LartpcGenerator:
    """Events of one detector. Tables are made for the first event, a few tenths of a second.

    Every step draws from streams of its own: what an event has in a part is the same whichever others are
    made with it.

    Raises:
        RecipeError: There is no such detector, composition or part.
        DataError: A file that the configuration names cannot be used.
    """

    class Config(BaseModel):
        """What is simulated."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        detector: str = "cube"
        """A detector by name (cube, module0, wire), or the path of a YAML file."""
        composition: str | None = None
        """What events begin with, by name: bombs (where nothing else is said), cosmics, geant4-sample."""
        vertices: CompositionConfig | None = None
        """The same in full, in place of a name: sources of particles, records of event generators."""
        image_deposits: Literal["path", "point"] = "path"
        """How a step's energy comes into the image: along its path, or all of it at its middle, as in
        simulations that add up steps."""
        transport: TransportConfig = TransportConfig()
        """Cuts and switches of the particle transport."""
        geant4: Geant4Config | None = None
        """Given, Geant4 follows the particles (extra ``geant4``, and its data files), instead of our own
        transport; an empty mapping takes its defaults."""
        recombination: Recombination = Recombination()
        """How many electrons escape, and how many photons the others make."""
        signal_adc: bool = False
        """Also the label ``signal_adc`` of each sample of wires and light: its counts above the pedestal as
        they are without noise of the electronics, and neither rounded nor clipped. Events are the same."""

        @model_validator(mode="before")
        @classmethod
        def _one_beginning(cls, said: Any) -> Any:
            if not isinstance(said, dict):
                return said
            name, vertices = said.get("composition"), said.get("vertices")
            if name is not None and vertices is not None:
                raise ValueError("vertices stand in place of a composition: leave one out, or set it to null")
            return {**said, "composition": "bombs"} if name is None and vertices is None else said

    parts: Mapping[str, PartSchema]

    def __init__(self, config: Config, *, seed: int, parts: Collection[str] | None = None) -> None:
        self.config, self._seed = config, seed
        self.detector: Detector = load_detector(config.detector)
        self._composition = config.vertices or preset(config.composition or "bombs")
        makers: dict[str, Callable[[_Event], Split]] = {
            "image3d": self._image,
            "charge": self._charge,
            "light": self._light,
            "truth": self._truth,
        }
        offered = [
            part
            for part in makers
            if not (part in ("charge", "light") and getattr(self.detector, part) is None)
        ]
        for part in parts or ():
            if part not in offered:
                raise RecipeError(
                    f"The detector '{self.detector.name}' has no part '{part}'.",
                    where="parts",
                    fix=did_you_mean(part, offered),
                )
        self._makers = {part: makers[part] for part in offered if parts is None or part in parts}
        self.parts = {part: self._schema(part) for part in self._makers}
        self.doubts = [*doubts(self.detector), *(self._planes.doubts if "charge" in self._makers else ())]

    def _schema(self, part: str) -> PartSchema:
        detector = self.detector
        if part == "image3d":
            return schema.image3d(detector.image, detector.name, frame=frame_of(detector))
        if part == "charge":
            return waveforms.charge_schema(
                self._planes,
                detector.name,
                frame=charge_frame(detector, self._planes),
                with_signal=self.config.signal_adc,
            )
        if part == "light":
            light = self._photon_detectors
            return waveforms.light_schema(
                light,
                detector.name,
                frame=light_frame(detector, light),
                with_signal=self.config.signal_adc,
            )
        return schema.truth(detector.name)

    def digest(self) -> str:
        """Of the configuration with all its defaults, the detector's numbers, and the bytes of their files.

        What events do not depend on is left out: where files lie, what a detector says about itself, and
        whether more is told of the same events (``signal_adc``).

        Raises:
            DataError: A file cannot be read.
        """
        said = {
            "detector": self.detector,
            "composition": self._composition,
            "transport": self.config.transport,
            "recombination": self.config.recombination,
        }
        plain: dict[str, Any] = {name: _contents(model.model_dump()) for name, model in said.items()}
        plain["image_deposits"] = self.config.image_deposits
        plain.update(self._libraries())
        for about in ("name", "summary", "sources"):
            del plain["detector"][about]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def _libraries(self) -> dict[str, Any]:
        """What events owe to libraries that are asked for: their versions, and Geant4's data sets."""
        used: dict[str, Any] = {}
        if self.config.recombination.model == "nest":
            used["nest"] = nest_version()
        if (geant4 := self.config.geant4) is not None:
            physics_list = geant4.physics_list if self._transport_config.nuclear else None
            sets = Geant4Transport.needs(geant4, physics_list)
            used["geant4"] = [
                geant4_version(),
                physics_list,
                geant4.production_cut_mm,
                *sorted(path.name for path in sets.values()),
            ]
        return used

    def records(self) -> dict[str, tuple[float, float]]:
        """The files of event generators, by digest, and the share of their records that events take.

        Raises:
            DataError: A file cannot be read.
        """
        taken: dict[str, tuple[float, float]] = {}
        for source in self._composition.sources:
            if isinstance(source, RecordFile):
                digest = str(_contents(source.path))
                first, stop = taken.get(digest, source.share)
                taken[digest] = min(first, source.share[0]), max(stop, source.share[1])
        return taken

    def counts(self) -> dict[str, int]:
        """Particles that files of event generators were allowed to lose, by PDG number, in this process."""
        skipped = self._composer.skipped if "_composer" in self.__dict__ else {}
        return {f"particles skipped, PDG number {pdg}": n for pdg, n in skipped.items()}

    def event(self, index: int) -> Sample:
        """Event ``index``: its image, waveforms and truth."""
        event = _Event(self, index)
        made = {part: make(event) for part, make in self._makers.items()}
        return Sample(
            parts={part: split.inputs for part, split in made.items()},
            labels={part: split.labels for part, split in made.items() if split.labels},
        )

    def close(self) -> None:
        """Ends Geant4's process, where there is one; nothing else is held open."""
        if isinstance(transport := self.__dict__.get("_transport"), Geant4Transport):
            transport.close()

    def simulate(self, index: int) -> tuple[Simulated, Yields]:
        """Tracks and deposits of event ``index``, and the electrons and photons of each deposit."""
        primaries = self._composer(self._seed, index)
        simulated = self._transport(primaries, stream(self._seed, "transport", index))
        detector = self.detector
        made = yields(
            simulated.deposits,
            detector.field_kv_cm,
            self.config.recombination,
            stream(self._seed, "recombination", index),
        )
        return simulated, made

    @cached_property
    def _composer(self) -> Composer:
        return Composer(self._composition, self.detector.low_mm, self.detector.high_mm)

    @property
    def _transport_config(self) -> TransportConfig:
        wanted, composition = self.config.transport, self._composition
        switches = {
            "nuclear": wanted.nuclear and composition.nuclear,
            "muon_capture": wanted.muon_capture and composition.muon_capture,
        }
        return wanted.model_copy(update=switches)

    @cached_property
    def _transport(self) -> Transport | Geant4Transport:
        low_mm, high_mm = self.detector.low_mm, self.detector.high_mm
        if self.config.geant4 is not None:
            return Geant4Transport(low_mm, high_mm, self._transport_config, self.config.geant4)
        return Transport(low_mm, high_mm, self._transport_config)

    @cached_property
    def _planes(self) -> WirePlanes | PixelPlanes:
        detector, readout = self.detector, self.detector.charge
        assert readout is not None
        drift = drift_of(
            readout.drift,
            field_kv_cm=detector.field_kv_cm,
            temperature_k=detector.temperature_k,
            lifetime_ms=detector.lifetime_ms,
        )
        if isinstance(readout, WireReadout):
            return WirePlanes(readout, detector.tpcs, drift)
        return PixelPlanes(readout, detector.tpcs, drift)

    @cached_property
    def _photon_detectors(self) -> LightSimulation:
        assert self.detector.light is not None
        return LightSimulation(self.detector.light, self.detector.low_mm, self.detector.high_mm)

    def _image(self, event: _Event) -> Split:
        particle, semantic = event.classes
        deposits = event.simulated.deposits
        if self.config.image_deposits == "point":
            middle = (deposits.start_mm + deposits.end_mm) / 2
            deposits = replace(deposits, start_mm=middle, end_mm=middle)
        image = voxelise(deposits, event.yields.electrons, particle, semantic, self.detector.image)
        return image_tables(image, event.simulated.tracks)

    def _truth(self, event: _Event) -> Split:
        return truth_tables(event.simulated.tracks, *event.classes)

    def _charge(self, event: _Event) -> Split:
        planes, seed, index = self._planes, self._seed, event.index
        deposits, electrons = event.simulated.deposits, event.yields.electrons
        s = stream(seed, "drift", index)
        if isinstance(planes, WirePlanes):
            frames = planes.read(
                deposits, electrons, seed=seed, event=index, s=s, with_signal=self.config.signal_adc
            )
            return waveforms.wire_tables(frames, planes)
        return waveforms.pixel_tables(planes.read(deposits, electrons, seed=seed, event=index, s=s), planes)

    def _light(self, event: _Event) -> Split:
        simulated, detectors = event.simulated, self._photon_detectors
        species = simulated.tracks.species[simulated.deposits.track]
        light = detectors(
            simulated.deposits, species, event.yields.photons, seed=self._seed, event=event.index
        )
        return waveforms.light_tables(light, detectors, with_signal=self.config.signal_adc)


def _contents(content: Any) -> Any:
    """A configuration with the digests of the files that it names in place of their paths."""
    if isinstance(content, dict):
        return {key: _contents(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_contents(value) for value in content]
    if not isinstance(content, Path):
        return content
    try:
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        what = f"a file that the configuration names cannot be read: {error.strerror}"
        raise DataError(what, where=str(content), fix="correct its path") from error


class _Event:
    """An event on its way: what several parts need is made once, when it is first asked for."""

    def __init__(self, generator: LartpcGenerator, index: int) -> None:
        self._generator, self.index = generator, index

    @cached_property
    def _made(self) -> tuple[Simulated, Yields]:
        return self._generator.simulate(self.index)

    @property
    def simulated(self) -> Simulated:
        return self._made[0]

    @property
    def yields(self) -> Yields:
        return self._made[1]

    @cached_property
    def classes(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The particle and the class of each track."""
        return classify(self.simulated.tracks)
