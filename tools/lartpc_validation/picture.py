# ruff: noqa: INP001
"""Pictures of the validation page, and the rows of its table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
"""Okabe and Ito's colours, which colour-blind readers tell apart."""
Panels = list[Axes]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A figure of hepfm beside its reference.

    Attributes:
        what: The quantity, with its unit.
        hepfm: Simulated or calculated here.
        reference: Independent of the code.
        within: Largest difference that is accepted; None where the figure is shown without a claim.
        source: Of the reference.
    """

    what: str
    hepfm: float
    reference: float
    within: float | None
    source: str

    @property
    def holds(self) -> bool:
        """Whether the figure lies as close to its reference as it should."""
        return self.within is None or abs(self.hepfm - self.reference) <= self.within


def panels(titles: list[str]) -> tuple[Figure, Panels]:
    """A figure of one row for up to three titles, two rows for more; 1,200 pixels wide."""
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(12, 4.1 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Any] = [figure.add_subplot(rows, columns, k + 1) for k in range(len(titles))]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize=10)
        panel.grid(visible=True, alpha=0.25)
    return figure, axes


def finish(figure: Figure, file: Path) -> None:
    """Legends, and the file, of few colours."""
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_minor_formatter(NullFormatter())
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8)
    figure.savefig(file)
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(128)  # a third of the size, and nobody sees it
    small.save(file, optimize=True)
