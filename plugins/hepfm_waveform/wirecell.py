"""WireCell frames: ``frame_TAG_N.npy``, ``channels_TAG_N.npy`` and ``tickinfo_TAG_N.npy`` in a zip or tar.

A frame has a row for each channel and a column for each tick. ``tickinfo`` is its time, the length of a
tick (both in WireCell's unit of time, ns) and the number of its first tick. ``chanmask_NAME_N`` has a row
(channel, first tick, last tick + 1) for each stretch of bad ticks, counted as that number is. An event is a
frame, by its number N; frames of other tags are the same event at other stages of its processing. Deconvolved
frames are zero where there is no charge: their pedestal is 0, that of raw frames is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.errors import DataError, did_you_mean
from hepfm_waveform.frames import good_ticks, near_signal, stretches
from hepfm_waveform.npy import NpyArchive, first_name
from hepfm_waveform.reader import Array, Parts, WaveformReader, whole
from hepfm_waveform.schema import plane_of, sample_type, waveform_schema

_MEMBER = re.compile(r"(frame|channels|tickinfo|summary|chanmask)_.*\.npy")
_FRAME = re.compile(r"frame_(.*)_(-?\d+)")
_DECONVOLVED = ("gauss", "wiener", "dnnsp", "decon")
"""How tags of frames begin whose samples are charge, in electrons."""


class WirecellReader(WaveformReader):
    """Frames of one tag. Ticks of bad channels are left out, and counted in the provenance.

    A compressed tar has no random access. It is read as a whole in each process that reads events, and its
    frames stay in memory: convert it once (``hepfm data convert``) where it is used more than once.

    Raises:
        DataError: The archive is damaged, or a frame lacks its channels or ticks.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "charge"
        """Name of the part that the events get."""
        tag: str | None = None
        """Which frames are read, e.g. gauss0; by default those of the file's first frame's tag."""
        masks: tuple[str, ...] = ("bad",)
        """Masks of channels and ticks that are left out; none to keep all."""
        zero_pad: int | None = Field(default=None, ge=0)
        """Where frames are zero far from signals, the ticks kept on each side of one; by default all."""
        unit: str | None = None
        """Of the samples; by default electrons for deconvolved frames (gauss, wiener, dnnsp), else ADC."""
        planes: dict[str, tuple[int, int]] = Field(default_factory=dict)
        """Planes by name: first and last channel, e.g. {U: [0, 475], V: [952, 1427], W: [1904, 2487]}."""

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the first member of the archive is named like one of a frame."""
        name = first_name(path)
        return name is not None and _MEMBER.fullmatch(PurePosixPath(name).name) is not None

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.path = path = Path(path)
        self.options = options = config or self.Config()
        self._archive = NpyArchive(path)
        frames = [match for name in self._archive.headers if (match := _FRAME.fullmatch(name))]
        tags = list(dict.fromkeys(match[1] for match in frames))
        if not tags:
            fix = "it has: " + (", ".join(list(self._archive.headers)[:8]) or "nothing")
            raise DataError("the archive holds no frame (frame_TAG_N.npy)", where=str(path), fix=fix)
        self.tag = options.tag if options.tag is not None else tags[0]
        self._numbers = [match[2] for match in frames if match[1] == self.tag]
        if not self._numbers:
            what = f"the archive holds no frame of the tag '{self.tag}'"
            raise DataError(what, where=str(path), fix=did_you_mean(self.tag, tags))
        self.n_events = len(self._numbers)
        self._lengths: Array | None = None
        self._channels = [self._channel_numbers(number) for number in self._numbers]
        ticks = np.array([self._small("tickinfo", number, (3,)) for number in self._numbers])
        self._ticks = ticks.astype(np.float64)
        types = {self._frame_type(event) for event in range(self.n_events)}
        if len(types) > 1 or len(set(self._ticks[:, 1])) > 1:
            ticks_ns = sorted(set(self._ticks[:, 1].tolist()))
            what = f"frames differ in type ({', '.join(sorted(types))}) or tick ({ticks_ns} ns)"
            raise DataError(what, where=str(path), fix="put them into files of one kind each")
        if not (np.isfinite(self._ticks).all() and self._ticks[0, 1] > 0):
            raise DataError("tickinfo makes no sense", where=f"{path}, {self._ticks[0].tolist()}")
        self._first = whole(self._ticks[:, 2], where=f"{path}, first ticks of tickinfo")
        self._refuse_unknown_masks()
        (dtype,) = types
        electrons = np.dtype(dtype).kind == "f" and self.tag.startswith(_DECONVOLVED)
        self._from_zero = electrons or options.zero_pad is not None
        known = ["time_ns"] + ["plane"] * bool(options.planes) + ["pedestal_adc"] * self._from_zero
        self.parts = {
            options.part: waveform_schema(
                sample_ns=float(self._ticks[0, 1]),
                dtype=dtype,
                known=known,
                unit=options.unit or ("electrons" if electrons else "ADC"),
                planes=tuple(options.planes),
                left_out=list(options.masks),
            )
        }
        self.provenance = {
            "format": "WireCell frames",
            "file": path.name,
            "tag": self.tag,
            "tags": tags,
            "frames": [int(number) for number in self._numbers],
            "masked_channels": [len({row for row, *_ in self._masks(e)}) for e in range(self.n_events)],
            "options": options.model_dump(mode="json"),
        }

    def _refuse_unknown_masks(self) -> None:
        found = [n for n in self._archive.headers if n.startswith("chanmask_")]
        known = list(dict.fromkeys(n.removeprefix("chanmask_").rpartition("_")[0] for n in found))
        asked = self.options.masks if "masks" in self.options.model_fields_set else ()
        if unknown := [mask for mask in asked if mask not in known]:
            what = f"the archive has no mask '{unknown[0]}'"
            raise DataError(what, where=str(self.path), fix=did_you_mean(unknown[0], known))

    def _channel_numbers(self, number: str) -> Array:
        where = f"{self.path}, channels_{self.tag}_{number}.npy"
        channels = whole(self._small("channels", number, (None,)), where=where)
        if len(np.unique(channels)) < len(channels):
            raise DataError("a channel's number is there twice", where=where, fix="make the archive again")
        return channels

    def _small(self, kind: str, number: str, shape: tuple[int | None, ...]) -> Array:
        name = f"{kind}_{self.tag}_{number}"
        if name not in self._archive.headers:
            what = f"the frame {number} has no {name}.npy"
            raise DataError(what, where=str(self.path), fix="the archive is incomplete: make it again")
        header, where = self._archive.headers[name], f"{self.path}, {name}.npy"
        found = header.shape
        if len(found) != len(shape) or any(w not in (None, n) for w, n in zip(shape, found, strict=True)):
            raise DataError(f"wanted a list, found the shape {found}", where=where)
        if header.dtype.kind not in "iuf":
            raise DataError(f"wanted numbers, found {header.dtype}", where=where)
        return self._archive.array(name)

    def _frame_type(self, event: int) -> str:
        name = f"frame_{self.tag}_{self._numbers[event]}"
        header = self._archive.headers[name]
        channels = len(self._channels[event])
        if len(header.shape) != 2 or header.shape[0] != channels:
            what = f"a frame of shape {header.shape} has {channels} channel numbers"
            raise DataError(
                what, where=f"{self.path}, {name}.npy", fix="the archive is damaged: make it again"
            )
        return sample_type(header.dtype, where=f"{self.path}, {name}.npy")

    def _shape(self, event: int) -> tuple[int, int]:
        n_channels, n_ticks = self._archive.headers[f"frame_{self.tag}_{self._numbers[event]}"].shape
        return n_channels, n_ticks

    def _masks(self, event: int) -> list[tuple[int, int, int]]:
        """Row of the frame, first tick and last tick + 1 of each mask of its channels."""
        row_of = {int(channel): row for row, channel in enumerate(self._channels[event])}
        found = []
        for mask in self.options.masks:
            name = f"chanmask_{mask}_{self._numbers[event]}"
            if name not in self._archive.headers:
                continue
            rows = self._archive.array(name)
            if rows.ndim != 2 or rows.shape[1] != 3:
                what = f"wanted rows of channel, first and last tick, found the shape {rows.shape}"
                raise DataError(what, where=f"{self.path}, {name}.npy")
            rows, first = whole(rows, where=f"{self.path}, {name}.npy"), int(self._first[event])
            found += [
                (row_of[c], start - first, stop - first) for c, start, stop in rows.tolist() if c in row_of
            ]
        return found

    def _kept(self, event: int, frame: Array | None) -> Array:
        good = good_ticks(self._shape(event), self._masks(event))
        if frame is not None and self.options.zero_pad is not None:
            good &= near_signal(frame, self.options.zero_pad)
        return good

    def _frame(self, event: int) -> Array:
        names = [f"frame_{self.tag}_{number}" for number in self._numbers]
        return self._archive.array(names[event], with_others=names)

    def lengths(self, part: str) -> Array:  # noqa: ARG002  there is one part
        """``(len,)`` int64 samples of each frame. With ``zero_pad`` frames are read for it the first time."""
        if self._lengths is None:
            reads = self.options.zero_pad is not None
            kept = (
                self._kept(event, self._frame(event) if reads else None) for event in range(self.n_events)
            )
            self._lengths = np.array([int(ticks.sum()) for ticks in kept], np.int64)
        return self._lengths

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:  # noqa: ARG002  there are none
        """A frame's traces: one for each stretch of good ticks of a channel."""
        frame = self._frame(index)
        kept = self._kept(index, frame)
        row, start, stop = stretches(kept)
        (t0, tick), first = self._ticks[index, :2], self._first[index]
        traces: Mapping[str, Array] = {
            "channel": self._channels[index][row],
            "start_tick": first + start,
            "n_samples": stop - start,
            "time_ns": t0 + (first + start) * tick,
        }
        if self._from_zero:
            traces = {**traces, "pedestal_adc": np.zeros(len(row))}
        if self.options.planes:
            planes = plane_of(self._channels[index], self.options.planes, where=str(self.path))
            traces = {**traces, "plane": planes[row]}
        return {self.options.part: {"samples": {"adc": frame[kept]}, "traces": traces}}, {}

    def close(self) -> None:
        """Frees the frames of a compressed tar."""
        self._archive.forget()
