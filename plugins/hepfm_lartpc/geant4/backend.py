"""Transport of particles by Geant4, called as `hepfm_lartpc.transport.Transport` is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np

from hepfm.errors import DataError, RecipeError
from hepfm_lartpc import argon
from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Primaries, Simulated
from hepfm_lartpc.geant4.config import Geant4Config
from hepfm_lartpc.geant4.convert import simulated
from hepfm_lartpc.geant4.data_files import data_sets, environment
from hepfm_lartpc.geant4.messages import Setup
from hepfm_lartpc.streams import Stream, bits
from hepfm_lartpc.transport import TransportConfig

_PATIENCE_S = 10.0


class Geant4Transport:
    """Simulates events in one box of liquid argon with Geant4, in a process of its own.

    The process begins with the first event and ends with `close`, or when this object is no longer used.

    Args:
        low_mm: Lower corner of the box.
        high_mm: Upper corner.
        transport: Of it the longest step and the switches of nuclear interactions and capture are used.
        config: Geant4's own settings.

    Raises:
        RecipeError: geant4-pybind is not installed.
        DataError: Data files are missing.
    """

    def __init__(
        self,
        low_mm: Sequence[float],
        high_mm: Sequence[float],
        transport: TransportConfig,
        config: Geant4Config,
    ) -> None:
        low, high = np.asarray(low_mm, np.float64), np.asarray(high_mm, np.float64)
        self._centre = (low + high) / 2
        physics_list = config.physics_list if transport.nuclear else None
        self._environment = environment(self.needs(config, physics_list))
        x, y, z = (float(side) for side in (high - low) / 2)
        self._setup = Setup(
            half_mm=(x, y, z),
            max_step_mm=transport.max_step_mm,
            cut_mm=config.production_cut_mm,
            physics_list=physics_list,
            muon_capture=transport.muon_capture,
            density_g_cm3=argon.DENSITY_G_CM3,
            excitation_ev=argon.MEAN_EXCITATION_EV,
        )
        self._pipe: Connection | None = None

    @staticmethod
    def needs(config: Geant4Config, physics_list: str | None) -> dict[str, Path]:
        """The data sets that are used, if Geant4 can be used at all; errors as of the class."""
        if importlib.util.find_spec("geant4_pybind") is None:
            raise RecipeError(
                "transport by Geant4 needs geant4-pybind, which is not installed",
                where="geant4",
                fix="pip install 'hepfm[geant4]', or leave the key geant4 out",
            )
        return data_sets(config.data, physics_list)

    def __call__(self, primaries: Primaries, s: Stream) -> Simulated:
        """Follow all particles of an event. It depends on the primaries and the next random numbers alone.

        Raises:
            DataError: Geant4 could not; says what it said.
        """
        pipe = self._pipe or self._begin()
        seeds = [int(bits(s) >> np.uint64(33)) + 1 for _ in range(2)]
        return simulated(self._answer(pipe, (seeds, self._plain(primaries))), primaries, self._centre)

    def close(self) -> None:
        """Ends Geant4's process; another event begins a new one."""
        if self._pipe is not None:
            self._pipe = None
            self._end()

    def _plain(self, primaries: Primaries) -> list[tuple[Any, ...]]:
        positions = primaries.position_mm - self._centre
        return [
            (int(sp.PDG[species]), float(kinetic), tuple(direction), tuple(position), float(time_ns))
            for species, kinetic, direction, position, time_ns in zip(
                primaries.species,
                primaries.kinetic_mev,
                primaries.direction.tolist(),
                positions.tolist(),
                primaries.time_ns,
                strict=True,
            )
        ]

    def _begin(self) -> Connection:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        with theirs:
            process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", "hepfm_lartpc.geant4.child", str(theirs.fileno())],
                env={**self._environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
            )
        pipe = self._pipe = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, pipe, process, self._said)
        self._answer(pipe, self._setup)
        return pipe

    def _answer(self, pipe: Connection, message: Any) -> Any:
        try:
            pipe.send(message)
            kind, content = pipe.recv()
        except (EOFError, ConnectionError):
            kind, content = "failed", _complaint(self._said)
        if kind != "failed":
            return content
        self.close()
        raise DataError(
            f"Geant4 failed: {content}",
            where=f"physics list {self._setup.physics_list or 'standard electromagnetic, decays'}",
            fix="Check the physics list and the versions of Geant4's data files.",
        )


def geant4_version() -> str:
    """The version of geant4-pybind, which contains Geant4."""
    return importlib.metadata.version("geant4-pybind")


def _end(pipe: Connection, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    pipe.close()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    said.close()


def _complaint(said: IO[bytes]) -> str:
    """What Geant4 wrote before it ended: its exceptions, or its last lines."""
    said.seek(0)
    text = said.read().decode(errors="replace")
    exceptions = re.findall(r"issued by : *(.*?)\n(.*?)\n\*\*\*", text, re.DOTALL)
    if exceptions:
        return "; ".join(f"{' '.join(what.split())} ({by})" for by, what in exceptions)
    return "its process ended. " + " ".join(text.split()[-40:])
