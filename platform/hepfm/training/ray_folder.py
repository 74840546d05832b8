"""Whether all nodes of a Ray cluster see a run's folder."""

from __future__ import annotations

import secrets
import socket
import time
from pathlib import Path
from typing import Any

from hepfm.errors import TrainingError
from hepfm.training.ray_nodes import Node, nodes

_ANSWER_WITHIN_S = 120.0


def check_folder_is_shared(run_dir: Path) -> None:
    """Makes sure that every node answers and sees what is written to the run's folder here.

    A node that Ray finds lost meanwhile is left out.

    Raises:
        TrainingError: A node does not see it, has no hepfm, or does not answer; all such nodes are named.
    """
    import ray
    from ray.exceptions import RayActorError, RaySystemError, WorkerCrashedError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    others = [node for node in nodes() if node.id != here]
    if not others:
        return
    secret, note = secrets.token_hex(8), run_dir / f".seen-by-{secrets.token_hex(4)}"
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked: dict[Any, Node] = {}
    for node in others:
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        asked[look.options(scheduling_strategy=there).remote(str(note))] = node
    wrong: list[str] = []
    end = time.monotonic() + _ANSWER_WITHIN_S
    try:
        note.write_text(secret)
        while asked and time.monotonic() < end:
            ready, _ = ray.wait(list(asked), timeout=0.5)
            for answer in ready:
                node = asked.pop(answer)
                try:
                    seen = ray.get(answer)
                except (RayActorError, RaySystemError, WorkerCrashedError):
                    continue  # lost just now
                except ray.exceptions.RayError as error:
                    wrong.append(f"{node.host} fails: {str(error).strip().splitlines()[-1]}")
                    continue
                if seen != secret:
                    wrong.append(f"{node.host} does not see {run_dir}")
            alive = {node.id for node in nodes()}
            asked = {answer: node for answer, node in asked.items() if node.id in alive}
    finally:
        note.unlink(missing_ok=True)
    wrong += [f"{node.host} does not answer" for node in asked.values()]
    if wrong:
        raise TrainingError(
            "Not all nodes of the Ray cluster can train this run.",
            where="; ".join(sorted(wrong)),
            fix=f"with --runs name a folder that all see under the same path as {socket.gethostname()} does, "
            "and install the same packages on each",
        )


def _look(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
