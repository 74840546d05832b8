"""Transport of particles through a box of liquid argon: from primaries to tracks and deposits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.event import Array, Balance, Floats, Primaries, Simulated, Tracks
from hepfm_lartpc.species import NAMES
from hepfm_lartpc.streams import Stream
from hepfm_lartpc.transport import record as rc
from hepfm_lartpc.transport.config import TransportConfig
from hepfm_lartpc.transport.event_loop import simulate
from hepfm_lartpc.transport.grid import HIGHEST_MEV
from hepfm_lartpc.transport.tables import physics


class Transport:
    """Simulates events in one box; build it once, its tables take a few tenths of a second.

    Args:
        low_mm: Lower corner of the box.
        high_mm: Upper corner.
        config: Cuts and switches.
    """

    def __init__(
        self, low_mm: Sequence[float], high_mm: Sequence[float], config: TransportConfig | None = None
    ) -> None:
        self.config = config or TransportConfig()
        self._physics = physics(self.config, np.array([low_mm, high_mm], np.float64))
        self._room = (4096, 16384)

    def __call__(self, primaries: Primaries, s: Stream) -> Simulated:
        """Follow all particles of an event.

        The result depends on the arguments alone: an event that outgrows its arrays begins anew, with the
        same random numbers.

        Raises:
            DataError: A primary of unknown species, of an energy that cannot be transported, whose direction
                is no unit vector, or that starts outside the box.
        """
        self._check(primaries)
        n_tracks, n_deposits = max(self._room[0], len(primaries)), self._room[1]
        while True:
            numbers, record = s.copy(), rc.new_record(n_tracks, n_deposits)
            brought = simulate(
                record, self._physics, numbers, primaries.species, primaries.kinetic_mev, primaries.direction,
                primaries.position_mm, primaries.time_ns, primaries.interaction,
            )  # fmt: skip
            if not record.counts[rc.FULL]:
                break
            n_tracks, n_deposits = 2 * n_tracks, 2 * n_deposits
        s[:] = numbers
        return _simulated(record, brought)

    def _check(self, primaries: Primaries) -> None:
        faults: tuple[tuple[str, Array], ...] = (
            ("is of an unknown species", (primaries.species < 0) | (primaries.species >= len(NAMES))),
            (
                f"has a kinetic energy outside 0 to {HIGHEST_MEV:g} MeV",
                ~((primaries.kinetic_mev >= 0.0) & (primaries.kinetic_mev <= HIGHEST_MEV)),
            ),
            (
                "has a direction that is no unit vector",
                ~(np.abs((primaries.direction**2).sum(axis=1) - 1.0) < 1e-6),
            ),
            (
                "starts outside the argon",
                ~(
                    (primaries.position_mm >= self._physics.box_mm[0])
                    & (primaries.position_mm <= self._physics.box_mm[1])
                ).all(axis=1),
            ),
        )
        for fault, where in faults:
            if where.any():
                p = int(np.flatnonzero(where)[0])
                raise DataError(
                    f"A primary particle {fault}.",
                    where=f"primary {p}: species {primaries.species[p]}, {primaries.kinetic_mev[p]:g} MeV, "
                    f"at {primaries.position_mm[p].tolist()} mm towards {primaries.direction[p].tolist()}",
                    fix="Correct the composition or the file of particles that it comes from.",
                )


def _simulated(record: rc.Record, brought: float) -> Simulated:
    tracks = record.tracks[: record.counts[rc.N_TRACKS]]
    deposits = rc.read_deposits(record)

    def whole(column: int) -> Array:
        return tracks[:, column].astype(np.int32)

    def columns(first: int, last: int) -> Floats:
        return np.ascontiguousarray(tracks[:, first:last])

    def column(index: int) -> Floats:
        return np.ascontiguousarray(tracks[:, index])

    escaped, neutrinos, bound = (float(value) for value in record.sums)
    return Simulated(
        tracks=Tracks(
            species=whole(rc.SPECIES),
            parent=whole(rc.PARENT),
            process=whole(rc.PROCESS),
            interaction=whole(rc.INTERACTION),
            kinetic_mev=column(rc.KINETIC),
            direction=columns(rc.UX, rc.UZ + 1),
            start_mm=columns(rc.X, rc.Z + 1),
            end_mm=columns(rc.END_X, rc.END_Z + 1),
            start_ns=column(rc.START_NS),
            end_ns=column(rc.END_NS),
            deposited_mev=column(rc.DEPOSITED),
            length_mm=column(rc.LENGTH),
        ),
        deposits=deposits,
        balance=Balance(
            brought=brought,
            deposited=float(deposits.energy_mev.sum()),
            escaped=escaped,
            neutrinos=neutrinos,
            bound=bound,
        ),
    )
