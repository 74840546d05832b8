"""The training loop: plain Python that knows nothing of who started it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing

import psutil
import torch

from hepfm.api import Batch, Comparing, Labelled, Taught
from hepfm.data.generated import GeneratorSource
from hepfm.data.loader import Loader, Step, validation_batches
from hepfm.data.source import Source
from hepfm.data.tensors import to_device
from hepfm.errors import TrainingError
from hepfm.failpoints import failpoint
from hepfm.random import Draws
from hepfm.tracking.recorder import as_metrics
from hepfm.training import displays, snapshot
from hepfm.training.memory import naming_memory
from hepfm.training.schedule import learning_rate
from hepfm.training.session import Session
from hepfm.training.step import train_step
from hepfm.training.validate import validate

_log = logging.getLogger(__name__)


def run_loop(session: Session) -> str | None:
    """Trains to the recipe's last step, or out of patience, with a validation and a checkpoint at the end.

    A stop that any rank asks for is obeyed after the next step, on all ranks, with a checkpoint. So each
    attempt gets one step further, however often it is stopped.

    Returns:
        Why it was stopped, the same on all ranks; None where it came to its end.

    Raises:
        TrainingError: Too many steps in a row had a loss or gradient that was not finite.
    """
    recipe, state = session.recipe, session.state
    stop: str | None = None
    with closing(iter(_loader(session))) as steps:
        while not _at_end(session) and stop is None:
            stop = _step(session, steps)
            failpoint("after-step")
            # The last checkpoint knows its loss: it is validated before, whatever the intervals.
            if state.step % recipe.train.validate_every == 0 or state.step == recipe.train.steps:
                _validate(session)
            if state.step % recipe.checkpoint.every == 0:
                snapshot.save(session)
    done = _at_end(session)
    if done and state.validated != state.step:
        _validate(session)
    if session.saved is None or session.saved.step != state.step:
        snapshot.save(session)
    snapshot.finish(session)
    if session.left_out:
        said = ", ".join(f"{what}: {n}" for what, n in sorted(session.left_out.items()))
        _log.warning("left out or changed in the events that this rank trained on since it began: %s", said)
    return None if done else stop


def _at_end(session: Session) -> bool:
    """Whether the last step was taken, or validations have not become better for as long as is waited."""
    train, state = session.recipe.train, session.state
    return state.step >= train.steps or (train.patience is not None and state.since_best >= train.patience)


@torch.no_grad()
def observe_marginals(session: Session) -> None:
    """Collects what the no-learning baseline predicts with, from some of the training events."""
    objective, ranks = session.engine.module.objective, session.ranks
    if not objective.marginals():  # nothing to be told of the events
        return
    for buffer in objective.marginals():
        buffer.zero_()
    for batch in _each_once(session, session.train, session.recipe.train.marginal_events):
        ranks.arrive()
        moved = to_device(batch, ranks.device)
        draws = Draws(seed=session.recipe.seed, epoch="marginals", event_ids=moved.event_ids)
        objective.observe(objective.plan(moved, draws, augment=False))
    ranks.add_up(objective.marginals())


def _loader(session: Session) -> Loader:
    data = session.recipe.data
    made = isinstance(session.train, GeneratorSource)
    return Loader(
        session.train,
        seed=session.recipe.seed,
        batch_cost=data.batch_events if made else data.batch_cost,
        micro_batch_cost=data.micro_batch_cost,
        rank=session.ranks.rank,
        world=session.ranks.world,
        workers=session.recipe.cluster.loader_workers,
        start=session.state.cursor,
        labels=_labels(session),
        together=_together(session),
        most=session.ranks.most,
    )


def _each_once(session: Session, source: Source, events: int | None) -> Iterator[Batch]:
    """This rank's share of so many of a source's events (or all), as many batches on every rank."""
    return validation_batches(
        source,
        rank=session.ranks.rank,
        world=session.ranks.world,
        micro_batch_cost=session.recipe.data.micro_batch_cost,
        batch_events=session.recipe.data.batch_events,
        events=events,
        labels=_labels(session),
        together=_together(session),
        most=session.ranks.most,
    )


def _labels(session: Session) -> bool:
    """Whether batches have their labels."""
    return isinstance(session.engine.module.objective, Labelled)


def _together(session: Session) -> int:
    """Events that must stay in one micro-batch."""
    objective = session.engine.module.objective
    return objective.group_events if isinstance(objective, Comparing) else 1


def _step(session: Session, steps: Iterator[Step]) -> str | None:
    """One step, with its figures; returns why to stop after it, where a rank asks for that."""
    recipe, state, device = session.recipe, session.state, session.ranks.device
    started = time.perf_counter()
    batch = next(steps)
    objective = session.engine.module.objective
    rate = learning_rate(state.step + 1, recipe.train)
    stop = session.stop_asked()
    with naming_memory(session, batch):
        plans = []
        for micro in batch.micro_batches:
            moved = to_device(micro, device)
            draws = Draws(seed=recipe.seed, epoch=batch.epoch, event_ids=moved.event_ids)
            plans.append(objective.plan(moved, draws, augment=recipe.data.augment))
        result = train_step(
            session.engine,
            plans,
            objective.weights,
            learning_rate=rate,
            stop=stop is not None,
            saving=session.saver.busy,
        )
    state.step += 1
    state.cursor = batch.cursor
    session.left_out += batch.left_out
    if result.taken and session.ema is not None:
        session.ema.update()
        state.averaged = session.ema.updates
    if result.taken and isinstance(objective, Taught):
        objective.follow(session.engine.whole_parameters(), step=state.step, steps=recipe.train.steps)
    seconds = time.perf_counter() - started
    state.count(taken=result.taken, loss=result.loss, seconds=seconds)
    session.record(
        {
            "train/loss": result.loss,
            **{f"train/{term}": value for term, value in result.terms.items()},
            "train/bad_steps": state.bad_steps,
            "lr": rate,
            "grad_norm": result.grad_norm,
            "throughput/events_per_s": batch.n_events / seconds,
            "throughput/tokens_per_s": result.tokens / seconds,
            "data/wait_fraction": batch.wait_s / seconds,
            **_memory(device),
            **session.effective_time(),
        }
    )
    if not result.terms and state.bad_steps == 1 and session.ranks.rank == 0:
        _log.warning(
            "step %d: nothing was to be predicted of its %d events, so it changes nothing; more such "
            "steps are counted as train/bad_steps",
            state.step,
            batch.n_events,
        )
    if not result.saving:
        snapshot.advance(session)
    if state.bad_in_a_row >= recipe.train.max_bad_steps:
        snapshot.finish(session)
        if not result.terms:
            raise TrainingError(
                f"In {state.bad_in_a_row} steps in a row nothing was to be predicted.",
                where=f"step {state.step}, epoch {batch.epoch}",
                fix="see that the objective hides something of these events, or that they have labels",
            )
        raise TrainingError(
            f"{state.bad_in_a_row} steps in a row had a loss or gradient that is not finite.",
            where=f"step {state.step}, epoch {batch.epoch}",
            fix="see train/loss and grad_norm before it; lower train.learning_rate, or set "
            "train.precision=fp32, or look for bad events with hepfm data check",
        )
    return session.ranks.first_known(stop) if result.asked_to_stop else None


def _validate(session: Session) -> None:
    if session.val is None:
        return
    failpoint("validating")
    recipe, state = session.recipe, session.state
    with session.averaged_weights():
        batches = _each_once(session, session.val, recipe.train.validate_events)
        result = validate(session.engine.module, batches, recipe.seed, session.ranks)
        weights = session.engine.module.objective.weights
        if not any(weights[term] for term in result.terms):
            raise TrainingError(
                "In the validation events nothing is to be predicted that has a weight, so there is no loss.",
                where="data.val",
                fix="see that the objective hides something of these events, or that they have labels",
            )
        files = displays.draw(session)
    state.val_loss, state.val_loss_baseline, state.validated = result.loss, result.baseline, state.step
    figures = {"val/loss": result.loss}
    if result.baseline is not None:
        figures["val/loss_baseline"] = result.baseline
    state.judge(score_of(recipe.train.best_by, result.loss, result.figures))
    told = as_metrics({**result.terms, **result.figures})  # names of classes are in some
    figures |= {f"val/{name}": value for name, value in told.items()}
    session.record(figures)
    for path in files:
        assert session.recorder is not None  # rank 0 alone draws
        session.recorder.artifact(path, "displays")
    for callback in session.callbacks:
        callback.on_validation(state.step, figures)


def score_of(best_by: str | None, loss: float, figures: Mapping[str, float]) -> float | None:
    """What a validation is worth, the lower the better; None where the figure is not defined."""
    if best_by is None:
        return loss
    value = figures.get(best_by.removeprefix("-"))
    return value if value is None or best_by.startswith("-") else -value


def _memory(device: torch.device) -> dict[str, float]:
    figures = {"memory/rss_gib": psutil.Process().memory_info().rss / 2**30}
    if device.type == "cuda":
        figures["memory/cuda_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return figures
