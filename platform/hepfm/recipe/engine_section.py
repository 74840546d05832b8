"""The recipe's ``deepspeed`` section: what may be passed through, and what the recipe says elsewhere.

Keys are those of DeepSpeed's own configuration (https://www.deepspeed.ai/docs/config-json/). Only keys that
have an effect on hepfm's way of training are let through; their values are DeepSpeed's to check, but for the
ZeRO stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hepfm.errors import did_you_mean
from hepfm.recipe.problems import Problem

_BATCH = "set data.batch_cost and data.micro_batch_cost instead: hepfm packs events by cost"
_OPTIMIZER = "set train.learning_rate, train.betas and train.weight_decay instead"
_PRECISION = "set train.precision instead (auto, bf16 or fp32)"
_TRACKING = "hepfm records runs itself: see the recipe's tracking section"
_DATA = "hepfm reads and deals events itself: see the recipe's data section"

OWN: Mapping[str, str] = {
    "train_batch_size": _BATCH,
    "train_micro_batch_size_per_gpu": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "managed_gradient_accumulation": _BATCH,
    "optimizer": _OPTIMIZER,
    "scheduler": "set train.schedule, train.warmup_steps and train.final_learning_rate instead",
    "gradient_clipping": "set train.clip_norm instead",
    "bf16": _PRECISION,
    "bfloat16": _PRECISION,
    "fp16": _PRECISION,
    "amp": _PRECISION,
    "torch_autocast": _PRECISION,
    "data_types": _PRECISION,
    "gradient_allreduce_op": "hepfm normalises the loss over the global batch itself",
    "prescale_gradients": "hepfm normalises the loss over the global batch itself",
    "gradient_predivide_factor": "hepfm normalises the loss over the global batch itself",
    "checkpoint": "set checkpoint.every, checkpoint.keep and checkpoint.keep_best instead",
    "nebula": "set checkpoint.every, checkpoint.keep and checkpoint.keep_best instead",
    "elasticity": "set cluster.workers instead; a global batch is the same whatever the number of workers",
    "seed": "set the recipe's seed instead",
    "steps_per_print": _TRACKING,
    "tensorboard": _TRACKING,
    "wandb": _TRACKING,
    "comet": _TRACKING,
    "csv_monitor": _TRACKING,
    "data_efficiency": _DATA,
    "curriculum_learning": _DATA,
    "dataloader_drop_last": _DATA,
}
"""Keys that hepfm sets, and the recipe's own field to use instead."""

PASSED = frozenset(
    {
        "aio",
        "activation_checkpointing",
        "comms_logger",
        "communication_data_type",
        "compile",
        "disable_allgather",
        "disable_python_gc",
        "dump_state",
        "flops_profiler",
        "log_level",
        "memory_breakdown",
        "timers",
        "wall_clock_breakdown",
        "zero_allow_untested_optimizer",
        "zero_force_ds_cpu_optimizer",
        "zero_optimization",
    }
)
"""Keys that are passed to DeepSpeed."""

ZERO = frozenset(
    {
        "allgather_bucket_size",
        "allgather_partitions",
        "contiguous_gradients",
        "enable_sanity_checks",
        "ignore_unused_parameters",
        "leaf_module",
        "log_trace_cache_warnings",
        "memory_efficient_linear",
        "offload_optimizer",
        "offload_param",
        "overlap_comm",
        "parameter_alignment",
        "reduce_bucket_size",
        "reduce_scatter",
        "round_robin_gradients",
        "stage",
        "stage3_allgather_sequential",
        "stage3_gather_16bit_weights_on_model_save",
        "stage3_max_live_parameters",
        "stage3_max_reuse_distance",
        "stage3_module_granularity_threshold",
        "stage3_param_persistence_threshold",
        "stage3_prefetch_bucket_size",
        "stage3_use_all_reduce_for_fetch_params",
        "sub_group_size",
        "use_multi_rank_bucket_allreduce",
        "zero_hpz_partition_size",
        "zero_quantized_gradients",
        "zero_quantized_nontrainable_weights",
        "zero_quantized_weights",
    }
)
"""Keys of ``zero_optimization`` that are passed to DeepSpeed."""


def check_engine(section: Any) -> Iterator[Problem]:
    """What is wrong with a ``deepspeed`` section; what is no mapping is left to the recipe's schema."""
    if not isinstance(section, dict):
        return
    for name in section:
        if name in OWN:
            yield Problem(("deepspeed", name), f"deepspeed.{name} is set by hepfm.", OWN[name])
        elif name not in PASSED:
            hint = did_you_mean(name, PASSED)
            yield Problem(
                ("deepspeed", name), f"deepspeed.{name} is not a setting that hepfm passes on.", hint
            )
    zero = section.get("zero_optimization", {})
    at = ("deepspeed", "zero_optimization")
    if not isinstance(zero, dict):
        yield Problem(
            at, f"{'.'.join(at)} is {zero!r}; wanted: a section.", "write zero_optimization: {stage: 1}"
        )
        return
    for name in zero:
        if name not in ZERO:
            yield Problem((*at, name), f"{'.'.join(at)}.{name} is not a setting.", did_you_mean(name, ZERO))
    stage = zero.get("stage", 0)
    if isinstance(stage, bool) or stage not in (0, 1, 2, 3):
        yield Problem((*at, "stage"), f"{'.'.join(at)}.stage is {stage!r}; wanted: one of 0, 1, 2, 3.")
