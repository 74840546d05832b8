"""Row 15: events a second that one core simulates, without Geant4.

``cube``: 3D images with all labels, of the composition of the Geant4 sample with nuclear interactions and
captures; ``wire``: images, three planes of 256 wires, 16 photon detectors and truth. An event is what
`LartpcGenerator.event` returns, physics as in the tests that check it. Two workers are two processes, a core
each. Compilation is timed in a process with an empty cache, and is not part of the rates. Geant4 itself is
not run here: its figure is that of the project's Geant4 sample (``field.md``'s machine), quoted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Line, Spread, in_turn

GEANT4 = 18.0
"""Events a second, with labelling in Python."""

WORKER = """
import os, resource, sys, time
core, detector = int(sys.argv[1]), sys.argv[2]
os.sched_setaffinity(0, {core})
start = time.perf_counter()
from hepfm_lartpc.generator import LartpcGenerator
generator = LartpcGenerator(LartpcGenerator.Config(detector=detector), seed=1)
generator.event(0)
print(time.perf_counter() - start, flush=True)
index = 1
for line in sys.stdin:
    start, voxels = time.perf_counter(), 0
    for _ in range(int(line)):
        voxels += int((generator.event(index).parts["image3d"]["voxels"]["energy_mev"] > 0.13).sum())
        index += 1
    taken = time.perf_counter() - start
    print(taken, voxels, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
"""


class Worker:
    """A process on a core of its own that makes events when it is asked to."""

    def __init__(self, core: int, detector: str, cache: str | None = None) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"NUMBA_CACHE_DIR": cache} if cache else {})
        command = [sys.executable, "-c", WORKER, str(core), detector]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.start_s = float(self._told()[0])

    def _told(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def make(self, n: int) -> tuple[float, float, float]:
        """Seconds, voxels above 0.13 MeV, and peak resident MB, of ``n`` events."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        taken, voxels, peak = map(float, self._told())
        return taken, voxels, peak / 1024


@contextmanager
def workers(count: int, detector: str, **more: Any) -> Iterator[list[Worker]]:
    """Workers on the machine's first cores."""
    some = [Worker(core, detector, **more) for core in sorted(os.sched_getaffinity(0))[:count]]
    try:
        yield some
    finally:
        for worker in some:
            worker.process.kill()
            worker.process.wait()


def run(*, quick: bool) -> list[Line]:
    """Compiles, then times detectors, and one worker against two."""
    with tempfile.TemporaryDirectory() as cache:
        with workers(1, "wire", cache=cache) as (one,):
            compiled_s = one.start_s
        with workers(1, "wire", cache=cache) as (one,):
            cached_s = one.start_s
    start = (
        f"the first event comes {compiled_s:.0f} s after the start where code has to be compiled, once, and "
        f"{cached_s:.1f} s after it from then on"
    )
    return [
        *_detector("cube", "3D image, labels and truth", 4 if quick else 400, 500, start, quick=quick),
        *_detector("wire", "3D image, wires, light and truth", 4 if quick else 30, 20, start, quick=quick),
    ]


def _detector(detector: str, parts: str, n: int, least: float, start: str, *, quick: bool) -> list[Line]:
    told: list[tuple[float, float, float]] = []
    with workers(2, detector) as (one, other), ThreadPoolExecutor(2) as threads:

        def alone() -> float:
            told.append(one.make(n))
            return n / told[-1][0]

        def together() -> float:
            both = threads.map(lambda worker: worker.make(n), (one, other))
            return sum(n / taken for taken, _, _ in both)

        rates = in_turn({"one": alone, "two": together}, quick=quick)
    ours = Spread.of(rates["one"])
    scaling = Spread.of([two / one for one, two in zip(rates["one"], rates["two"], strict=True)])
    voxels = sum(seen for _, seen, _ in told) / (n * len(told))
    note = (
        f"{start}; peak memory {told[0][2]:.0f} MB after the first turn, {told[-1][2]:.0f} MB after the last"
    )
    quoted = detector == "cube"
    return [
        Line(
            what=f"simulation, {detector}: {parts}, {voxels:,.0f} voxels above 0.13 MeV, one core",
            unit="events/s",
            ours=ours,
            peer="Geant4 11.4 in Python" if quoted else "",
            ratio=Spread.of([rate / GEANT4 for rate in rates["one"]]) if quoted else None,
            theirs=Spread.exact(GEANT4) if quoted else None,
            target=f">= {least:g}",
            met=ours.median >= least,
            limit="draws and writes",
            note=note + ("; Geant4's figure is quoted, not run beside" if quoted else ""),
        ),
        Line(
            what=f"simulation, {detector}: two workers over one",
            unit="x",
            ours=scaling,
            target=">= 1.9",
            met=scaling.median >= 1.9,
            limit="2",
            note="what two processes do at once on this machine's two cores",
        ),
    ]
