"""What the contract suites share: running named checks, comparing numbers, packing events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hepfm.api import Batch, PartSchema, RaggedTables, Sample, Tables
from hepfm.data.tensors import to_torch
from hepfm.random import Draws, stable_id
from hepfm.readers.layout import half
from hepfm.readers.pack import pack

TOLERANCE = 1e-5
"""Of an event's numbers alone and in company, relative to the largest of them."""

PART = "part"
"""The part's name where a suite tests one modality."""


def run_checks(contract: str, checks: Sequence[Callable[..., None]], *subject: Any) -> None:
    """Runs every check on the subject; one `AssertionError` lists the broken rules with their causes."""
    failed = []
    for check in checks:
        try:
            check(*subject)
        except Exception as error:  # noqa: BLE001  a check that cannot even run is a broken rule, too
            cause = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            rule = (check.__doc__ or check.__name__).strip().splitlines()[0]
            failed.append(f"- {rule}\n    found: {cause}")
    if failed:
        raise AssertionError(
            f"{len(failed)} of {len(checks)} rules of the {contract} contract are broken:\n"
            + "\n".join(failed)
        )


def assert_close(found: Tensor, wanted: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Same shape, and no difference larger than the tolerance times the largest number (at least 1).

    NaN equals NaN: it is what is not known.
    """
    assert found.shape == wanted.shape, f"{what}: shape {tuple(found.shape)} instead of {tuple(wanted.shape)}"
    if found.numel():
        found, wanted = found.detach().double(), wanted.detach().double()
        assert torch.equal(found.isnan(), wanted.isnan()), f"{what}: NaN in other places"
        found, wanted = found.nan_to_num(), wanted.nan_to_num()
        difference = float((found - wanted).abs().max())
        scale = max(1.0, float(wanted.abs().max()))
        assert difference <= tolerance * scale, (
            f"{what}: differ by {difference:.3g} at a scale of {scale:.3g}"
        )


def assert_sums_close(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Same terms with the same sums, each to the tolerance relative to its own size."""
    assert set(found) == set(wanted), f"{what}: terms {sorted(found)} instead of {sorted(wanted)}"
    for term in wanted:
        a, b = found[term].item(), wanted[term].item()
        assert abs(a - b) <= TOLERANCE * max(abs(b), TOLERANCE), (
            f"{what}: term '{term}' is {a:.8g}, not {b:.8g}"
        )


def added(many: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum of each term over several dictionaries of the same terms."""
    return {term: sum(terms[term] for terms in many) for term in many[0]}


def total(sums: Mapping[str, Tensor]) -> Tensor:
    """The sum over all terms, as a scalar to go back from."""
    return torch.stack(list(sums.values())).sum()


def assert_connected(module: nn.Module, loss: Tensor, *, spare: Collection[str] = ()) -> None:
    """After a backward pass from the loss every parameter has a gradient, zeros allowed, all finite.

    Those named in ``spare`` may have none.
    """
    module.zero_grad(set_to_none=True)
    assert loss.requires_grad, "the loss is not connected to any parameter"
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        if parameter.grad is None:
            assert name in spare, f"parameter {name} gets no gradient"
            continue
        assert bool(torch.isfinite(parameter.grad).all()), f"the gradient of {name} is not finite"


def batch_of(samples: Sequence[Sample], parts: Mapping[str, PartSchema], *, labels: bool = False) -> Batch:
    """A torch batch of the inputs of these events, and of their labels where they are asked for."""
    if labels:
        return to_torch(pack(samples, parts, labels=True))
    return to_torch(pack(samples, {part: half(schema, label=False) for part, schema in parts.items()}))


def tables_of(events: Sequence[Tables], schema: PartSchema) -> RaggedTables:
    """The input tables (torch) of a batch of events of one part."""
    samples = [Sample(event_id=i, parts={PART: event}) for i, event in enumerate(events)]
    return batch_of(samples, {PART: schema}).parts[PART]


def empty_event(schema: PartSchema) -> Tables:
    """An event with no rows in any table."""
    return {
        table: {name: np.empty((0, *column.shape), column.dtype) for name, column in columns.items()}
        for table, columns in schema.tables.items()
    }


def shuffled(event: Tables, purpose: str, schema: PartSchema) -> tuple[Tables, dict[str, Any]]:
    """The event with the rows of each table in another order, and the order of each table.

    Rows of a nested table stay in order within the run that they are in, and move with it.
    """
    parents = {
        column.lengths_of: (table, name)
        for table, columns in schema.tables.items()
        for name, column in columns.items()
        if column.lengths_of
    }

    def order(table: str) -> Any:
        if table not in parents:
            rows = len(next(iter(event[table].values())))
            return np.random.default_rng(stable_id(purpose, table)).permutation(rows)
        parent, name = parents[table]
        ends = np.cumsum(event[parent][name], dtype=np.int64)
        runs = np.split(np.arange(ends[-1] if len(ends) else 0), ends[:-1])
        return np.concatenate([runs[row] for row in order(parent)]) if len(ends) else ends

    orders = {table: order(table) for table in event}
    moved = {t: {name: values[orders[t]] for name, values in columns.items()} for t, columns in event.items()}
    return moved, orders


def draws_of(event_ids: Sequence[int], *, epoch: int = 0) -> Draws:
    """Random numbers of these events."""
    return Draws(seed=7, epoch=epoch, event_ids=torch.tensor(event_ids, dtype=torch.int64))
