"""Where objects are: pixels of an image, hits in space, particles over pseudorapidity and azimuth."""

from __future__ import annotations

from typing import Any

import numpy as np

from hepfm.api import PartSchema
from hepfm.display.panels import Axis, Heatmap, Panel, PointCloud

Array = np.ndarray[Any, Any]

_PLANES = (("deta", "dphi"), ("etarel", "phirel"), ("eta", "phi"))
"""Columns of pseudorapidity and azimuth; those from a jet's axis are drawn where there are both."""
_WEIGHTS = ("pt", "ptrel", "energy")
_BINS = 50


def scatter(rows: dict[str, Array], schema: PartSchema, title: str) -> list[Panel]:
    """A picture of the primary table's rows; none where their columns are no places.

    Args:
        rows: The primary table's columns ``(N, ...)``.
        schema: Units, vocabularies, and the attribute ``grid`` of an image.
        title: What the rows are.
    """
    if {"x", "y", "value"} <= rows.keys() and "grid" in schema.attributes:
        return [_image(rows, schema, title)]
    if {"x", "y", "z"} <= rows.keys() and "pdg" not in rows:  # of particles, the list says more
        return [_space(rows, schema, title)]
    weight = next((name for name in _WEIGHTS if name in rows), "")
    for eta, phi in _PLANES:
        if weight and {eta, phi} <= rows.keys():
            return [_plane(rows, schema, title, eta, phi, weight)]
    return []


def _image(rows: dict[str, Array], schema: PartSchema, title: str) -> Heatmap:
    height, width = (int(n) for n in schema.attributes["grid"])
    values = np.full((height, width), np.nan, np.float32)
    x, y = (np.rint(np.asarray(rows[name], np.float64)).astype(np.int64) for name in ("x", "y"))
    inside = (x >= 0) & (x < height) & (y >= 0) & (y < width)
    values[x[inside], y[inside]] = rows["value"][inside]
    return Heatmap(
        title=f"{title}, pixels" if title else "pixels",
        values=values,
        x=Axis("column"),
        y=Axis("row"),
        x_edges=(-0.5, width - 0.5),
        y_edges=(-0.5, height - 0.5),
        value=Axis("value"),
    )


def _space(rows: dict[str, Array], schema: PartSchema, title: str) -> PointCloud:
    columns = schema.tables[schema.primary]
    coloured = next((n for n, c in columns.items() if c.vocabulary in schema.vocabularies and n in rows), "")
    vocabulary = schema.vocabularies[columns[coloured].vocabulary] if coloured else ()
    return PointCloud(
        title=f"{title}, {coloured}" if title else coloured or schema.primary,
        xyz=np.stack([np.asarray(rows[axis], np.float64) for axis in "xyz"], 1),
        unit=columns["x"].unit or "as in the file",
        classes=np.asarray(rows[coloured]) if coloured else None,
        vocabulary=vocabulary,
    )


def _plane(
    rows: dict[str, Array], schema: PartSchema, title: str, eta: str, phi: str, weight: str
) -> Heatmap:
    x, y, w = (np.asarray(rows[name], np.float64) for name in (eta, phi, weight))
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(w)
    x, y, w = x[good], y[good], np.maximum(w[good], 0)
    far = float(np.abs(x).max(initial=0))
    if eta == "eta":
        half = (min(max(2.5, np.ceil(2 * far) / 2), 10.0), np.pi)
        y = np.remainder(y + np.pi, 2 * np.pi) - np.pi
    else:
        half = (max(1.0, min(np.ceil(far), 4.0)),) * 2
    edges = [np.linspace(-h, h, _BINS + 1) for h in half]
    total, *_ = np.histogram2d(y, x, [edges[1], edges[0]], weights=w)
    total[np.histogram2d(y, x, [edges[1], edges[0]])[0] == 0] = np.nan
    unit = schema.tables[schema.primary][weight].unit
    return Heatmap(
        title=f"{title}, {weight}" if title else weight,
        values=np.sqrt(total).astype(np.float32),
        x=Axis(eta),
        y=Axis(phi, "rad"),
        x_edges=(-half[0], half[0]),
        y_edges=(-half[1], half[1]),
        value=Axis(f"square root of the sum of {weight}", f"sqrt {unit}" if unit else ""),
    )
