"""DeepSpeed's configuration: our defaults, and over them what a recipe may say. Imports no DeepSpeed."""

from __future__ import annotations

from typing import Any

from hepfm.errors import RecipeError, did_you_mean
from hepfm.recipe.schema import Recipe

_OURS = {
    "train_batch_size": "data.batch_cost",
    "train_micro_batch_size_per_gpu": "data.micro_batch_cost",
    "gradient_accumulation_steps": "data.micro_batch_cost",
    "gradient_clipping": "train.clip_norm",
    "optimizer": "train.learning_rate, train.betas and train.weight_decay",
    "scheduler": "train.schedule",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "bfloat16": "train.precision",
    "amp": "train.precision",
    "torch_autocast": "train.precision",
}
"""Keys of DeepSpeed that a recipe says elsewhere."""

_PASSED = {
    "activation_checkpointing",
    "aio",
    "comms_logger",
    "communication_data_type",
    "dump_state",
    "flops_profiler",
    "gradient_predivide_factor",
    "memory_breakdown",
    "prescale_gradients",
    "timers",
    "wall_clock_breakdown",
    "zero_optimization",
}


def zero_stage(recipe: Recipe) -> int:
    """What ZeRO splits over ranks: 0 nothing, 1 optimiser states (default), 2 and gradients, 3 and weights.

    Raises:
        RecipeError: It is none of these.
    """
    zero = recipe.deepspeed.get("zero_optimization", {})
    stage = zero.get("stage", 1) if isinstance(zero, dict) else zero
    if isinstance(stage, bool) or stage not in (0, 1, 2, 3):
        raise RecipeError(
            f"'{stage}' is not a ZeRO stage.", where="deepspeed.zero_optimization.stage", fix="0, 1, 2 or 3"
        )
    return int(stage)


def deepspeed_config(recipe: Recipe, n_parameters: int) -> dict[str, Any]:
    """The configuration that DeepSpeed is initialised with.

    Args:
        recipe: Its section ``deepspeed`` is laid over the defaults.
        n_parameters: Of the model; buckets are not made larger than it.

    Raises:
        RecipeError: A key that DeepSpeed does not have, or that the recipe says elsewhere.
    """
    for key in recipe.deepspeed:
        if key in _OURS:
            raise RecipeError(
                f"DeepSpeed's '{key}' follows from the recipe.",
                where=f"deepspeed.{key}",
                fix=f"set {_OURS[key]}",
            )
        if key not in _PASSED:
            raise RecipeError(
                f"'{key}' is not passed to DeepSpeed.",
                where=f"deepspeed.{key}",
                fix=did_you_mean(key, _PASSED),
            )
    stage = zero_stage(recipe)
    bucket = min(500_000_000, (n_parameters // 4096 + 2) * 4096)  # a multiple: shards are aligned
    zero = {
        "stage": stage,
        # DeepSpeed allocates a bucket whole, each step: its default takes 2 GB for the smallest model.
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        "contiguous_gradients": stage == 3,
        "overlap_comm": False,
    }
    return {
        # The step says itself when gradients are complete, and normalises the loss: nothing is left to scale.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # At stage 0 the engine clips: DeepSpeed does it tensor by tensor, and keeps the norm to itself.
        "gradient_clipping": recipe.train.clip_norm if stage else 0.0,
        "steps_per_print": None,
        "timers": {"throughput": {"enabled": False, "synchronized": False}},
        "checkpoint": {"tag_validation": "Ignore"},
        "zero_force_ds_cpu_optimizer": False,
        **recipe.deepspeed,
        "zero_optimization": zero | recipe.deepspeed.get("zero_optimization", {}),
    }
