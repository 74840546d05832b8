"""The optimiser, driven by DeepSpeed at every size. The only module that knows DeepSpeed.

Parameters are float32; bf16 is autocast inside the model (`hepfm.training.model`), so that weights, their
moving average and checkpoints are float32 at every ZeRO stage.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hepfm.errors import CheckpointError, RecipeError
from hepfm.recipe.schema import Recipe
from hepfm.training.adapt import rates
from hepfm.training.deepspeed_config import deepspeed_config, zero_stage
from hepfm.training.model import PretrainModule
from hepfm.training.moments import Piece, moments_of, read_moments
from hepfm.training.ranks import Ranks

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of torch, for how DeepSpeed uses it
    import deepspeed

# Its shared-memory helper for CPUs is compiled at the first use: a compiler and a minute for each machine.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

# What it says goes where hepfm's log goes, not on the screen.
_chatter = logging.getLogger("DeepSpeed")
_chatter.handlers.clear()
_chatter.parent, _chatter.propagate = logging.getLogger("hepfm"), True

# What ZeRO 3 calls in torch is deprecated there; nothing that a user could act on.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\.c10d_logger")


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
        layer_decay = recipe.model.adapt.layer_decay if recipe.model.adapt.mode == "full" else 1.0
        self._adam = torch.optim.AdamW(
            decay_groups(module, recipe.train.weight_decay, layer_decay),
            lr=recipe.train.learning_rate,
            betas=recipe.train.betas,
            fused=True,
        )
        self.n_parameters = sum(p.numel() for p in self._parameters)
        config = deepspeed_config(recipe, self.n_parameters)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._deepspeed, *_ = deepspeed.initialize(
                    model=self.module, optimizer=self._adam, config=config, dist_init_required=False
                )
        except (ValueError, AssertionError) as error:  # pydantic's and DeepSpeed's own refusals
            raise RecipeError(f"DeepSpeed refuses its configuration: {error}", where="deepspeed") from error
        ranks.limit(self._deepspeed.seq_data_parallel_group)  # what it exchanges in
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
        self.ranks.arrive()
        # A finite gradient of a loss that is not (an overflow in its value alone) must not be taken either.
        self._deepspeed.backward(loss * torch.where(loss.detach().isfinite(), 1.0, math.nan))

    def step(self, learning_rate: float) -> tuple[bool, float]:
        """Takes the step, unless a gradient is not finite on any rank: then on no rank, and nothing changes.

        Returns:
            Whether it was taken, and the norm of the gradient before clipping.
        """
        for group in self._deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate"]
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
        """Must follow a change to `local_parameters`, of which ZeRO 3 keeps whole copies.

        Of small parameters it always keeps them, of others for as long as it expects to need them again.
        """
        if self.stage < 3:
            return
        zero = self._deepspeed.optimizer
        zero.parameter_offload.partition_all_parameters()
        if persistent := zero.persistent_parameters:
            persistent[0].all_gather(persistent)

    def whole_parameters(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All parameters, float32, on every rank; all ranks go through them.

        Yields:
            Name and tensor, not copied: at ZeRO 3 it is there until the next one is asked for.
        """
        for name, parameter in self.module.named_parameters():
            whole = deepspeed.zero.GatheredParameters([parameter]) if self.stage == 3 else nullcontext()
            with whole:
                yield name, parameter.detach()
                if self.stage == 3 and parameter.is_cuda:
                    torch.cuda.current_stream().synchronize()  # a copy may still be under way

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All parameters and persistent buffers, on rank 0, as `whole_parameters` gives them."""
        yield from (each for each in self.whole_parameters() if self.ranks.rank == 0)
        if self.ranks.rank == 0:
            saved = self.module.state_dict().keys()
            yield from ((name, buffer) for name, buffer in self.module.named_buffers() if name in saved)

    def moments(self) -> tuple[list[tuple[str, torch.Tensor]], dict[str, str]]:
        """What this rank has to save beside `weights` (`hepfm.training.moments.moments_of`)."""
        if self.stage == 0 and self.ranks.rank > 0:  # all ranks hold the same
            return [], {}
        return moments_of(list(self._pieces()), self._adam)

    def load(self, folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
        """Restores saved `moments` and `weights`, at any number of ranks and ZeRO stage.

        Raises:
            CheckpointError: They are of another model, or incomplete.
        """
        own = {name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in self.module.named_parameters()}
        given = {name: tuple(weights[name].shape) for name in own if name in weights}
        if unfit := sorted(name for name in own if given.get(name) != own[name]):
            raise CheckpointError(
                f"The checkpoint is of another model: {len(unfit)} of {len(own)} weights differ.",
                where=f"{unfit[0]}: saved {given.get(unfit[0])}, in the model {own[unfit[0]]}",
                fix="resume with the recipe that the checkpoint was made with",
            )
        pieces = list(self._pieces())
        with torch.no_grad():
            for name, held in self.local_parameters():
                held.copy_(self.local_part(name, weights[name]))
            for name, buffer in self.module.named_buffers():
                if name in weights:
                    buffer.copy_(weights[name])
            for piece in pieces if self.stage else ():  # ZeRO steps on a copy of its own
                whole = weights[piece.name].flatten()
                piece.of(piece.held).copy_(whole[piece.start : piece.start + piece.numel])
        self.refresh()
        read_moments(pieces, self._adam, folder)

    def _pieces(self) -> Iterator[Piece]:
        """Where this rank holds optimiser state; attributes are DeepSpeed's."""
        zero: Any = self._deepspeed.optimizer
        for name, p in self.module.named_parameters():
            if not p.requires_grad:
                continue
            if self.stage == 0:
                yield Piece(name=name, start=0, numel=p.numel(), held=p, at=0)
            elif self.stage < 3:
                if (mapping := getattr(p, "_hp_mapping")) is not None:  # noqa: B009
                    held = zero.single_partition_of_fp32_groups[mapping.param_group_index]
                    here, there = mapping.lp_fragment_address, mapping.hp_fragment_address
                    yield Piece(name=name, start=here.start, numel=here.numel, held=held, at=there.start)
            else:
                group, at, numel = zero.grad_position[zero.get_param_id(p)]
                start, end = numel * self.ranks.rank, getattr(p, "ds_numel")  # noqa: B009
                if start < end:  # what is beyond is padding
                    held = zero.fp32_partitioned_groups_flat[group]
                    yield Piece(name=name, start=start, numel=min(numel, end - start), held=held, at=at)


def decay_groups(module: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """What is trained, by learning rate, with weight decay and without: biases, norms, embeddings, tokens.

    Args:
        module: A model.
        weight_decay: Of matrices.
        layer_decay: Each group says as ``rate`` what a step's learning rate is multiplied by for it
            (`hepfm.training.adapt.rates`).
    """
    tables = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
        for parameter in part.parameters(recurse=False)
    }
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter, rate in rates(module, layer_decay):
        if parameter.requires_grad:
            is_matrix = parameter.squeeze().ndim > 1 and id(parameter) not in tables
            found.setdefault((rate, is_matrix), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if is_matrix else 0.0, "rate": rate}
        for (rate, is_matrix), parameters in sorted(found.items(), key=lambda item: item[0], reverse=True)
    ]
