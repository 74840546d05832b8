"""An event's image and truth as tables of the event store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Array, Integers, Tracks
from hepfm_lartpc.image import Image
from hepfm_lartpc.truth import LED

_PID = np.full(len(sp.NAMES), -1, np.int8)
_PID[[sp.PHOTON]] = 0
_PID[[sp.ELECTRON, sp.POSITRON]] = 1
_PID[[sp.MUON_MINUS, sp.MUON_PLUS]] = 2
_PID[[sp.PION_MINUS, sp.PION_PLUS]] = 3
_PID[[sp.PROTON]] = 4


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part's input tables and its label tables."""

    inputs: dict[str, dict[str, Array]]
    labels: dict[str, dict[str, Array]]


def momentum_gev(tracks: Tracks, rows: Array) -> Array:
    """``(K,)`` magnitude, when each was made."""
    kinetic, mass = tracks.kinetic_mev[rows], sp.MASS_MEV[tracks.species[rows]]
    magnitude: Array = np.sqrt(kinetic * (kinetic + 2 * mass)) * 1e-3
    return magnitude


def image_tables(image: Image, tracks: Tracks) -> Split:
    """The tables ``voxels`` and ``fragments`` of the part ``image3d``; PILArNet's row 0 is the LED."""
    inputs: dict[str, Array] = {
        name: getattr(image, name) for name in ("voxel", "energy_mev", "time_ns", "electrons", "dx_mm")
    }
    fragment = image.fragment
    n = int(fragment.max(initial=-1)) + 1
    rows = np.flatnonzero(fragment >= 0)
    size = np.bincount(fragment[rows], minlength=n)
    one = np.empty(n, np.int64)  # a voxel of each fragment
    one[fragment[rows]] = rows
    particle, semantic = image.particle[one], image.semantic[one]
    group = _largest(particle, size)
    interaction = tracks.interaction[particle]

    def row(values: Array, dtype: type, of_led: float = -1) -> Array:
        column = np.empty((n + 1, *values.shape[1:]), dtype)
        column[0], column[1:] = of_led, values
        return column

    species = tracks.species[particle]
    fragments: dict[str, Array] = {
        "fragment_id": np.arange(-1, n, dtype=np.int32),
        "group_id": row(group, np.int32),
        "interaction_id": row(interaction, np.int32),
        "semantic": row(semantic, np.int8, LED),
        "n_voxels": row(size, np.int32, len(fragment) - len(rows)),
        "pid": row(_PID[species], np.int8),
        "mass_mev": row(sp.MASS_MEV[species], np.float32),
        "momentum_gev": row(momentum_gev(tracks, particle), np.float32),
        "vertex": row(tracks.start_mm[particle], np.float32),
    }
    voxels: dict[str, Array] = {
        "semantic": image.semantic,
        "fragment": fragment,
        "group": fragments["group_id"][fragment + 1],
        "interaction": fragments["interaction_id"][fragment + 1],
        "pdg": sp.PDG[tracks.species[image.particle]].astype(np.int32),
    }
    return Split(inputs={"voxels": inputs}, labels={"voxels": voxels, "fragments": fragments})


def _largest(particle: Integers, size: Array) -> Array:
    """Of each fragment the largest fragment of its particle; of equal ones the first."""
    order = np.lexsort((-size, particle))
    begins = np.flatnonzero(np.diff(particle[order], prepend=-1))
    largest = np.empty(len(size), np.int64)
    largest[order] = np.repeat(order[begins], np.diff(np.append(begins, len(size))))
    return largest


def truth_tables(tracks: Tracks, particle: Integers, semantic: Array) -> Split:
    """The table ``particles`` of the part ``truth``: a row for each track that stands for itself."""
    rows = np.flatnonzero(particle == np.arange(len(tracks)))
    number = np.full(len(tracks) + 1, -1, np.int32)
    number[rows] = np.arange(len(rows))
    parent = tracks.parent[rows]
    deposited = np.bincount(particle, weights=tracks.deposited_mev, minlength=len(tracks))[rows]
    # The parent's own row may stand in another particle.
    parent_particle = np.where(parent < 0, -1, particle[parent]) if len(rows) else parent
    columns: dict[str, Array] = {
        "particle": np.arange(len(rows), dtype=np.int32),
        "parent": number[parent_particle],
        "interaction": tracks.interaction[rows].astype(np.int32),
        "pdg": sp.PDG[tracks.species[rows]].astype(np.int32),
        "process": tracks.process[rows].astype(np.int8),
        "semantic": semantic[rows].astype(np.int8),
        "energy_mev": tracks.kinetic_mev[rows].astype(np.float32),
        "momentum_gev": (momentum_gev(tracks, rows)[:, None] * tracks.direction[rows]).astype(np.float32),
        "start_mm": tracks.start_mm[rows].astype(np.float32),
        "end_mm": tracks.end_mm[rows].astype(np.float32),
        "start_ns": tracks.start_ns[rows].astype(np.float32),
        "end_ns": tracks.end_ns[rows].astype(np.float32),
        "deposited_mev": deposited.astype(np.float32),
    }
    return Split(inputs={"particles": columns}, labels={})
