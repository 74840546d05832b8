"""What no single field of a recipe can tell: contradictions, and settings without effect."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hepfm.errors import did_you_mean
from hepfm.recipe.problems import Problem
from hepfm.recipe.schema import Generated, Recipe, Section

_SAMPLES = ("sample:train", "sample:val")


def contradictions(recipe: Recipe) -> Iterator[Problem]:
    """What a run cannot mean."""
    train = recipe.train
    if train.warmup_steps > train.steps >= 100:
        # Below 100 steps it is a trial, which may well be cut within the warm-up; see `ineffective`.
        yield Problem(
            ("train", "warmup_steps"),
            f"train.warmup_steps is {train.warmup_steps}, more than train.steps, which is {train.steps}.",
            "warm up for a tenth of the steps or less",
        )
    if train.schedule != "constant" and train.final_learning_rate > train.learning_rate:
        yield Problem(
            ("train", "final_learning_rate"),
            f"train.final_learning_rate is {train.final_learning_rate:g}, more than train.learning_rate, "
            f"which is {train.learning_rate:g}.",
            "lower it, or set train.schedule=constant",
        )
    if recipe.cluster.fewest_workers > recipe.cluster.most_workers:
        yield Problem(
            ("cluster", "workers"),
            f"cluster.workers.min is {recipe.cluster.fewest_workers}, more than cluster.workers.max, "
            f"which is {recipe.cluster.most_workers}.",
            "lower it",
        )
    if re.search("//[^/@]*:[^/@]*@", recipe.tracking.uri or ""):
        yield Problem(
            ("tracking", "uri"),
            "tracking.uri holds a password, and recipes are saved with each run and checkpoint.",
            "set it as MLFLOW_TRACKING_URI, or the password as MLFLOW_TRACKING_PASSWORD",
        )
    if recipe.data.train_events is not None and isinstance(recipe.data.train, Generated):
        yield Problem(
            ("data", "train_events"),
            "data.train_events draws from the events of files, and data.train is a generator.",
            "say data.train.events, or write the events to files first with hepfm simulate",
        )
    for split in ("train", "val"):
        paths = getattr(recipe.data, split)
        for path in [paths] if isinstance(paths, str) else paths if isinstance(paths, list) else []:
            if path.startswith("sample:") and path not in _SAMPLES:
                yield Problem(
                    ("data", split),
                    f"data.{split} is '{path}', which hepfm has not.",
                    did_you_mean(path, _SAMPLES),
                )
            elif not path:
                yield Problem(
                    ("data", split), f"data.{split} holds an empty path.", "name a file, folder or glob"
                )


def ineffective(recipe: Recipe) -> Iterator[str]:
    """Settings that are given, but that other settings leave without effect; one sentence each."""
    yield from _data_without_effect(recipe)
    yield from _training_without_effect(recipe)
    yield from _adaptation_without_effect(recipe)
    yield from _cluster_without_effect(recipe)


def _data_without_effect(recipe: Recipe) -> Iterator[str]:
    data = recipe.data
    made = isinstance(data.train, Generated)
    # Who sets batch_events knows, and may have batch_cost from a recipe that is extended.
    if made and _given(data, "batch_cost") and not _given(data, "batch_events"):
        yield "data.batch_cost: no effect on events of a generator; data.batch_events counts them"
    if not made and not isinstance(data.val, Generated) and _given(data, "batch_events"):
        yield "data.batch_events: no effect on events of files; data.batch_cost says how many are a batch"
    if made and isinstance(data.val, Generated | None) and data.reader is not None:
        yield "data.reader: no effect on events of a generator"
    if not made and data.micro_batch_cost > data.batch_cost and _given(data, "micro_batch_cost"):
        yield (
            f"data.micro_batch_cost = {data.micro_batch_cost} is more than data.batch_cost = "
            f"{data.batch_cost}: each rank computes its whole share at once"
        )


def _training_without_effect(recipe: Recipe) -> Iterator[str]:
    data, train = recipe.data, recipe.train
    if 0 < train.steps < train.warmup_steps:
        yield (
            f"train.warmup_steps = {train.warmup_steps} is more than train.steps = {train.steps}: "
            "train.learning_rate is never reached"
        )
    if train.schedule == "constant" and _given(train, "final_learning_rate"):
        yield "train.final_learning_rate has no effect with train.schedule = constant"
    if data.val is None:
        of_validation = ("validate_every", "validate_events", "patience", "best_by")
        silent = [f"train.{name}" for name in of_validation if _given(train, name)]
        silent += ["checkpoint.keep_best"] if _given(recipe.checkpoint, "keep_best") else []
        silent += ["tracking.displays"] if _given(recipe.tracking, "displays") else []
        if silent:
            yield f"{', '.join(silent)}: no effect without data.val"
    elif data.val == data.train:
        yield "data.val is data.train: the validation loss tells nothing about new events"


def _adaptation_without_effect(recipe: Recipe) -> Iterator[str]:
    adapt = recipe.model.adapt
    for mode, names in (("lora", ("rank", "alpha", "matrices")), ("full", ("layer_decay",))):
        silent = [f"model.adapt.{name}" for name in names if _given(adapt, name)]
        if silent and adapt.mode != mode:
            yield f"{', '.join(silent)}: no effect with model.adapt.mode = {adapt.mode}"
    if recipe.model.weights is None and adapt.mode != "full":
        yield f"model.adapt.mode = {adapt.mode} without model.weights: the encoder keeps its drawn weights"
    elif recipe.model.weights is None and _given(adapt, "layer_decay"):
        yield "model.adapt.layer_decay without model.weights: lower layers have all to learn, slowly"


def _cluster_without_effect(recipe: Recipe) -> Iterator[str]:
    cluster = recipe.cluster
    zero = recipe.deepspeed.get("zero_optimization", {})
    stage = zero.get("stage", 1)
    if silent := [name for name in zero if stage < _needed_stage(name)]:
        yield f"deepspeed.zero_optimization: {', '.join(silent)}: no effect at stage {stage}"
    if cluster.launcher != "ray":
        silent = [
            n for n in ("address", "cpus_per_worker", "gpus_per_worker") if getattr(cluster, n) is not None
        ]
        if silent:
            names = ", ".join(f"cluster.{name}" for name in silent)
            yield f"{names}: no effect with cluster.launcher = {cluster.launcher}"
        if cluster.max_restarts != type(cluster).model_fields["max_restarts"].default:
            yield f"cluster.max_restarts: no effect with cluster.launcher = {cluster.launcher}"
        if not isinstance(cluster.workers, int):
            yield f"cluster.workers: a range has no effect with cluster.launcher = {cluster.launcher}"
    if cluster.launcher == "in-process" and cluster.fewest_workers > 1:
        yield f"cluster.workers = {cluster.fewest_workers}: no effect with cluster.launcher = in-process"


def _needed_stage(name: str) -> int:
    """The lowest ZeRO stage at which a key of ``zero_optimization`` does something."""
    if name == "stage":
        return 0
    return 3 if name.startswith(("stage3_", "zero_", "offload_param")) else 1


def _given(section: Section, name: str) -> bool:
    """Whether a value is not the default (a resolved recipe spells the defaults out)."""
    return bool(getattr(section, name) != type(section).model_fields[name].default)
