"""Row 10: what orchestration adds to a step: 2 ranks, MLflow told of every step.

The step is a small model's, and a wait of 30, 100 or 300 ms in its forward pass stands for a device that
computes while its host is free. hepfm, Accelerate and Lightning record every step with MLflow in SQLite;
the bare loop (DistributedDataParallel by hand) records nothing. All train the same model on the same events
with the same optimiser, and their first losses must agree. Overhead is a step's time over the bare loop's,
of the same round. The order of the ways changes from round to round.

hepfm sends its record from a thread every two seconds. A turn is longer than that, and what is left at its
end is sent within its last step's time, with nothing to hide it: hepfm pays for all of its record, and
nothing of it is done in the turn of another.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import ROUNDS, Line, Spread
from benchmarks.turns import Group, free_ports, rotated, step_s

RECIPE = {
    "data__batch_cost": 8000,
    "data__micro_batch_cost": 8000,
    "model__backbone__d_model": 32,
    "model__backbone__n_layers": 1,
    "model__backbone__n_heads": 2,
    "objective__decoder_layers": 1,
}
WAITS = {0.03: 100, 0.1: 50, 0.3: 20}
"""Wait to the steps of a turn."""


def run(*, quick: bool) -> list[Line]:
    """Starts all ways, then gives them turns."""
    names = ("bare", "hepfm", "accelerate", "lightning")
    times: dict[tuple[str, float], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        groups = {
            name: Group(Path(folder, name), name, 2, RECIPE, port)
            for name, port in zip(names, free_ports(len(names)), strict=True)
        }
        try:
            for group in groups.values():
                group.start()
                group.results()
            for round_ in range(2 if quick else ROUNDS + 1):
                for wait_s, steps in WAITS.items():
                    for name in rotated(groups, round_):
                        told = groups[name].run(4 if quick or not round_ else steps, wait_s)
                        if round_:
                            times.setdefault((name, wait_s), []).append(step_s(told))
            _compare_losses({name: group.run(1)[0]["losses"] for name, group in groups.items()})
        finally:
            for group in groups.values():
                group.end()

    def overhead(name: str, wait_s: float) -> Spread:
        pairs = zip(times[name, wait_s], times["bare", wait_s], strict=True)
        return Spread.of([100 * (a / b - 1) for a, b in pairs])

    lines = []
    for wait_s, steps in WAITS.items():
        ours = overhead("hepfm", wait_s)
        bare_ms = 1e3 * Spread.of(times["bare", wait_s]).median
        excess_s = ours.median / 100 * bare_ms / 1e3 * steps
        for peer, label in (("accelerate", "Accelerate"), ("lightning", "Lightning")):
            has_target = wait_s == 0.1
            lines.append(
                Line(
                    what=f"added to a step of {1e3 * wait_s:.0f} ms of device time, 2 ranks, MLflow every "
                    f"step",
                    unit="%",
                    ours=ours,
                    peer=label,
                    theirs=overhead(peer, wait_s),
                    target="< 2 %" if has_target else "",
                    met=ours.median < 2 if has_target else None,
                    limit="0",
                    note=f"the bare loop's step took {bare_ms:.1f} ms, with reading and masking on the host. "
                    f"hepfm adds {excess_s:.2g} s to a turn of {steps} steps; the turn's end, where what "
                    "is left of the record is sent and nothing hides it, is in it",
                )
            )
    return lines


def _compare_losses(losses: dict[str, list[float]]) -> None:
    for name, found in losses.items():
        for ours, theirs in zip(losses["hepfm"], found, strict=True):
            assert abs(ours - theirs) < 1e-3 * abs(theirs), f"{name} trains something else: {losses}"
