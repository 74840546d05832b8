"""Transport of particles through a box of liquid argon: from primaries to tracks and deposits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.event import Balance, Primaries, Simulated
from hepfm_lartpc.streams import Stream
from hepfm_lartpc.transport import record as rc
from hepfm_lartpc.transport.config import TransportConfig
from hepfm_lartpc.transport.event_loop import simulate
from hepfm_lartpc.transport.faults import FAULTS, first_fault
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
        self._room = (8192, 32768)

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
        deposits = rc.read_deposits(record)
        escaped, neutrinos, bound = (float(value) for value in record.sums)
        balance = Balance(
            brought=brought,
            deposited=float(deposits.energy_mev.sum()),
            escaped=escaped,
            neutrinos=neutrinos,
            bound=bound,
        )
        return Simulated(tracks=rc.read_tracks(record), deposits=deposits, balance=balance)

    def _check(self, primaries: Primaries) -> None:
        p, fault = first_fault(
            primaries.species, primaries.kinetic_mev, primaries.direction, primaries.position_mm,
            self._physics.box_mm,
        )  # fmt: skip
        if p >= 0:
            raise DataError(
                f"A primary particle {FAULTS[fault]}.",
                where=f"primary {p}: species {primaries.species[p]}, {primaries.kinetic_mev[p]:g} MeV, "
                f"at {primaries.position_mm[p].tolist()} mm towards {primaries.direction[p].tolist()}",
                fix="Correct the composition or the file of particles that it comes from.",
            )
