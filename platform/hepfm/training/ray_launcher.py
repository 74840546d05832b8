"""Workers on Ray: Ray Train starts them and tells of their end; the loop in them knows nothing of Ray.

Ray Train's own restarts and sizes are not used: see docs/adr/0007-restarts-are-ours.md.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepfm.data.ray_address import address_of
from hepfm.errors import Stopped, TrainingError
from hepfm.tracking.runs import RunDir
from hepfm.training.in_process import SHORT_SPINS
from hepfm.training.ray_connection import connected
from hepfm.training.ray_failures import LostError, NotStartedError, judge
from hepfm.training.ray_folder import check_folder_is_shared
from hepfm.training.ray_head import Head, HeadLostError
from hepfm.training.ray_nodes import Group, free, group, nodes, wait_for_room
from hepfm.training.signals import noted, stopped

if TYPE_CHECKING:
    from hepfm.recipe.schema import Cluster
    from hepfm.training.request import TrainRequest

_STORAGE = "ray"
"""Folder in the run's own that Ray Train asks for; nothing is kept in it."""
_GROW = "room for more workers"
"""Why a run is asked to stop, to go on at once with more workers."""
_LOOK_FOR_ROOM_S = 10.0
_FREE_WITHIN_S = 90.0
"""How long a rank 0 that was lost may hold the run's lock."""


def run_on_ray(request: TrainRequest, cluster: Cluster, say: Callable[[str], None] = lambda _: None) -> None:
    """Trains on a running Ray (``cluster.address``, else RAY_ADDRESS), or on a local one of its own.

    After the loss of a worker or node the workers are started again, ``cluster.max_restarts`` times, from the
    newest complete checkpoint; of a range of workers, as many as there is room for.

    Args:
        request: What to train.
        cluster: Of the recipe.
        say: Is told what happens to the workers, a sentence at a time; the run's log is told, too.

    Raises:
        HepfmError: What a worker raised, as itself; or what `connected` raises.
        TrainingError: Workers were lost too often, or Ray's head; or a node does not see the run's folder.
        Stopped: The run was asked to stop, and did so after a checkpoint.
    """
    run = RunDir(Path(request.run_dir))

    def tell(sentence: str) -> None:
        say(sentence)
        with suppress(OSError), run.log_path.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} launcher: {sentence}\n")

    with connected(cluster):
        try:
            _keep_training(request, cluster, run, tell)
        except HeadLostError as error:
            raise TrainingError(
                f"Ray's head at {error} does not answer any more; the workers end with it.",
                where=f"{run.log_path} has what happened before",
                fix=f"start it again; hepfm resume {run.name} goes on from the newest checkpoint",
            ) from error
        finally:
            shutil.rmtree(run.path / _STORAGE, ignore_errors=True)  # ours are the checkpoints


def _keep_training(request: TrainRequest, cluster: Cluster, run: RunDir, tell: Callable[[str], None]) -> None:
    """Trains to the end, however often workers are lost within what is allowed."""
    losses, again, gpus = 0, False, None
    started = time.monotonic()  # or tried to, in vain since
    while True:
        _obey(run)
        check_folder_is_shared(run.path)
        size = wait_for_room(
            cluster,
            run,
            tell,
            gpus=gpus,
            patience_s=request.timeout_s,
            shared=address_of(cluster.address) is not None,
        )
        if again or cluster.fewest_workers < cluster.most_workers:
            begin = f", going on from {run.newest_checkpoint or 'the beginning'}" if again else ""
            tell(f"Training with {size.workers} {'worker' if size.workers == 1 else 'workers'}{begin}.")
        _obey(run)
        run.update(reason=None)  # what ended an attempt before
        gpus, again = size.gpus, True
        try:
            _Attempt(request, cluster, size, run, tell).go()
        except NotStartedError as error:  # no loss: others were faster
            if time.monotonic() - started > request.timeout_s:
                raise TrainingError(
                    f"{error} They were tried to start for {request.timeout_s / 60:.0f} minutes.",
                    where=f"{run.log_path} has what happened before",
                    fix=f"see what else runs on the cluster; hepfm resume {run.name} goes on then",
                ) from error
            tell(f"{error} Looking for room again.")
            continue
        except LostError as lost:
            losses += 1
            if losses > cluster.max_restarts:
                raise TrainingError(
                    f"{lost} cluster.max_restarts = {cluster.max_restarts} allows no further attempt.",
                    where=f"{run.log_path} has what happened before",
                    fix=f"hepfm resume {run.name} goes on from the newest checkpoint",
                ) from lost
            run.update(restarts=run.json().get("restarts", 0) + 1)
            tell(f"{lost} Starting again from the newest checkpoint ({losses} of {cluster.max_restarts}).")
            # A rank 0 that was lost lets the run go.
            patience = run.lock(patience_s=_FREE_WITHIN_S, unless=lambda: noted() or run.stop_asked())
            with suppress(TrainingError, OSError), patience:
                pass
            started = time.monotonic()
            continue
        end = run.json()
        if end["status"] != "stopped":
            return
        if end["reason"] != _GROW:
            raise stopped(end["reason"], run)
        started = time.monotonic()


