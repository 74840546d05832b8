"""Row 12: how long a checkpoint of 280 MB holds up training.

The state is that of ``image3d/masked-small`` after one step: float32 weights and Adam's two moments.
hepfm's figure is its whole checkpoint, which is complete, hashed and on disk when training goes on, weights
beside the engine's state. ``torch.save`` writes the same tensors without hash or fsync; ``dcp.async_save``
copies them and writes in the background, which is waited for outside of the timing.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from itertools import count
from pathlib import Path

import torch

from benchmarks.measure import Line, Spread, in_turn, ratios, seconds
from benchmarks.session import one_rank


def run(*, quick: bool) -> list[Line]:
    """Times all ways in turn."""
    import torch.distributed.checkpoint as dcp

    from hepfm.training import snapshot

    with (
        tempfile.TemporaryDirectory(dir=Path.home() / ".cache") as folder,
        one_rank(Path(folder), "image3d/masked-small", batch_cost=4000) as session,
    ):
        optimizer = session.engine._deepspeed.optimizer  # noqa: SLF001
        moments = getattr(optimizer, "optimizer", optimizer).state_dict()
        state = {"model": session.engine.module.state_dict(), "optimizer": moments}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        size = len(buffer.getvalue()) / 1e6
        del buffer
        numbers = count()

        def ours() -> float:
            session.state.step += 1
            return seconds(lambda: snapshot.save(session))

        def plain() -> float:
            return seconds(lambda: torch.save(state, Path(folder, "plain.pt")))

        def in_background() -> float:
            nonlocal saving
            target = Path(folder, f"dcp-{next(numbers)}")

            def begin() -> None:
                nonlocal saving
                saving = dcp.async_save(state, checkpoint_id=target)

            taken = seconds(begin)
            saving.result()
            shutil.rmtree(target)
            return taken

        saving = None
        ways = {"hepfm": ours, "torch.save": plain, "dcp.async_save": in_background}
        times = {
            name: [1e3 * value for value in values] for name, values in in_turn(ways, quick=quick).items()
        }
        copied = torch.empty(int(size * 1e6), dtype=torch.uint8)
        limit = 1e3 * min(seconds(copied.clone) for _ in range(7))
    best = Spread.of(times["hepfm"])

    def line(name: str) -> Line:
        return Line(
            what=f"training held up by a checkpoint of {size:.0f} MB",
            unit="ms",
            ours=best,
            peer=name,
            theirs=Spread.of(times[name]),
            ratio=ratios(times["hepfm"], times[name], higher_is_better=False),
            target="<= 20 ms",
            met=best.median <= 20,
            limit=f"one copy, {limit:.0f} ms",
            note="hepfm waits until a checkpoint is complete, hashed and synced to the disk, with the "
            "weights in a "
            "file of their own: what a kill right after it finds is whole. Staging it in shared memory for a "
            "process that finishes it is still to come",
        )

    return [line("torch.save"), line("dcp.async_save")]
