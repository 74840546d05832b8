"""Jet images: grids of energy deposits around jets, a dataset ``(N, rows, columns[, 1])`` for each class.

An image is read as its pixels that are not zero, each a row with its place and value. Nothing is lost, nine
pixels of ten are empty, and the models and heads that take jets as particles take them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.api import ClassName
from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm.readers.handle import Handle
from hepfm_structured.blocks import Array, BlockReader, Rows, one_each
from hepfm_structured.padded import numbers
from hepfm_structured.schema import field, part_schema

_PIXELS = {
    "x": field("uint16", "continuous", unit="pixel", doc="row of the pixel"),
    "y": field("uint16", "continuous", unit="pixel", doc="column of the pixel"),
    "value": field("float32", "positive", doc="what the pixel holds, as the file has it"),
}


class JetImagesReader(BlockReader):
    """Images of one file; the datasets, in the order of their names, are the classes.

    Raises:
        DataError: A dataset is no stack of images, or they differ in size.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "structured"
        """Name of the part that the images get."""
        order: str = ""
        """Column that pixels are put in descending order of (value); by default row by row."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether all that is in it are stacks of square images of one size."""
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                shapes: list[tuple[int, ...]] = [
                    getattr(found, "shape", None) or () for found in file.values()
                ]
        except safety.DAMAGE:
            return False
        sizes = {shape[1:3] for shape in shapes}
        plain = all(len(s) == 3 or (len(s) == 4 and s[-1] == 1) for s in shapes)
        return bool(shapes) and plain and len(sizes) == 1 and len(set(*sizes)) == 1

    def __init__(self, path: Path, config: Config | None = None) -> None:
        path = Path(path)
        options = config or self.Config()
        self._handle = Handle(path)
        with safety.reading(str(path)):
            self._names = sorted(self._handle.file())
        if not self._names:
            raise DataError("the file holds nothing", where=str(path), fix="get it again")
        shapes: list[tuple[int, ...]] = []
        for name in self._names:
            with safety.reading(f"{path}, field {name}"):
                ndim = getattr(self._handle.file()[name], "ndim", 0)
            if ndim not in {3, 4}:
                what = f"wanted images (N, rows, columns) or (N, rows, columns, 1), found {ndim} axes"
                raise DataError(what, where=f"{path}, field {name}")
            shape = (None, None, None, 1)[:ndim]
            shapes.append(numbers(self._handle, name, shape).shape)
        grids = {shape[1:3] for shape in shapes}
        if len(grids) > 1 or max(max(grid) for grid in grids) >= 1 << 16:
            sizes = ", ".join(f"{name} {shape[1:3]}" for name, shape in zip(self._names, shapes, strict=True))
            raise DataError(f"the images differ in size: {sizes}", where=str(path))
        if options.order not in {"", *_PIXELS}:
            raise DataError(f"option order: there is no column '{options.order}'", where=str(path))
        self._ends = np.cumsum([0, *(shape[0] for shape in shapes)])
        classes = tuple(ClassName(value=k, name=name) for k, name in enumerate(self._names))
        schema = part_schema(
            _PIXELS,
            {"label": field("int16", vocabulary="label", label=True, doc="dataset that the image is from")},
            primary="pixels",
            vocabularies={"label": classes},
            order=options.order,
            grid=[int(n) for n in next(iter(grids))],
        )
        super().__init__(
            path,
            options,
            part=options.part,
            schema=schema,
            n=int(self._ends[-1]),
            provenance={"format": "jet images"},
        )

    def _images(self, start: int, stop: int) -> tuple[Array, Array]:
        """Images ``(B, rows, columns)`` and their classes ``(B,)``."""
        images, classes = [], []
        for k, name in enumerate(self._names):
            low, high = max(start - self._ends[k], 0), min(stop, self._ends[k + 1]) - self._ends[k]
            if low < high:
                with safety.reading(f"{self.path}, field {name}"):
                    found = np.asarray(self._handle.file()[name][low:high])
                images.append(found.reshape(found.shape[:3]))
                classes.append(np.full(high - low, k))
        return np.concatenate(images), np.concatenate(classes)

    def _load(self, start: int, stop: int) -> Mapping[str, Rows]:
        images, classes = self._images(start, stop)
        event, x, y = np.nonzero(images)
        lengths = np.bincount(event, minlength=len(images))
        pixels = Rows({"x": x, "y": y, "value": images[event, x, y]}, lengths)
        return {"pixels": pixels, "event": one_each({"label": classes})}

    def _count(self) -> Array:
        starts = range(0, len(self), self._block)
        counts = [
            np.count_nonzero(self._images(s, min(s + self._block, len(self)))[0], axis=(1, 2)) for s in starts
        ]
        return np.concatenate([np.empty(0, np.int64), *counts])

    def close(self) -> None:
        """Closes the file."""
        super().close()
        self._handle.close()
