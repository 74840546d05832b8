"""DeepSpeed's configuration: our defaults, and over them what a recipe says. Imports no DeepSpeed.

What a recipe's section ``deepspeed`` may hold is checked when the recipe is resolved.
"""

from __future__ import annotations

from typing import Any

from hepfm.recipe.schema import Recipe


def zero_stage(recipe: Recipe) -> int:
    """What ZeRO splits over ranks: 0 nothing, 1 optimiser state (default), 2 and gradients, 3 and weights."""
    return int(recipe.deepspeed.get("zero_optimization", {}).get("stage", 1))


def deepspeed_config(recipe: Recipe, n_parameters: int) -> dict[str, Any]:
    """The configuration that DeepSpeed is initialised with.

    Args:
        recipe: Its section ``deepspeed`` is laid over the defaults.
        n_parameters: Of the model; buckets are not made larger than it.
    """
    stage = zero_stage(recipe)
    bucket = min(500_000_000, (n_parameters // 4096 + 2) * 4096)  # a multiple: shards are aligned
    zero = {
        "stage": stage,
        # DeepSpeed allocates a bucket whole, each step: its default takes 2 GB for the smallest model.
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        # Gradients that are complete one after the other need no copy of their own.
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
