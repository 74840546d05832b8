# ruff: noqa: INP001
"""What lies on a hidden wire plane, from where the wires of the two others cross: a rule without learning.

Wires of three directions meet in a point where the numbers of their channels satisfy a linear equation. Ticks
at which each plane has one group of channels with charge tell it from the data; no geometry is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CHARGE = 0.5
"""Height from which on a channel has charge."""
WIDEST = 6
"""Channels from the first to the last of a group."""
FEWEST = 100
"""Ticks that it takes to tell the equation."""
REACH = 1.5
"""Channels from the crossing to where nothing of the charge is expected any more."""


def meetings(values: Array, plane: Array, channel: Array) -> Array:
    """``(K, 3)`` mean channel of the charge in each plane, at ticks at which each has one group of channels.

    Args:
        values: ``(C, T)`` heights.
        plane: ``(C,)``, 0 to 2.
        channel: ``(C,)`` numbers.
    """
    found = []
    for tick in np.flatnonzero((values > CHARGE).any(0)):
        loud = [np.flatnonzero((plane == k) & (values[:, tick] > CHARGE)) for k in range(3)]
        if all(len(rows) and np.ptp(channel[rows]) <= WIDEST for rows in loud):
            found.append([np.average(channel[rows], weights=values[rows, tick]) for rows in loud])
    return np.array(found).reshape(-1, 3)


def equations(met: Array) -> Array | None:
    """``(3, 3)``: for each plane the slopes of the others' channels, and the offset; None of too few ticks.

    A least-squares fit that leaves out what is further off than three times the median, again and again.
    """
    if len(met) < FEWEST:
        return None
    lines = []
    for hidden in range(3):
        given = np.column_stack((np.delete(met, hidden, axis=1), np.ones(len(met))))
        kept = np.ones(len(met), bool)
        for _ in range(10):
            line = np.linalg.lstsq(given[kept], met[kept, hidden], rcond=None)[0]
            off = np.abs(met[:, hidden] - given @ line)
            kept = off < max(3 * np.median(off), 3.0)
        lines.append(line)
    return np.array(lines)


def crossed(values: Array, hidden: int, plane: Array, channel: Array, line: Array) -> Array:
    """``(C, T)``: on the channels of a plane the largest charge of two wires that cross there, else 0.

    Of two wires the smaller height counts: what one of them has from elsewhere is not at the crossing.

    Args:
        values: ``(C, T)`` heights; those of the hidden plane are not looked at.
        hidden: The plane.
        plane: ``(C,)``.
        channel: ``(C,)`` numbers.
        line: ``(3,)`` of `equations`.
    """
    wanted = np.flatnonzero(plane == hidden)
    row_of = np.full(int(channel.max()) + 1, -1)
    row_of[channel[wanted]] = wanted
    first, second = (np.flatnonzero(plane == k) for k in range(3) if k != hidden)
    filled = np.zeros_like(values)
    for tick in np.flatnonzero((values[first] > 0).any(0) & (values[second] > 0).any(0)):
        one, other = (rows[values[rows, tick] > 0] for rows in (first, second))
        where = line[0] * channel[one][:, None] + line[1] * channel[other] + line[2]
        height = np.minimum(values[one, tick][:, None], values[other, tick])
        for step in range(-1, 3):
            number = np.floor(where).astype(int) + step
            row = row_of[number.clip(0, len(row_of) - 1)]
            there = (number >= 0) & (number < len(row_of)) & (row >= 0)
            share = (1 - np.abs(where - number) / REACH).clip(0)
            np.maximum.at(filled[:, tick], row[there], (height * share)[there])
    return filled