def _obey(run: RunDir) -> None:
    """Raises `Stopped` where that was asked for while no worker listened."""
    run.forget_stop(_GROW)  # which the next group does
    if reason := noted() or run.stop_asked():
        raise stopped(reason, run)


class _Attempt:
    """One group of workers, until it is done, stops or fails, or a worker is lost."""

    def __init__(
        self, request: TrainRequest, cluster: Cluster, size: Group, run: RunDir, tell: Callable[[str], None]
    ) -> None:
        self._request, self._cluster, self._size, self._run, self._tell = request, cluster, size, run, tell
        self._error: BaseException | None = None
        self._next_look = time.monotonic() + _LOOK_FOR_ROOM_S

    def go(self) -> None:
        """Trains; Ray Train does so in a thread, so that this one hears signals and watches the cluster.

        Raises:
            LostError: A worker or a node was lost.
            NotStartedError: There was no room for the workers after all.
            HepfmError: What a worker raised.
        """
        import ray

        thread = threading.Thread(target=self._fit, name="hepfm-ray-train", daemon=True)
        thread.start()
        head = Head(ray.get_runtime_context().gcs_address)
        while thread.is_alive():
            thread.join(0.2)
            head.check()
            if head.answers:  # else to ask for the nodes would wait for it
                self._look_for_room()
        if self._error is not None:
            head.make_sure()  # its loss comes as whatever was under way
            judge(self._error, self._run)

    def _fit(self) -> None:
        from ray import train
        from ray.train.torch import TorchConfig, TorchTrainer

        size = self._size
        shutil.rmtree(self._run.path / _STORAGE, ignore_errors=True)  # of an attempt before
        try:
            TorchTrainer(
                _train,
                train_loop_config=self._request.to_json(),
                scaling_config=train.ScalingConfig(
                    num_workers=size.workers,
                    use_gpu=size.gpus > 0,
                    resources_per_worker={"CPU": size.cpus, "GPU": size.gpus},
                ),
                torch_config=TorchConfig(backend="nccl" if size.gpus else "gloo"),
                run_config=train.RunConfig(
                    name=_STORAGE,
                    storage_path=str(self._run.path),
                    worker_runtime_env={"env_vars": environment(size)},
                    failure_config=train.FailureConfig(
                        max_failures=0, controller_failure_limit=0, max_preemption_failures=0
                    ),
                ),
            ).fit()
        except BaseException as error:  # noqa: BLE001 - judged in the main thread
            self._error = error

    def _look_for_room(self) -> None:
        """Asks a run with a range of workers to stop where it could go on with more."""
        if self._size.workers == self._cluster.most_workers or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_FOR_ROOM_S
        larger = group(self._cluster, free(nodes(), own=self._size), gpus=self._size.gpus)
        if larger is None or larger.workers <= self._size.workers:
            return
        self._next_look = math.inf
        try:
            check_folder_is_shared(self._run.path)
        except TrainingError as error:
            self._tell(f"Not growing to {larger.workers} workers. {error}")
            return
        self._tell(f"There is room for {larger.workers} workers; going on with them after a checkpoint.")
        with suppress(OSError):  # where nothing can be written, training ends by itself
            self._run.ask_to_stop(_GROW, unless_asked=True)


def environment(size: Group) -> dict[str, str]:
    """Variables of the workers. Without a GPU they see none; Ray (2.60) would leave them all."""
    variables = {"OMP_NUM_THREADS": str(size.cpus), **SHORT_SPINS}
    return variables if size.gpus else variables | {"CUDA_VISIBLE_DEVICES": ""}


def _train(config: dict[str, Any]) -> None:
    from hepfm.training.output import output_to
    from hepfm.training.request import TrainRequest
    from hepfm.training.worker import train

    request = TrainRequest.from_json(config)
    # No error to Ray Train: the launcher finds the reason in run.json.
    with output_to(Path(request.run_dir) / "log.txt"), suppress(Stopped):
        train(request)
