"""Who is told of a run, and who draws an event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hepfm.api.events import PartSchema, Tables


class Callback(Protocol):
    """Told of a run's milestones, on the rank that records it; never called inside a step."""

    def on_start(self, run: Mapping[str, Any]) -> None: ...

    def on_validation(self, step: int, figures: Mapping[str, float]) -> None: ...

    def on_checkpoint(self, step: int, path: Path) -> None: ...

    def on_end(self, run: Mapping[str, Any]) -> None: ...


class Display(Protocol):
    """Pictures of one event's part, described as panels that the core draws as HTML and as PNG."""

    def __call__(
        self, tables: Tables, schema: PartSchema, *, labels: Tables | None = None, title: str = ""
    ) -> list[Any]:
        """Panels of ``hepfm.display``."""
