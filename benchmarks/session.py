"""A training session of hepfm in this process, ready for its next step, as rows that look inside need it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepfm.training.session import Session


def resolved(recipe: str, **changes: Any) -> Any:
    """A named recipe with changes (``train__steps=3``), resolved."""
    from hepfm.recipe.load import load_recipe

    return load_recipe(recipe, [f"{key.replace('__', '.')}={value}" for key, value in changes.items()])


@contextmanager
def one_rank(folder: Path, recipe: str, *, batch_cost: int) -> Iterator[Session]:
    """A session after one step, alone, recorded below ``folder``."""
    from hepfm.data.loader import Loader
    from hepfm.random import Draws
    from hepfm.tracking.runs import create_run
    from hepfm.training.ranks import join
    from hepfm.training.request import TrainRequest
    from hepfm.training.start import start
    from hepfm.training.step import train_step

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    wanted = resolved(
        recipe,
        data__batch_cost=batch_cost,
        data__micro_batch_cost=batch_cost,
        tracking__uri=f"sqlite:///{folder}/mlflow.db",
    )
    run = create_run(folder, "benchmark", wanted.yaml())
    request = TrainRequest(recipe=wanted.recipe.model_dump(mode="json"), run_dir=str(run.path))
    ranks = join(60.0)
    session = start(request, wanted, run, ranks)
    try:
        objective = session.engine.module.objective
        step = next(iter(Loader(session.train, seed=0, batch_cost=batch_cost, micro_batch_cost=batch_cost)))
        draws = [Draws(seed=0, epoch=0, event_ids=batch.event_ids) for batch in step.micro_batches]
        plans = [objective.plan(b, d) for b, d in zip(step.micro_batches, draws, strict=True)]
        train_step(session.engine, plans, objective.weights, learning_rate=1e-4)
        yield session
    finally:
        if session.recorder is not None:
            session.recorder.close("done")
        ranks.leave()
