"""Workers on Ray: Ray Train starts them and tells of their end; the loop in them knows nothing of Ray."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepfm.data.local_ray import init_options
from hepfm.errors import HepfmError, RecipeError, TrainingError

if TYPE_CHECKING:
    from hepfm.recipe.schema import Cluster
    from hepfm.training.request import TrainRequest


_STORAGE = "ray"
"""Folder in the run's own that Ray Train asks for; nothing is kept in it."""


def run_on_ray(request: TrainRequest, cluster: Cluster) -> None:
    """Trains on a running Ray (``cluster.address``, else RAY_ADDRESS), or on a local one of its own.

    Raises:
        HepfmError: What a worker raised, as itself; `TrainingError` where a worker was lost.
        RecipeError: The cluster has less than what was asked for.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    cores = max((cluster.cpus_per_worker or 1) * cluster.workers, os.cpu_count() or 1)
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    options = init_options(address, cpus=cores)
    import ray
    from ray import train
    from ray.train.torch import TorchConfig, TorchTrainer

    started_here = not ray.is_initialized()
    if started_here:
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            if address is None:
                raise
            raise RecipeError(
                f"No Ray cluster answers at '{address}': {error}",
                where="cluster.address" if cluster.address else "RAY_ADDRESS",
                fix="start one (ray start --head), correct the address, or leave it out for a local Ray",
            ) from error
    try:
        resources = _resources_per_worker(ray.cluster_resources(), cluster)
        threads = str(max(1, int(resources["CPU"])))
        trainer = TorchTrainer(
            _train,
            train_loop_config=request.to_json(),
            scaling_config=train.ScalingConfig(
                num_workers=cluster.workers,
                use_gpu=resources["GPU"] > 0,
                resources_per_worker=resources,
            ),
            torch_config=TorchConfig(backend="nccl" if resources["GPU"] else "gloo"),
            run_config=train.RunConfig(
                name=_STORAGE,
                storage_path=request.run_dir,
                worker_runtime_env={"env_vars": {"OMP_NUM_THREADS": threads}},
                failure_config=train.FailureConfig(max_failures=0),
            ),
        )
        try:
            trainer.fit()
        except train.WorkerGroupError as error:
            raise _cause(error, request) from error
        except SystemExit as error:  # Ray Train takes Ctrl-C itself, and exits
            raise KeyboardInterrupt from error
    finally:
        if started_here:
            ray.shutdown()
        shutil.rmtree(Path(request.run_dir, _STORAGE), ignore_errors=True)  # ours are the checkpoints


def _train(config: dict[str, Any]) -> None:
    from hepfm.training.output import output_to
    from hepfm.training.request import TrainRequest
    from hepfm.training.worker import train

    request = TrainRequest.from_json(config)
    with output_to(Path(request.run_dir) / "log.txt"):
        train(request)


def _resources_per_worker(available: dict[str, float], cluster: Cluster) -> dict[str, float]:
    """What a worker gets: as the recipe says, else an even share of the cores and, where there are, a GPU."""
    cpus, gpus = available.get("CPU", 0.0), available.get("GPU", 0.0)
    wanted = {
        "CPU": float(cluster.cpus_per_worker or max(1, int(cpus // cluster.workers))),
        "GPU": float(gpus >= cluster.workers if cluster.gpus_per_worker is None else cluster.gpus_per_worker),
    }
    for name, has in (("CPU", cpus), ("GPU", gpus)):
        if wanted[name] * cluster.workers > has:
            raise RecipeError(
                f"{cluster.workers} workers with {wanted[name]:g} {name}s each need "
                f"{wanted[name] * cluster.workers:g} {name}s; the Ray cluster has {has:g}.",
                where=f"cluster.workers, cluster.{name.lower()}s_per_worker",
                fix="ask for fewer workers or less for each",
            )
    return wanted


def _cause(error: Any, request: TrainRequest) -> HepfmError:
    """The first worker's own error where it is one of ours; the lowest rank is the most telling."""
    for _, failure in sorted(error.worker_failures.items()):
        seen: BaseException | None = failure
        while seen is not None:
            if isinstance(seen, HepfmError):
                return seen
            seen = getattr(seen, "cause", None) or seen.__cause__
    ranks = ", ".join(str(rank) for rank in sorted(error.worker_failures))
    last = str(next(iter(error.worker_failures.values()))).strip().splitlines()[-1]
    return TrainingError(
        f"Training ended on rank {ranks}: {last}",
        where=f"{request.run_dir}/log.txt has the traceback",
        fix=f"hepfm resume {Path(request.run_dir).name} goes on from the newest checkpoint",
    )
