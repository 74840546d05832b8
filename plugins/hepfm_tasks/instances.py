"""The true instances of labelled events: which points are theirs, what they are, how much energy they had.

Legend of shapes: N points, B events, P instances of all events, F rows of fragments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepfm.api import Ragged, RaggedTable, RaggedTables
from hepfm.nn.ragged import event_index, offsets_of
from hepfm_tasks.labels import index_of

TRUTH = ("fragment_id", "group_id", "n_voxels", "pid", "mass_mev", "momentum_gev")
"""Columns of the fragments that tell what a particle is."""

LEAST_MEV = 0.1
"""Energies below it are learned as this: their logarithm says nothing."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """True instances, events in order and in each one by their number.

    Attributes:
        of_point: ``(N,)`` int64, the instance of each point, -1 for none.
        event: ``(P,)`` int64.
        number: ``(P,)`` int64, in the event's labels.
        size: ``(P,)`` int64, points.
    """

    of_point: Tensor
    event: Tensor
    number: Tensor
    size: Tensor


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What is learned of particles.

    Attributes:
        instances: They and their points.
        pid: ``(P,)`` int64, which of the classes, -1 where it is not known.
        log_energy: ``(P,)`` float32, logarithm of the kinetic energy in MeV, NaN where it is not known.
    """

    instances: Instances
    pid: Tensor
    log_energy: Tensor


def learned_of(labels: RaggedTables, table: str, column: str, values: Tensor | None) -> Learned:
    """The particles of a part's labels.

    Args:
        labels: Torch tables.
        table: The one with the points.
        column: Its numbers of particles.
        values: ``(C,)`` what stands for each class in the fragments; None if only the points are learned.
    """
    instances = instances_of(labels[table].columns[column], labels[table].offsets)
    pid = torch.full_like(instances.number, -1)
    energy = torch.full_like(pid, torch.nan, dtype=torch.float32)
    if values is not None:
        columns, row = labels["fragments"].columns, truth_rows(instances, labels["fragments"])
        there = row >= 0
        pid[there] = index_of(columns["pid"][row[there]].long(), values)
        kinetic = kinetic_energy(columns["momentum_gev"][row[there]], columns["mass_mev"][row[there]])
        energy[there] = kinetic.clamp(min=LEAST_MEV).log()
    return Learned(instances=instances, pid=pid, log_energy=energy)


def instances_of(number: Tensor, offsets: Tensor) -> Instances:
    """The instances of points with these numbers ``(N,)``, negative for none, of events ``(B+1,)``."""
    event, number = event_index(offsets), number.long()
    inside = number >= 0
    span = int(number.max()) + 1 if len(number) else 1
    key, place, size = torch.unique(
        event[inside] * span + number[inside], return_inverse=True, return_counts=True
    )
    of_point = torch.full_like(number, -1)
    of_point[inside] = place
    span = max(span, 1)
    return Instances(
        of_point=of_point,
        event=torch.div(key, span, rounding_mode="floor"),
        number=key % span,
        size=size,
    )


def truth_rows(instances: Instances, fragments: RaggedTable) -> Tensor:
    """``(P,)`` int64: the row of the fragments that has a particle's truth, -1 where there is none.

    It is the one with ``fragment_id == group_id``, else the largest of the particle.
    """
    columns: Mapping[str, Tensor] = fragments.columns
    group, n_rows = columns["group_id"].long(), len(columns["group_id"])
    row = torch.full_like(instances.number, -1)
    if not n_rows or not len(row):
        return row
    leading = columns["fragment_id"].long() == group
    # The last row that is written for a particle wins: smallest first, the leading one last.
    order = torch.argsort(columns["n_voxels"].long() + leading.long() * 2**40, stable=True)
    event = event_index(fragments.offsets)
    span = int(torch.maximum(group.max(), instances.number.max())) + 1
    order = order[group[order] >= 0]
    keys = (event * span + group)[order].tolist()
    of_key = dict(zip(keys, order.tolist(), strict=True))
    wanted = (instances.event * span + instances.number).tolist()
    return row.new_tensor([of_key.get(key, -1) for key in wanted])


def truth_tables(learned: Learned, number: Ragged, values: Tensor | None) -> tuple[RaggedTable, RaggedTable]:
    """The truth as tables (numpy), as the head predicts them: of points, and of particles.

    Args:
        learned: Of `learned_of`.
        number: ``(N,)`` the labels' number of each point's particle (numpy).
        values: ``(C,)`` what stands for each class; None if only the points are learned.
    """
    instances = learned.instances
    columns = {"instance": instances.number.numpy(), "n_points": instances.size.numpy()}
    if values is not None:
        pid = torch.cat((values.cpu(), values.new_tensor([-1]).cpu()))[learned.pid]
        columns |= {"pid": pid.numpy(), "energy_mev": learned.log_energy.exp().numpy()}
    each = torch.bincount(instances.event, minlength=len(number))
    return (
        RaggedTable({"instance": number.values}, number.offsets),
        RaggedTable(columns, offsets_of(each).numpy()),
    )


def kinetic_energy(momentum_gev: Tensor, mass_mev: Tensor) -> Tensor:
    """Kinetic energies in MeV; NaN for what is not known (a negative momentum or mass)."""
    momentum = 1000.0 * momentum_gev.double()
    energy = (momentum.square() + mass_mev.double().square()).sqrt() - mass_mev
    return torch.where((momentum > 0) & (mass_mev >= 0) & energy.isfinite(), energy, torch.nan).float()


def as_torch(tables: RaggedTables) -> RaggedTables:
    """Numpy tables as torch ones."""
    return {
        name: RaggedTable(
            {column: torch.tensor(values) for column, values in table.columns.items()},
            torch.tensor(table.offsets),
        )
        for name, table in tables.items()
    }
