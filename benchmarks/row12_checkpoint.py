"""Row 12: how long a checkpoint of 280 MB holds up training.

The state is that of ``image3d/masked-small`` after one step: float32 weights and Adam's two moments.
hepfm copies it, and writes it in the background with hashes, fsync and a rename at the end; dcp.async_save
does as much without hash and fsync. Both are waited for outside of the timing. ``torch.save`` writes the
same tensors while training waits. The memory for copies is there from the first checkpoint on, which is not
among those timed; how long it took stands in the note.
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
            taken = seconds(lambda: snapshot.save(session))
            background.append(seconds(lambda: snapshot.finish(session)))
            return taken

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
        background: list[float] = []
        first = 1e3 * ours()
        ways = {"hepfm": ours, "torch.save": plain, "dcp.async_save": in_background}
        times = {
            name: [1e3 * value for value in values] for name, values in in_turn(ways, quick=quick).items()
        }
        source, target = torch.ones(2, int(size * 1e6), dtype=torch.uint8)
        limit = 1e3 * min(seconds(lambda: target.copy_(source)) for _ in range(7))
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
            note=f"complete, hashed and synced {Spread.of(background).median:.2g} s later; the run's first "
            f"checkpoint, which takes the memory for the copies, held up {first:.0f} ms",
        )

    return [line("torch.save"), line("dcp.async_save")]
