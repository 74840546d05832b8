"""What an event writes while it is simulated: tracks, deposits and sums, as rows of arrays.

Arrays have a fixed size; when one is full the event is marked and begun anew with larger ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Deposits, Floats, Tracks
from hepfm_lartpc.species import NEUTRINO, PHOTON

SPECIES, PARENT, PROCESS, INTERACTION, KINETIC, UX, UY, UZ, X, Y, Z = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
END_X, END_Y, END_Z, START_NS, END_NS, DEPOSITED, LENGTH = 11, 12, 13, 14, 15, 16, 17
"""Columns of tracks."""
_TRACK_COLUMNS = 18
N_TRACKS, N_WAITING, N_DEPOSITS, FULL = 0, 1, 2, 3
ESCAPED, NEUTRINOS, BOUND = 0, 1, 2


class Record(NamedTuple):
    """The event so far.

    Attributes:
        tracks: ``(T, 18)`` with room for T tracks.
        waiting: ``(T,)`` rows of tracks that are still to be followed, the next one last.
        counts: ``(4,)`` of tracks, of those that wait, of deposits, and whether an array was full.
        sums: ``(3,)`` escaped, neutrinos and bound, in MeV.
        deposits: ``(10 D,)`` with room for D deposits, in blocks that each lie together, as `Deposits` wants
            them: starts, ends (3 D each), energies, lengths, times, tracks. One array: it is passed often.
    """

    tracks: Floats
    waiting: Array
    counts: Array
    sums: Floats
    deposits: Floats


def new_record(tracks: int, deposits: int) -> Record:
    """An empty event with room for so many tracks and deposits."""
    return Record(
        np.empty((tracks, _TRACK_COLUMNS)),
        np.empty(tracks, np.int64),
        np.zeros(4, np.int64),
        np.zeros(3),
        np.empty(10 * deposits),
    )


@compiled
def born(
    record: Record, species: int, parent: int, process: int, kinetic: float,
    ux: float, uy: float, uz: float, x: float, y: float, z: float, time_ns: float,
) -> None:  # fmt: skip
    """A new particle, to be followed later. A neutrino leaves at once, and a photon of no energy is none."""
    if species == NEUTRINO:
        record.sums[NEUTRINOS] += kinetic
        return
    if species == PHOTON and kinetic <= 0.0:
        return
    counts = record.counts
    row = counts[N_TRACKS]
    if row >= len(record.tracks):
        counts[FULL] = 1
        return
    track = record.tracks[row]
    track[SPECIES], track[PARENT], track[PROCESS] = species, parent, process
    track[INTERACTION] = record.tracks[parent, INTERACTION]
    track[KINETIC] = kinetic
    track[UX], track[UY], track[UZ] = ux, uy, uz
    track[X], track[Y], track[Z] = x, y, z
    track[START_NS] = time_ns
    ended(track, x, y, z, time_ns, 0.0, 0.0)
    record.waiting[counts[N_WAITING]] = row
    counts[N_TRACKS] += 1
    counts[N_WAITING] += 1


@compiled
def ended(
    track: Floats, x: float, y: float, z: float, time_ns: float, deposited: float, length: float
) -> None:
    """Where, when and how a track ended."""
    track[END_X], track[END_Y], track[END_Z], track[END_NS] = x, y, z, time_ns
    track[DEPOSITED], track[LENGTH] = deposited, length


@compiled
def left(
    deposits: Floats, n: int, row: int, energy: float, length: float, time_ns: float,
    x: float, y: float, z: float, end_x: float, end_y: float, end_z: float,
) -> None:  # fmt: skip
    """Write deposit n, for which there must be room."""
    room = len(deposits) // 10
    start, end = 3 * n, 3 * (room + n)
    deposits[start], deposits[start + 1], deposits[start + 2] = x, y, z
    deposits[end], deposits[end + 1], deposits[end + 2] = end_x, end_y, end_z
    deposits[6 * room + n], deposits[7 * room + n] = energy, length
    deposits[8 * room + n], deposits[9 * room + n] = time_ns, row


def read_deposits(record: Record) -> Deposits:
    """The deposits of an event, which go on using its memory."""
    room, n = len(record.deposits) // 10, int(record.counts[N_DEPOSITS])
    blocks = record.deposits.reshape(10, room)
    return Deposits(
        start_mm=blocks[:3].reshape(room, 3)[:n],
        end_mm=blocks[3:6].reshape(room, 3)[:n],
        energy_mev=blocks[6, :n],
        length_mm=blocks[7, :n],
        time_ns=blocks[8, :n],
        track=blocks[9, :n].astype(np.int32),
    )


def read_tracks(record: Record) -> Tracks:
    """The tracks of an event."""
    rows = record.tracks[: record.counts[N_TRACKS]]
    columns = np.ascontiguousarray(rows.T)
    species, parent, process, interaction = columns[:KINETIC].astype(np.int32)
    return Tracks(
        species=species,
        parent=parent,
        process=process,
        interaction=interaction,
        kinetic_mev=columns[KINETIC],
        direction=np.ascontiguousarray(rows[:, UX : UZ + 1]),
        start_mm=np.ascontiguousarray(rows[:, X : Z + 1]),
        end_mm=np.ascontiguousarray(rows[:, END_X : END_Z + 1]),
        start_ns=columns[START_NS],
        end_ns=columns[END_NS],
        deposited_mev=columns[DEPOSITED],
        length_mm=columns[LENGTH],
    )
