"""Pictures of a 3D image: its voxels in space, coloured by energy and by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hepfm.api import PartSchema, Tables
from hepfm.display.panels import PointCloud


def panels(
    tables: Tables, schema: PartSchema, *, labels: Tables | None = None, title: str = ""
) -> list[PointCloud]:
    """Energy of each voxel, and its semantic class where it is known.

    Positions are centres of voxels: in mm where the schema says how large voxels are, else in voxels.

    Args:
        tables: ``voxels`` with ``voxel (N, 3)`` and ``energy_mev (N,)``.
        schema: Attributes ``voxel_mm`` and ``origin_mm``; vocabulary ``semantic``.
        labels: ``voxels`` with ``semantic (N,)``, row for row with the tables.
        title: What the tables are.
    """
    voxels = tables["voxels"]
    xyz = np.asarray(voxels["voxel"], dtype=np.float64) + 0.5
    unit = "voxel"
    if "voxel_mm" in schema.attributes:
        unit = "mm"
        xyz = xyz * schema.attributes["voxel_mm"] + np.asarray(schema.attributes.get("origin_mm", (0, 0, 0)))
    known = {**voxels, **(labels or {}).get("voxels", {})}
    bare = PointCloud(title=title, xyz=xyz, unit=unit)
    shown = [
        replace(
            bare,
            title=f"{title}, energy" if title else "energy",
            values=voxels["energy_mev"],
            value_label="energy",
            value_unit="MeV",
        )
    ]
    if "semantic" in known:
        shown.append(
            replace(
                bare,
                title=f"{title}, class" if title else "class",
                classes=known["semantic"],
                vocabulary=schema.vocabularies["semantic"],
            )
        )
    return shown
