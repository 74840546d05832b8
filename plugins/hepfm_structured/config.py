"""What a recipe may say of structured data: units, places, order, scales."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]


class StructuredConfig(BaseModel):
    """What a recipe may say of a part of the kind ``structured``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    units: Literal["objects", "fields"] = "objects"
    """What is hidden and is a token: whole objects (rows), or single fields of them, a token for each."""
    event_record: bool = True
    """Whether the table ``event`` is seen and predicted beside the objects, as a unit (or its fields)."""
    leave_out: list[str] = []
    """Columns that the model gets nothing of; those of the table ``event`` as ``event.NAME``."""
    place: list[str] | None = None
    """Columns that say where an object is. They are known of hidden objects, too, and not predicted. By
    default the first that are there of deta and dphi, etarel and phirel, eta and phi, x, y and z, start_mm, x
    and y; [] for none: then all is predicted."""
    pitch: Positive | None = None
    """Distance of neighbours, in the unit of the place's columns; by default 50 mm, a pixel, 0.3 of eta and
    phi, 0.05 else (within a jet). Twenty to a hundred of them should be an event's extent."""
    order: str | None = None
    """Column by which objects are ordered, descending; ``stored`` for their order in the file. By default the
    attribute ``order`` of the data, or else the first momentum or energy."""
    scales: dict[str, Positive] = {}
    """Column to its typical value, in its unit: see docs/structured.md. By default 1 GeV, 10 MeV, 10 mm,
    1 cm, 10 ns, 0.1 of what has no unit."""

    bins: int = Field(default=128, ge=8, le=1024)
    """Bins of a predicted number, over what is left of it after the scale."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Column to a factor on its loss; 0 for what should not be predicted."""
    rotate: bool = False
    """Augment with rotations about the beam, one for all of an event: azimuths (``phi``) turn, and components
    (``px`` and ``py``, ``x`` and ``y``, ``vx`` and ``vy``)."""
    reflect: bool = False
    """Augment with reflections along the beam, drawn for each event: ``eta``, ``deta``, ``etarel``, ``pz``,
    ``z``, ``vz``, ``dz``, ``dzval`` change sign. Right where beams and detector are alike on both sides."""
    point_width: int = Field(default=64, gt=0)
    """Width of an object's features in the light of its event, which tasks read beside the tokens."""
