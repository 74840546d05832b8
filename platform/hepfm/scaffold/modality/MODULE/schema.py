"""What the detector records: a table of hits, with units."""

from __future__ import annotations

from hepfm.api import Column, PartSchema

CELLS = (24, 16, 16)
"""Layers, rows and columns of the calorimeter."""

SCHEMA = PartSchema(
    kind="NAME",
    primary="hits",
    tables={
        "hits": {
            "cell": Column(dtype="uint16", shape=(3,), unit="cell", doc="layer, row, column"),
            "energy_mev": Column(dtype="float32", unit="MeV", doc="energy seen in the cell"),
            "shower": Column(dtype="int32", label=True, doc="number of the shower that left most of it"),
        }
    },
    attributes={"cells": list(CELLS)},
)
