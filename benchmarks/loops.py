"""One training, written in several ways on the same data, model, objective and optimiser.

``python -m benchmarks.loops SPEC`` is one rank of a group of `benchmarks.turns`; it trains until it is ended.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@dataclass
class Work:
    """What every way trains, made from a recipe; nothing in it knows how it is trained."""

    recipe: Any
    source: Any
    module: Any
    optimizer: torch.optim.Optimizer

    def plans(self) -> Iterator[tuple[Any, dict[str, float]]]:
        """This rank's plan of each step, and what each term's sum is multiplied by, as hepfm does it."""
        from hepfm.data.loader import Loader
        from hepfm.random import Draws

        data, objective = self.recipe.data, self.module.objective
        loader = Loader(
            self.source,
            seed=self.recipe.seed,
            batch_cost=data.batch_cost,
            micro_batch_cost=data.micro_batch_cost,
            rank=RANK,
            world=WORLD,
        )
        for step in loader:
            [batch] = step.micro_batches
            plan = objective.plan(
                batch,
                Draws(seed=self.recipe.seed, epoch=step.epoch, event_ids=batch.event_ids),
                augment=data.augment,
            )
            counts = torch.tensor([float(plan.counts.get(term, 0)) for term in objective.weights])
            if WORLD > 1:
                torch.distributed.all_reduce(counts)
            counted = zip(objective.weights.items(), counts.tolist(), strict=True)
            yield plan, {term: weight * WORLD / count for (term, weight), count in counted}


def work(recipe: Any) -> Work:
    """The same initial weights in every way."""
    from hepfm.data.source import open_source
    from hepfm.data.tensors import to_torch
    from hepfm.random import Draws
    from hepfm.training.engine import decay_groups
    from hepfm.training.model import build

    source = open_source(recipe.data.train, parts=recipe.data.parts)
    module = build(recipe, source.modalities, "fp32")
    batch = to_torch(source.read(range(len(source))))
    draws = Draws(seed=recipe.seed, epoch="marginals", event_ids=batch.event_ids)
    with torch.no_grad():
        module.objective.observe(module.objective.plan(batch, draws, augment=False))
    train = recipe.train
    optimizer = torch.optim.AdamW(
        decay_groups(module, train.weight_decay), lr=train.learning_rate, betas=train.betas, fused=True
    )
    return Work(recipe, source, module, optimizer)


def hepfm(resolved: Any, folder: Path) -> None:
    """hepfm's own worker, as a launcher starts it."""
    import time

    from hepfm.tracking.runs import create_run
    from hepfm.training.request import TrainRequest
    from hepfm.training.worker import train

    name = folder / "run"
    if RANK == 0:
        run = create_run(folder, "turns", resolved.yaml())
        name.with_suffix(".aside").write_text(str(run.path))
        name.with_suffix(".aside").rename(name)
    while not name.exists():
        time.sleep(0.01)
    train(TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=name.read_text()))


def send_all(folder: Path) -> Callable[[], None]:
    """Sends to MLflow what hepfm has recorded so far, as its background thread does every two seconds."""

    @cache
    def shipper() -> Any:
        from hepfm.tracking.runs import RunDir
        from hepfm.tracking.shipper import Shipper
        from hepfm.tracking.spool import Spool

        run = RunDir(Path((folder / "run").read_text()))
        return Shipper(run, Spool(run.spool), f"sqlite:///{folder}/mlflow.db")

    def send() -> None:
        while shipper().ship():
            pass

    return send


def bare(resolved: Any, _: Path) -> None:
    """What one writes by hand: DistributedDataParallel, clipping, a step; nothing is recorded."""
    if WORLD > 1:
        torch.distributed.init_process_group("gloo")
    todo = work(resolved.recipe)
    model = torch.nn.parallel.DistributedDataParallel(todo.module) if WORLD > 1 else todo.module
    for plan, scales in todo.plans():
        todo.optimizer.zero_grad()
        loss, _ = model(plan, scales)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(todo.module.parameters(), resolved.recipe.train.clip_norm)
        todo.optimizer.step()


def bare_first_step(resolved: Any, folder: Path) -> None:
    """The bare loop, which says when its first step is done."""

    def done(_optimizer: object, _arguments: object, _options: object) -> None:
        (folder / "first-step").touch()

    register_optimizer_step_post_hook(done)
    bare(resolved, folder)


def accelerate(resolved: Any, folder: Path) -> None:
    """Hugging Face Accelerate, with MLflow told of every step."""
    from accelerate import Accelerator

    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    accelerator = Accelerator(cpu=True, log_with="mlflow", project_dir=str(folder))
    accelerator.init_trackers("turns")
    todo = work(resolved.recipe)
    model, optimizer = accelerator.prepare(todo.module, todo.optimizer)
    for step, (plan, scales) in enumerate(todo.plans()):
        optimizer.zero_grad()
        loss, _ = model(plan, scales)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), resolved.recipe.train.clip_norm)
        optimizer.step()
        accelerator.log({"train/loss": float(loss.detach()), "grad_norm": float(norm)}, step=step)


def lightning(resolved: Any, folder: Path) -> None:
    """Lightning, with its MLflow logger told of every step."""
    import lightning as pl
    from lightning.pytorch.loggers import MLFlowLogger

    todo = work(resolved.recipe)

    class Steps(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            for item in todo.plans():
                yield lambda item=item: item  # a function, or Lightning looks for tensors to move in it

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.module = todo.module

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            loss, _ = self.module(*batch())
            self.log("train/loss", loss.detach())
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return todo.optimizer

    trainer = pl.Trainer(
        accelerator="cpu",
        devices=WORLD,
        strategy="ddp",
        max_epochs=1,
        log_every_n_steps=1,
        gradient_clip_val=resolved.recipe.train.clip_norm,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=MLFlowLogger("turns", tracking_uri=f"sqlite:///{folder}/mlflow.db"),
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(Steps(), batch_size=None))


WAYS = {way.__name__: way for way in (hepfm, bare, bare_first_step, accelerate, lightning)}


def main() -> None:
    """One rank."""
    from benchmarks.session import resolved
    from benchmarks.turns import Gate

    spec = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    folder = Path(spec["folder"])
    if spec["way"] != "bare_first_step":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[RANK % len(cores)]})
        gate = Gate(folder, RANK)
        if spec["way"] == "hepfm" and RANK == 0:
            gate.finish = send_all(folder)
    changes = {
        "train__precision": "fp32",
        "train__steps": 1_000_000,
        "train__validate_every": 1_000_000,
        "train__warmup_steps": 0,
        "train__schedule": "constant",
        "checkpoint__every": 1_000_000,
        "data__val": "null",
        "cluster__workers": WORLD,
        "tracking__uri": f"sqlite:///{folder}/mlflow.db",
        **spec["recipe"],
    }
    WAYS[spec["way"]](resolved("image3d/masked-tiny", **changes), folder)


if __name__ == "__main__":
    main()
