"""A detector: what the simulation knows of it, read from a short YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hepfm.errors import DataError, RecipeError, did_you_mean
from hepfm_lartpc.charge.config import PixelReadout, WireReadout
from hepfm_lartpc.detector_file import parse, sentences
from hepfm_lartpc.image import ImageGrid
from hepfm_lartpc.light.config import LightReadout
from hepfm_lartpc.tpc import Point, Tpc

_FILES = ("response", "library", "file")
"""Keys whose values are files."""

_BEHIND_MM = 50.0
"""How far behind the argon's faces photon detectors may stand: windows and frames are not argon."""
_SHIPPED = files("hepfm_lartpc").joinpath("detectors")


class Detector(BaseModel):
    """A box of liquid argon with its drift volumes and what reads them out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    """What it is called."""
    summary: str = ""
    """One line about it."""
    sources: list[str] = Field(min_length=1)
    """Where its numbers come from."""
    low_mm: Point
    """Lower corner of the argon."""
    high_mm: Point
    """Upper corner."""
    temperature_k: float = Field(default=87.3, gt=83.8, lt=100.0)
    """Of the argon, which is liquid in this range."""
    field_kv_cm: float = Field(default=0.5, gt=0, le=5.0)
    """The drift field."""
    lifetime_ms: float = Field(default=10.0, gt=0)
    """Of drifting electrons, until impurities catch them."""
    tpcs: Annotated[list[Tpc], Field(min_length=1)]
    """Drift volumes; deposits outside of them give light, and no charge."""
    image: ImageGrid = ImageGrid()
    """Voxels of the 3D image."""
    charge: Annotated[WireReadout | PixelReadout, Field(discriminator="kind")] | None = None
    """What reads the charge; none for a detector that gives 3D images alone."""
    light: LightReadout | None = None
    """What reads the light."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        box = list(zip(self.low_mm, self.high_mm, strict=True))
        if any(low >= high for low, high in box):
            raise ValueError(f"low_mm {self.low_mm} must lie below high_mm {self.high_mm}")
        for tpc in self.tpcs:
            inside = zip(box, tpc.low_mm, tpc.high_mm, strict=True)
            if any(not low <= a < b <= high for (low, high), a, b in inside):
                raise ValueError(f"the drift volume {tpc.low_mm} to {tpc.high_mm} leaves the argon")
        for (i, one), (k, other) in combinations(enumerate(self.tpcs), 2):
            if _common(one.low_mm, one.high_mm, other.low_mm, other.high_mm):
                raise ValueError(f"tpcs: the drift volumes {i} and {k} overlap; electrons drift to one anode")
        return self

    @model_validator(mode="after")
    def _sees_argon(self) -> Self:
        image = self.image
        far = [at + image.voxel_mm * n for at, n in zip(image.origin_mm, image.grid, strict=True)]
        if not _common(self.low_mm, self.high_mm, image.origin_mm, far):
            raise ValueError(
                f"image: no voxel lies in the argon: they reach from {image.origin_mm} to {far} mm"
            )
        if isinstance(self.charge, WireReadout) and self.charge.trigger_offset_ticks >= self.charge.ticks:
            raise ValueError("charge: the frame ends before the event's time 0: trigger_offset_ticks < ticks")
        for number, panel in enumerate(self.light.panels() if self.light else ()):
            around = zip(self.low_mm, panel.position_mm, self.high_mm, strict=True)
            if any(not low - _BEHIND_MM <= at <= high + _BEHIND_MM for low, at, high in around):
                raise ValueError(
                    f"light: photon detector {number} at {panel.position_mm} lies more than {_BEHIND_MM:g} "
                    "mm outside of the argon, which low_mm and high_mm are the corners of"
                )
        return self


def _common(
    low_mm: Sequence[float], high_mm: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> bool:
    """Whether two boxes have a volume in common, of more than a rounded number's."""
    edges = zip(low_mm, high_mm, low, high, strict=True)
    return all(min(b, d) - max(a, c) > 1e-6 for a, b, c, d in edges)


def shipped() -> list[str]:
    """Names of the detectors that come with hepfm."""
    return sorted(Path(file.name).stem for file in _SHIPPED.iterdir() if file.name.endswith(".yaml"))


def load_detector(name_or_path: str) -> Detector:
    """A shipped detector by name, or one of the user's by the path of its YAML file.

    Raises:
        RecipeError: There is no such detector.
        DataError: The file is no YAML, or says something that cannot be; names each key.
    """
    path = Path(name_or_path)
    if name_or_path in shipped():
        text, where = _SHIPPED.joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8"), name_or_path
    elif path.is_file():
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the detector's file cannot be read: {error}", where=where) from error
    else:
        raise RecipeError(
            f"There is no detector '{name_or_path}', neither by name nor as a file.",
            where="detector",
            fix=f"{did_you_mean(name_or_path, shipped())}; or name a YAML file",
        )
    try:
        content = parse(text)
        return Detector.model_validate(_from(Path(where).parent, content))
    except yaml.YAMLError as error:
        raise DataError(f"the detector's file is not YAML: {error}", where=where) from error
    except ValidationError as error:
        what = f"the detector cannot be built: {sentences(error, Detector)}"
        raise DataError(what, where=where, fix="correct these keys") from error


def _from(folder: Path, content: Any) -> Any:
    """The content with the files that it names seen from its own folder."""
    if isinstance(content, list):
        return [_from(folder, value) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: str(folder / value) if key in _FILES and isinstance(value, str) else _from(folder, value)
        for key, value in content.items()
    }
