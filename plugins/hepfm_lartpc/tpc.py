"""A drift volume: a box with its anode on one face."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

Point = tuple[float, float, float]


class Tpc(BaseModel):
    """Electrons in the box drift along one axis to its anode."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low_mm: Point
    """Lower corner."""
    high_mm: Point
    """Upper corner."""
    anode: Literal["x-", "x+", "y-", "y+", "z-", "z+"]
    """The face that electrons drift to."""

    @model_validator(mode="after")
    def _is_a_box(self) -> Self:
        if any(low >= high for low, high in zip(self.low_mm, self.high_mm, strict=True)):
            raise ValueError(f"low_mm {self.low_mm} must lie below high_mm {self.high_mm}")
        return self

    @property
    def axis(self) -> int:
        """Of the drift: 0, 1 or 2."""
        return "xyz".index(self.anode[0])

    @property
    def towards(self) -> int:
        """1 where electrons drift up the axis, -1 where down."""
        return 1 if self.anode[1] == "+" else -1

    @property
    def anode_mm(self) -> float:
        """Where the anode is, along the axis."""
        return (self.high_mm if self.towards > 0 else self.low_mm)[self.axis]

    @property
    def drift_mm(self) -> float:
        """The longest drift."""
        return self.high_mm[self.axis] - self.low_mm[self.axis]
