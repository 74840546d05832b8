"""The schema's attribute ``frame``: the axes along which parts lie in the detector, checked.

See docs/multimodal.md, where parts lie.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hepfm.api import PartSchema
from hepfm.errors import DataError

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Vector = tuple[_Finite, _Finite, _Finite]


class _Volume(BaseModel):
    first_channel: int
    axis: str
    anode_mm: _Finite
    velocity_mm_us: _Finite


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid")

    axes: Annotated[dict[str, _Vector], Field(min_length=1)]
    unit_mm: _Positive
    unit_ns: _Positive | None = None
    size_mm: Annotated[list[Annotated[_Finite, Field(ge=0)]], Field(min_length=1)] = [0.0]
    sees: Annotated[list[list[str]], Field(min_length=1)] | None = None
    drift: list[_Volume] | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        named = [name for seen in self.sees or () for name in seen] + [v.axis for v in self.drift or ()]
        if unknown := sorted(set(named) - set(self.axes)):
            raise ValueError(f"there is no axis '{unknown[0]}' among {', '.join(self.axes)}")
        return self


def check_frame(schema: PartSchema, *needed: str) -> None:
    """Looks whether a schema's attribute ``frame`` can be worked with; there may be none.

    Args:
        schema: Of a part.
        needed: Further attributes that places are made of: numbers, or vectors of three.

    Raises:
        DataError: Something in it is missing or no number.
    """
    if "frame" not in schema.attributes:
        return
    where = f"schema of kind {schema.kind}, attribute frame"
    fix = "correct it in the reader's schema (docs: Several parts at once), or set shared_axes: false"
    if lacking := [name for name in needed if name not in schema.attributes]:
        raise DataError(
            f"There is a frame, and no attribute '{lacking[0]}' that says where the part lies in it.",
            where=where,
            fix=fix,
        )
    try:
        _Frame.model_validate(schema.attributes["frame"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(
            f"The frame that parts share cannot be read: {first['msg']}.",
            where=f"{where}, {key}" if key else where,
            fix=fix,
        ) from error
