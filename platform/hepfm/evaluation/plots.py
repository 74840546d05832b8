"""Plots of an evaluation: what the head describes, and figures against an energy or a distance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hepfm.api import Plotted
from hepfm.display.html import write_html
from hepfm.display.panels import Panel
from hepfm.display.plots import against_panels
from hepfm.display.png import write_png
from hepfm.evaluation.evaluate import Evaluated, told
from hepfm.metrics.bootstrap import sums

_IN_A_ROW = 3


def panels_of(judged: Evaluated, head: object = None) -> list[Panel]:
    """The panels of what came of an evaluation; none where nothing describes any and there are no bins.

    Args:
        judged: What came of it.
        head: Whose statistics it is made of; none for a pretraining, or scores of events.
    """
    panels: list[Panel] = list(head.plots(sums(judged.statistics))) if isinstance(head, Plotted) else []
    return [*panels, *against_panels(told(judged))]


def write_plots(folder: Path, panels: Sequence[Panel], *, title: str) -> list[Path]:
    """Writes ``plots.html`` and ``plots.png`` into a folder; none where there is nothing to plot."""
    files = []
    for suffix, write in ((".html", write_html), (".png", write_png)) if panels else ():
        path = folder / f"plots{suffix}"
        write(panels, path, title, in_a_row=_IN_A_ROW)
        files.append(path)
    return files
