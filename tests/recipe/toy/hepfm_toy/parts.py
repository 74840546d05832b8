"""Components of the toy plugin."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, Field, model_validator


class Cut(BaseModel):
    min_energy_mev: float = Field(default=0.13, ge=0)


class Image:
    class Config(BaseModel):
        # It does not forbid unknown keys: hepfm refuses them whatever a plugin's author left at pydantic's default.
        cell: int = Field(default=6, gt=0)
        cut: Cut = Cut()
        grid: tuple[int, int, int] = (8, 8, 8)


class Mixer:
    class Config(BaseModel):
        width: int = Field(default=32, gt=0)
        drop_path: float = Field(default=0.0, ge=0, lt=1)
        size: Literal["tiny", "small"] = "tiny"


class Scan:
    class Config(BaseModel):
        width: int = 16
        state: int = 4

        @model_validator(mode="after")
        def _even(self) -> Scan.Config:
            if self.width % 2:
                raise ValueError("width must be even")
            return self


class Bare:
    """It lacks the Config that the contract asks for."""


class Hide:
    class Config(BaseModel):
        share: float = Field(default=0.6, gt=0, lt=1)

    weights: ClassVar[dict[str, float]] = {"loss": 1.0}
