"""Structured data: particle lists, jets and event records, as tables with a row for each object."""

from __future__ import annotations

from hepfm import api

HEPFM_API = (1, 0)


@api.hookimpl
def hepfm_displays() -> list[api.DisplaySpec]:
    return [
        api.DisplaySpec(
            name="structured",
            target="hepfm_structured.display:panels",
            summary="A line for each object, below the one that made it.",
        )
    ]
