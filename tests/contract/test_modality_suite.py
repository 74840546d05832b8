"""The suite of modalities names the rule that a broken one breaks."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepfm import api


def selects_by_index(select, self, tables):
    return {name: np.flatnonzero(mask) for name, mask in select(self, tables).items()}


def shifted_by_first_row(units, self, tables):
    found = units(self, tables)
    return replace(found, positions=found.positions + tables["hits"].columns["energy_mev"][:1].sum())


def drawn_from_torch(augment, self, tables, draws):
    hits = tables["hits"]
    energy = hits.columns["energy_mev"] * torch.rand(len(hits.columns["energy_mev"]))
    return {"hits": api.RaggedTable({**hits.columns, "energy_mev": energy}, hits.offsets)}


def sees_hidden_content(forward, self, units, visible):
    energy = torch.zeros(len(units.positions)).index_add(
        0, units.payload["row"], units.payload["hits"].columns["energy_mev"]
    )
    event = torch.repeat_interleave(torch.arange(len(units.offsets) - 1), units.offsets.diff())
    pooled = torch.zeros(len(units.offsets) - 1).index_add(0, event, energy)
    tokens, points = forward(self, units, visible)
    return tokens + pooled[event[visible]][:, None], points


def sees_the_batch(forward, self, units, visible):
    tokens, points = forward(self, units, visible)
    return tokens + units.positions.sum(), points


def blind(forward, self, units, visible):
    tokens, points = forward(self, units, visible)
    return tokens * 0 + self.place(units.positions[visible]), points


def keeps_hidden_points(forward, self, units, visible):
    tokens, (_, energy) = forward(self, units, visible)
    unit = torch.zeros(len(units.payload["row"]), dtype=torch.int64)
    return tokens, (unit, energy.sum() + units.payload["hits"].columns["energy_mev"][:, None])


def backwards(rows, self, units, values):
    found = rows(self, units, values)
    return api.Ragged(found.values.flip(0), found.offsets)


def hints_of_all(hints, self, units, visible, points):
    return torch.zeros(len(visible), self.out.in_features)


def hints_of_the_answer(hints, self, units, visible, points):
    energy = torch.zeros(len(visible)).index_add(
        0, units.payload["row"], units.payload["hits"].columns["energy_mev"]
    )
    return hints(self, units, visible, points) + energy[~visible][:, None]


def one_too_many(target, self, units, hidden):
    found = target(self, units, hidden)
    return replace(found, counts={"energy": found.counts["energy"] + 1})


def counts_as_tensor(target, self, units, hidden):
    return replace(target(self, units, hidden), counts={"energy": hidden.sum()})


def mean_loss(loss, self, prediction, target):
    return {"energy": (prediction - target.payload).square().mean()}


def other_term(loss, self, prediction, target):
    return {"charge": loss(self, prediction, target)["energy"]}


def overwriting(observe, self, target):
    self.seen.copy_(torch.tensor([len(target.payload), float(target.payload.sum())]))


def odd_column(tables, self, prediction, units, hidden):
    hits = tables(self, prediction, units, hidden)["hits"]
    return {"hits": api.RaggedTable({**hits.columns, "charge": hits.columns["energy_mev"]}, hits.offsets)}


def forgets_a_row(visible_tables, self, units, visible):
    hits = visible_tables(self, units, visible)["hits"]
    if bool(visible.all()):
        return {"hits": hits}
    columns = {name: values[1:] for name, values in hits.columns.items()}
    return {"hits": api.RaggedTable(columns, (hits.offsets - 1).clamp(min=0))}


def loses_a_parameter(init, self, d_model):
    init(self, d_model)
    self.spare = torch.nn.Linear(2, 2)


MODALITIES = {
    "selection": ("Calo", "select", selects_by_index, "``select`` gives numpy bool masks"),
    "order of rows": ("Calo", "units", shifted_by_first_row, "Another order of an event's rows"),
    "random variant": ("Calo", "augment", drawn_from_torch, "An event's random variant depends"),
    "leak": (
        "CaloTokenizer",
        "forward",
        sees_hidden_content,
        "What hidden units hold changes no visible token",
    ),
    "leak of presence": ("CaloTokenizer", "forward", sees_hidden_content, "that never had the hidden ones"),
    "batch-mates": (
        "CaloTokenizer",
        "forward",
        sees_the_batch,
        "An event alone and in a batch gives the same",
    ),
    "blind": ("CaloTokenizer", "forward", blind, "What visible units hold does change"),
    "hidden points": ("CaloTokenizer", "forward", keeps_hidden_points, "that never had the hidden ones"),
    "order of points": ("CaloTokenizer", "rows", backwards, "Point features come in the rows' own order"),
    "rows of hints": ("CaloDecoder", "hints", hints_of_all, "Hints have one row for each hidden unit"),
    "hints that leak": (
        "CaloDecoder",
        "hints",
        hints_of_the_answer,
        "What hidden units hold changes no visible token and no hint",
    ),
    "counts": ("Calo", "target", one_too_many, "zero where nothing is hidden"),
    "type of counts": ("Calo", "target", counts_as_tensor, "Counts are whole numbers"),
    "mean": ("CaloDecoder", "loss", mean_loss, "and add up over events"),
    "not finite on nothing": ("CaloDecoder", "loss", mean_loss, "Empty events, and a batch of none"),
    "terms": ("CaloDecoder", "loss", other_term, "Loss sums have the terms of the counts"),
    "marginals": ("CaloDecoder", "observe", overwriting, "``observe`` gathers starts at zero, adds up"),
    "tables": ("CaloDecoder", "tables", odd_column, "A prediction can be shown"),
    "rows": ("Calo", "visible_tables", forgets_a_row, "visible and hidden rows are not all rows"),
    "idle parameter": (
        "CaloDecoder",
        "__init__",
        loses_a_parameter,
        "parameter decoder.spare.weight gets no",
    ),
}


def test_weights_of_points_alone_may_be_left_by_an_objective_but_not_by_a_modality(check, broken):
    def learns_points(init, self, d_model):
        init(self, d_model)
        self.scale = torch.nn.Parameter(torch.ones(1))

    broken("CaloTokenizer", "__init__", learns_points)
    check.objective()
    with pytest.raises(AssertionError, match=re.escape("parameter tokenizer.scale gets no gradient")):
        check.modality()
    broken("CaloTokenizer", "features", lambda f, self, *a: f(self, *a) * self.scale)
    check.modality()


@pytest.mark.parametrize("case", MODALITIES)
def test_the_rule_that_a_modality_breaks_is_named(check, broken, case):
    owner, method, change, rule = MODALITIES[case]
    broken(owner, method, change)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check.modality()
