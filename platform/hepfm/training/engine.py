"""The optimiser, driven by DeepSpeed at every size. The only module that knows DeepSpeed.

Parameters are float32; bf16 is autocast inside the model (`hepfm.training.model`), so that weights, their
moving average and checkpoints are float32 at every ZeRO stage.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hepfm.errors import CheckpointError, RecipeError
from hepfm.recipe.schema import Recipe
from hepfm.training.deepspeed_config import deepspeed_config, zero_stage
from hepfm.training.model import PretrainModule
from hepfm.training.ranks import Ranks

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of torch, for how DeepSpeed uses it
    import deepspeed
    from deepspeed.checkpoint.constants import (
        UNIVERSAL_CHECKPOINT_INFO,
        UNIVERSAL_CHECKPOINT_VERSION_KEY,
        UNIVERSAL_CHECKPOINT_VERSION_VALUE,
    )

# Its shared-memory helper for CPUs is compiled at the first use: a compiler and a minute for each machine.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

# What it says goes where hepfm's log goes, not on the screen.
_chatter = logging.getLogger("DeepSpeed")
_chatter.handlers.clear()
_chatter.parent, _chatter.propagate = logging.getLogger("hepfm"), True

# What ZeRO 3 calls in torch is deprecated there; nothing that a user could act on.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\.c10d_logger")

_TAG = "state"


class Engine:
    """Backward passes, reduction over ranks, clipping and AdamW steps of a module.

    Args:
        module: Moved to the ranks' device; its parameters belong to the engine from here on.
        recipe: Its sections ``train`` and ``deepspeed``.
        ranks: The processes that train together.

    Attributes:
        stage: Of ZeRO.
        n_parameters: That are trained.

    Raises:
        RecipeError: DeepSpeed refuses its configuration.
    """

    def __init__(self, module: PretrainModule, recipe: Recipe, ranks: Ranks) -> None:
        self.module = module.to(ranks.device)
        self.ranks = ranks
        self.stage = zero_stage(recipe)
        self._train = recipe.train
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            _decay_groups(module, recipe.train.weight_decay),
            lr=recipe.train.learning_rate,
            betas=recipe.train.betas,
            fused=True,
        )
        self._hyperparameters = [
            {key: group[key] for key in ("betas", "weight_decay")} for group in optimizer.param_groups
        ]
        self.n_parameters = sum(p.numel() for p in self._parameters)
        config = deepspeed_config(recipe, self.n_parameters)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._deepspeed, *_ = deepspeed.initialize(
                    model=self.module, optimizer=optimizer, config=config, dist_init_required=False
                )
        except (ValueError, AssertionError) as error:  # pydantic's and DeepSpeed's own refusals
            raise RecipeError(f"DeepSpeed refuses its configuration: {error}", where="deepspeed") from error
        # A single process has nobody to reduce with; at stage 0 DeepSpeed would copy all gradients for it.
        self._deepspeed.enable_backward_allreduce = self.stage > 0 or ranks.world > 1

    def forward(self, *args: Any, last: bool) -> Any:
        """The module's output for a micro-batch of a step.

        Args:
            args: Of the module.
            last: Whether this is the step's last micro-batch, whose backward completes the gradients.
        """
        self._deepspeed.set_gradient_accumulation_boundary(last)
        return self._deepspeed(*args)

    def backward(self, loss: torch.Tensor) -> None:
        """Adds the loss's gradients. A loss that is not finite makes all of them so, on every rank."""
        # A finite gradient of a loss that is not (an overflow in its value alone) must not be taken either.
        self._deepspeed.backward(loss * torch.where(loss.detach().isfinite(), 1.0, math.nan))

    def step(self, learning_rate: float) -> tuple[bool, float]:
        """Takes the step, unless a gradient is not finite on any rank: then on no rank, and nothing changes.

        Returns:
            Whether it was taken, and the norm of the gradient before clipping.
        """
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.stage == 0:
            clip = self._train.clip_norm or math.inf
            norm = float(nn.utils.clip_grad_norm_(self._parameters, clip, foreach=True))
            if not math.isfinite(norm):
                self._deepspeed.zero_grad()
                return False, norm
            self._deepspeed.step()
            return True, norm
        self._deepspeed.step()
        zero_norm = self._deepspeed.get_global_grad_norm()
        return self._deepspeed.was_step_applied(), math.nan if zero_norm is None else float(zero_norm)

    def local_parameters(self) -> list[tuple[str, torch.Tensor]]:
        """What this rank holds of each parameter: all of it, or at ZeRO 3 its shard (flat)."""
        return [
            (name, getattr(p, "ds_tensor") if self.stage == 3 else p)  # noqa: B009 - DeepSpeed's attribute
            for name, p in self.module.named_parameters()
        ]

    def local_part(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """Of a whole tensor like the parameter of this name, what this rank holds, in the same form."""
        if self.stage < 3:
            return whole
        shard = dict(self.local_parameters())[name]
        padded = torch.zeros(shard.numel() * self.ranks.world, dtype=whole.dtype, device=whole.device)
        padded[: whole.numel()] = whole.flatten()
        return padded[self.ranks.rank * shard.numel() :][: shard.numel()]

    def refresh(self) -> None:
        """Must follow a change to `local_parameters`: ZeRO 3 keeps whole copies of the small ones."""
        persistent = self._deepspeed.optimizer.persistent_parameters if self.stage == 3 else []
        if persistent:
            persistent[0].all_gather(persistent)

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of all parameters (float32) and persistent buffers in rank 0's memory; all ranks call this.

        Returns:
            Name to tensor on the CPU; empty on the other ranks.
        """
        gathered: dict[str, torch.Tensor] = {}
        for name, parameter in self.module.named_parameters():
            whole = deepspeed.zero.GatheredParameters([parameter]) if self.stage == 3 else nullcontext()
            with whole:
                if self.ranks.rank == 0:
                    gathered[name] = parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
        if self.ranks.rank == 0:
            saved = self.module.state_dict().keys()
            for name, buffer in self.module.named_buffers():
                if name in saved:
                    gathered[name] = buffer.detach().to("cpu", copy=True).contiguous()
        return gathered

    def save(self, folder: Path) -> None:
        """Writes this rank's state (weights, moments, counters) for `load`; all ranks call this."""
        universal = {UNIVERSAL_CHECKPOINT_VERSION_KEY: UNIVERSAL_CHECKPOINT_VERSION_VALUE}
        self._deepspeed.save_checkpoint(
            str(folder), tag=_TAG, client_state={UNIVERSAL_CHECKPOINT_INFO: universal}, save_latest=False
        )
        if self.ranks.rank == 0:
            for script in folder.glob("zero_to_*.py"):  # to convert it without us: weights lie beside it
                script.unlink()

    def load(self, folder: Path) -> None:
        """Restores what `save` wrote at the same world size and ZeRO stage. Pickles: only our own.

        Raises:
            CheckpointError: They are of another model or engine.
        """
        try:
            loaded, _ = self._deepspeed.load_checkpoint(str(folder), tag=_TAG)
        except (RuntimeError, KeyError, ValueError, AssertionError, OSError) as error:
            raise CheckpointError(
                f"The engine's state does not fit this model: {error}",
                where=str(folder),
                fix="resume with the recipe that the checkpoint was made with",
            ) from error
        if loaded is None:
            raise CheckpointError("There is no state of the engine.", where=str(folder))
        for group, ours in zip(self._deepspeed.optimizer.param_groups, self._hyperparameters, strict=True):
            group.update(ours)


def _decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters with weight decay, and without: biases, norms, embeddings and learned tokens."""
    tables = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
        for parameter in part.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            is_matrix = parameter.squeeze().ndim > 1 and id(parameter) not in tables
            (decayed if is_matrix else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
