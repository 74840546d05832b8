"""A picture of an event: its hits in space."""

from __future__ import annotations

import numpy as np

from hepfm.api import PartSchema, Tables
from hepfm.display.panels import PointCloud


def panels(
    tables: Tables, schema: PartSchema, *, labels: Tables | None = None, title: str = ""
) -> list[PointCloud]:
    """The hits, coloured by energy (`hepfm.api.Display`)."""
    hits = tables["hits"]
    return [
        PointCloud(
            title=f"{title}, energy" if title else "energy",
            xyz=np.asarray(hits["cell"], dtype=np.float64) + 0.5,
            unit="cell",
            axes=("layer", "row", "column"),
            values=hits["energy_mev"],
            value_label="energy",
            value_unit="MeV",
            point_size=5.0,
        )
    ]
