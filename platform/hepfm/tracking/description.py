"""What MLflow is told of a run at its beginning."""

from __future__ import annotations

from collections.abc import Mapping
from getpass import getuser
from typing import Any

from hepfm import __version__
from hepfm.tracking.lines import plain
from hepfm.tracking.runs import RunDir

_PARAM_LENGTH = 500


def describe(
    run: RunDir,
    experiment: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    dataset: Mapping[str, str] | None,
    made_with: Mapping[str, Any],
) -> dict[str, Any]:
    """All that a store needs to begin the run: experiment, parameters, tags, dataset.

    Args:
        run: The run's folder.
        experiment: MLflow's experiment.
        params: Headline parameters, cut visibly at 500 characters.
        tags: Further tags.
        dataset: ``name``, ``digest`` and ``source`` of the training data.
        made_with: What `versions` gives.
    """
    texts = {key: str(plain(value)) for key, value in params.items()}
    cut = {
        key: f"{text[: _PARAM_LENGTH - 6]} [cut]" if len(text) > _PARAM_LENGTH else text
        for key, text in texts.items()
    }
    content = run.json()
    own = {
        "mlflow.user": getuser(),
        "mlflow.source.name": "hepfm",
        "mlflow.source.type": "LOCAL",
        "hepfm.code": made_with["code"],
        "hepfm.plugins": ", ".join(
            f"{name} {about['version']}" for name, about in made_with["plugins"].items()
        ),
        "hepfm.run_dir": str(run.path),
    }
    if made_with["code"] != __version__:
        own["mlflow.source.git.commit"] = made_with["code"].removesuffix("-dirty")
    if dataset:
        own["hepfm.data_digest"] = dataset["digest"]
    own |= {f"pretrain.{key}": str(said).lower() for key, said in content.get("pretrain", {}).items()}
    if parent := content.get("parent"):
        own["hepfm.parent"] = parent
        folder = run.home / parent
        if (folder / "run.json").is_file() and (parent_id := RunDir(folder).json().get("run_id")):
            own["mlflow.parentRunId"] = parent_id
    return {
        "experiment": experiment,
        "params": cut,
        "tags": own | dict(tags),
        "dataset": dict(dataset) if dataset else None,
    }
