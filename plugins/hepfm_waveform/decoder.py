"""What is predicted of hidden patches: which of their samples are active, and how high those are.

Most samples of a raw frame are noise, which nobody can predict. A squared error over all would be the noise's
own size, and hardly change with what is learned; so a sample counts by its height where it stands out of the
noise, and elsewhere only by that it does not.

Legend: H hidden units, P samples of a patch, M samples to be predicted, A planes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import softplus

from hepfm.api import RaggedTables, Target, Units
from hepfm.nn.init import linear
from hepfm_waveform.hints import Hints
from hepfm_waveform.prepare import expand
from hepfm_waveform.rebuild import tables_of
from hepfm_waveform.windows import Windows


@dataclass(frozen=True, kw_only=True)
class HiddenSamples:
    """The truth of H hidden units: samples that are known and not saturated.

    Attributes:
        slot: ``(M,)`` int64, ascending: hidden unit times P plus the place in it.
        plane: ``(M,)`` int64.
        active: ``(M,)`` bool.
        value: ``(M,)`` float32, prepared.
    """

    slot: torch.Tensor
    plane: torch.Tensor
    active: torch.Tensor
    value: torch.Tensor


def hidden_samples(windows: Windows, hidden: torch.Tensor, *, active_value: float) -> Target:
    """The target for the units of a mask ``(U,)`` bool; active is what lies further from 0 than the value."""
    unit, place = (windows.known & ~windows.clipped)[hidden].nonzero(as_tuple=True)
    value = windows.value[hidden][unit, place]
    truth = HiddenSamples(
        slot=unit * windows.patch + place,
        plane=windows.plane[hidden][unit],
        active=value.abs() > active_value,
        value=value,
    )
    return Target(counts={"activity": len(value), "amplitude": int(truth.active.sum())}, payload=truth)


class PatchDecoder(nn.Module):
    """Activity (cross-entropy over all samples) and amplitude (squared error over the active ones).

    Attributes:
        terms: Loss term to its weight.
    """

    samples: torch.Tensor
    active: torch.Tensor
    value_sum: torch.Tensor

    def __init__(
        self,
        d_model: int,
        *,
        patch: int,
        point_width: int,
        n_planes: int,
        sample_ns: float,
        terms: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.patch, self.sample_ns, self.terms = patch, sample_ns, dict(terms)
        self.hint = Hints(point_width, d_model, patch=patch)
        self.norm = nn.LayerNorm(d_model)
        # Predictions start near the marginals, as those of the voxels of an image do.
        self.out = linear(d_model, 2 * patch, gain=0.02)
        nn.init.constant_(self.out.bias[:patch], -math.log(9.0))
        for name in ("samples", "active", "value_sum"):
            self.register_buffer(name, torch.zeros(n_planes, dtype=torch.float64))

    def hints(self, units: Units, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """What visible samples say of hidden patches next to them."""
        hint: torch.Tensor = self.hint(units.payload, visible, points)
        return hint

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(H, d_model)`` to ``(H, 2, P)`` float32: logits of activity, and prepared heights."""
        prediction: torch.Tensor = self.out(self.norm(x))
        return prediction.float().view(-1, 2, self.patch)

    def loss(self, prediction: torch.Tensor, target: Target) -> dict[str, torch.Tensor]:
        """Sums over the hidden patches' samples, and over the active ones among them."""
        truth: HiddenSamples = target.payload
        logits, heights = (plane.flatten() for plane in prediction.unbind(1))
        at_active = truth.slot[truth.active]
        # -log p(quiet) of all, and for the active log p(quiet) - log p(active) = -logit.
        activity = softplus(logits[truth.slot]).sum() - logits[at_active].sum()
        squared = (heights[at_active] - truth.value[truth.active]).square().sum()
        return {"activity": activity, "amplitude": squared}

    def observe(self, target: Target) -> None:
        """Adds up samples, active ones, and their heights, of each plane."""
        truth: HiddenSamples = target.payload
        # As products: a weighted count on CUDA adds in an order that changes from run to run.
        planes = torch.arange(len(self.samples), device=truth.plane.device)
        of_plane = (self._plane(truth) == planes[:, None]).double()
        active = truth.active.double()
        self.samples += of_plane.sum(1)
        self.active += of_plane @ active
        self.value_sum += of_plane @ (active * truth.value.double())

    def baseline(self, target: Target) -> dict[str, torch.Tensor]:
        """The sums for each plane's rate of activity (Jeffreys' estimate) and its mean height."""
        truth: HiddenSamples = target.payload
        plane = self._plane(truth)
        rate = ((self.active + 0.5) / (self.samples + 1.0))[plane]
        activity = -torch.where(truth.active, rate.log(), (-rate).log1p()).sum()
        mean = (self.value_sum / self.active.clamp_min(1.0))[plane[truth.active]]
        squared = (truth.value[truth.active] - mean).square().sum()
        return {"activity": activity.float(), "amplitude": squared.float()}

    def statistics(self, prediction: torch.Tensor, target: Target) -> torch.Tensor:
        """``(3,)``: active samples that are predicted so, all that are predicted so, and all active ones."""
        truth: HiddenSamples = target.payload
        called = prediction[:, 0].flatten()[truth.slot] > 0
        counts = (called & truth.active).sum(), called.sum(), truth.active.sum()
        return torch.stack(counts).double()

    def figures(self, sums: Any) -> dict[str, float]:
        """``precision`` and ``recall`` of active samples."""
        hits, called, active = map(float, sums)
        found = {"precision": hits / called} if called else {}
        return found | ({"recall": hits / active} if active else {})

    def tables(self, prediction: torch.Tensor, units: Units, hidden: torch.Tensor) -> RaggedTables:
        """The hidden patches' samples as counts: the pedestal where no activity is expected."""
        logits, heights = prediction.unbind(1)
        windows = units.payload.keep(hidden)
        height = expand(heights) * windows.noise_adc[:, None]
        adc = windows.pedestal_adc[:, None] + height.where(logits > 0, 0.0)
        return tables_of(windows, adc, sample_ns=self.sample_ns)

    def _plane(self, truth: HiddenSamples) -> torch.Tensor:
        # Planes that the vocabulary does not name share the last one's marginals.
        return truth.plane.clamp(0, len(self.samples) - 1)
