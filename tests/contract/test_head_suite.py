"""The contract suite of heads passes one that keeps to the contract, and names the rule that another breaks."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from torch import nn

from hepfm import api
from hepfm.errors import DataError
from hepfm.nn.ragged import segment_mean
from hepfm.testing import head_contract

SCHEMA = api.PartSchema(
    kind="calo",
    primary="hits",
    tables={
        "hits": {"energy_mev": api.Column(dtype="float32"), "noise": api.Column(dtype="int8", label=True)},
        "event": {"true_mev": api.Column(dtype="float32", label=True)},
    },
)
PREDICTION = api.PartSchema(
    kind="energy",
    primary="event",
    tables={"event": {"energy_mev": api.Column(dtype="float32", unit="MeV")}},
)


class Energy(nn.Module):
    """The energy of an event, from the mean of its tokens."""

    class Config(BaseModel):
        pass

    needs = ("tokens",)
    part = ""
    weights = {"energy": 1.0}  # noqa: RUF012  it stays as it is
    answers = "values"
    outputs = 1

    def __init__(self, config, *, schema, d_in):
        super().__init__()
        if "event" not in schema["calo"].tables:
            raise DataError("There are no energies.")
        self.predictions = {"energy": PREDICTION}
        self.out = nn.Linear(d_in("pooled" if "pooled" in self.needs else "tokens", self.part), 1)

    def forward(self, features):
        return self.out(segment_mean(features.tokens.x, features.tokens.offsets))[:, 0]

    def counts(self, batch):
        return {"energy": len(batch.labels["calo"]["event"].columns["true_mev"])}

    def loss(self, prediction, batch):
        table = batch.labels["calo"]["event"]
        event = torch.arange(len(table)).repeat_interleave(table.lengths)
        errors = prediction[event] - table.columns["true_mev"]
        return {"energy": errors.square().sum()}

    def predict(self, prediction):
        offsets = torch.arange(len(prediction) + 1)
        return {"energy": {"event": api.RaggedTable({"energy_mev": prediction}, offsets)}}

    def statistics(self, predicted, batch):
        found = predicted["energy"]["event"].columns["energy_mev"]
        table = batch.labels["calo"]["event"]
        sums = np.zeros((len(found), 2))
        event = np.repeat(np.arange(len(found)), table.lengths)
        errors = found[event] - table.columns["true_mev"]
        np.add.at(sums, event, np.stack([errors**2, np.ones(len(event))], 1))
        return {"errors": sums}

    def figures(self, sums):
        squares, count = sums["errors"]
        return {"rms_mev": float(np.sqrt(squares / count))} if count else {}


class Pooled(Energy):
    """From the features of the whole event."""

    needs = ("pooled",)

    def forward(self, features):
        return self.out(features.pooled)[:, 0]

    def targets(self, batch):
        table = batch.labels["calo"]["event"]
        values = torch.full((len(table), 1), torch.nan)
        values[table.lengths > 0, 0] = table.columns["true_mev"]
        return api.Ragged(values, torch.arange(len(table) + 1))

    def from_outputs(self, outputs):
        return outputs.values[:, 0]


class Noise(nn.Module):
    """Whether a hit is noise."""

    class Config(BaseModel):
        pass

    needs = ("points",)
    part = "calo"
    weights = {"noise": 1.0}  # noqa: RUF012  it stays as it is

    def __init__(self, config, *, schema, d_in):
        super().__init__()
        if "noise" not in schema["calo"].tables["hits"]:
            raise DataError("There is no truth on noise.")
        columns = {"probability": api.Column(dtype="float32")}
        self.predictions = {"noise": api.PartSchema(kind="noise", primary="hits", tables={"hits": columns})}
        self.out = nn.Linear(d_in("points", self.part), 1)

    def forward(self, features):
        return api.Ragged(self.out(features.points.x)[:, 0], features.points.offsets)

    def counts(self, batch):
        return {"noise": len(batch.labels["calo"]["hits"].columns["noise"])}

    def loss(self, prediction, batch):
        truth = batch.labels["calo"]["hits"].columns["noise"].float()
        sum_ = nn.functional.binary_cross_entropy_with_logits(prediction.values, truth, reduction="sum")
        return {"noise": sum_}

    def predict(self, prediction):
        columns = {"probability": prediction.values.sigmoid()}
        return {"noise": {"hits": api.RaggedTable(columns, prediction.offsets)}}

    def statistics(self, predicted, batch):
        hits = predicted["noise"]["hits"]
        right = (hits.columns["probability"] > 0.5) == (batch.labels["calo"]["hits"].columns["noise"] > 0)
        event = np.repeat(np.arange(len(hits)), hits.lengths)
        return {"right": np.bincount(event, right, len(hits)), "all": hits.lengths.astype(np.float64)}

    def figures(self, sums):
        return {"accuracy": float(sums["right"] / sums["all"])} if sums["all"] else {}


def samples(count):
    rng = np.random.default_rng(1)
    for event_id in range(count):
        energy = rng.exponential(5, 5 + 3 * event_id).astype("f4")
        labels = {
            "hits": {"noise": (energy < 2).astype("i1")},
            "event": {"true_mev": energy.sum(keepdims=True)},
        }
        yield api.Sample(
            event_id=event_id, parts={"calo": {"hits": {"energy_mev": energy}}}, labels={"calo": labels}
        )


def check(head):
    head_contract(head, schema={"calo": SCHEMA}, samples=list(samples(4)))


@pytest.mark.parametrize("head", [Energy, Pooled, Noise])
def test_a_head_that_keeps_to_the_contract_passes(head):
    check(head)


def test_a_head_that_needs_no_labels_passes():
    """Its target is the energy that was seen."""

    class Seen(Energy):
        def __init__(self, config, *, schema, d_in):
            super().__init__(config, schema={"calo": SCHEMA}, d_in=d_in)

        def counts(self, batch):
            return {"energy": len(batch)}

        def loss(self, prediction, batch):
            table = batch.parts["calo"]["hits"]
            seen = segment_mean(table.columns["energy_mev"], table.offsets)
            return {"energy": (prediction - seen).square().sum()}

    check(Seen)


def wanting(name, value):
    """A broken variant with another class attribute."""
    return lambda head: setattr(head, name, value)


def changed(method, change):
    """A broken variant: ``change(original, self, *arguments)`` in place of a method."""

    def apply(head):
        original = getattr(head, method)
        setattr(head, method, lambda self, *a, **k: change(original, self, *a, **k))

    return apply


def label_among_predictions(init, self, *arguments, **options):
    init(self, *arguments, **options)
    column = replace(PREDICTION.tables["event"]["energy_mev"], label=True)
    self.predictions = {"energy": replace(PREDICTION, tables={"event": {"energy_mev": column}})}


def asks_for_nothing(init, self, config, *, schema, d_in):
    init(self, config, schema={"calo": SCHEMA}, d_in=d_in)


def idle_parameter(init, self, *arguments, **options):
    init(self, *arguments, **options)
    self.spare = nn.Linear(2, 2)


def in_double(predict, self, prediction):
    return predict(self, prediction.double())


def loses_an_event(predict, self, prediction):
    return predict(self, prediction[1:])


def not_finite(predict, self, prediction):
    return predict(self, prediction.log() * 0)


def pooled_over_batch(forward, self, features):
    prediction = forward(self, features)
    return prediction + prediction.mean() if len(prediction) else prediction


def random(forward, self, features):
    return nn.functional.dropout(forward(self, features), 0.5)


def mean_loss(loss, self, prediction, batch):
    return {"energy": loss(self, prediction, batch)["energy"] / max(self.counts(batch)["energy"], 1)}


def count_as_tensor(counts, self, batch):
    return {term: torch.tensor(n) for term, n in counts(self, batch).items()}


def in_half(loss, self, prediction, batch):
    half = torch.is_autocast_enabled("cpu")
    return {"energy": loss(self, prediction, batch)["energy"].to(torch.bfloat16 if half else torch.float32)}


def half_of_it(loss, self, prediction, batch):
    return {"energy": loss(self, prediction, batch)["energy"] * (1 - 0.5 * torch.is_autocast_enabled("cpu"))}


def blind(loss, self, prediction, batch):
    return {"energy": prediction.square().sum()}


def detached_when_empty(loss, self, prediction, batch):
    return loss(self, prediction, batch) if self.counts(batch)["energy"] else {"energy": torch.zeros(())}


def in_place(forward, self, features):
    features.tokens.x.mul_(0.5)
    return forward(self, features)


def mean_of_an_event(statistics, self, predicted, batch):
    return {"errors": statistics(self, predicted, batch)["errors"] / len(batch)}


def divides_by_zero(figures, self, sums):
    return {"rms_mev": np.nan, **figures(self, sums)}


def in_one_row(targets, self, batch):
    return api.Ragged(targets(self, batch).values[:1], torch.tensor([0, 1]))


def by_row(forward, self, features):
    made = forward(self, features)
    first = made.offsets[:-1].repeat_interleave(made.lengths)
    return api.Ragged(made.values + 0.1 * (torch.arange(len(first)) - first), made.offsets)


def of_the_first_row(statistics, self, predicted, batch):
    hits = predicted["noise"]["hits"]
    first = [each[:1].sum() for each in hits["probability"]]
    return statistics(self, predicted, batch) | {"right": np.array(first, np.float64)}


def whole_in_half(predict, self, prediction):
    assert not torch.is_autocast_enabled("cpu")
    return predict(self, prediction)


def only_the_first(predict, self, prediction):
    offsets = torch.arange(len(prediction) + 1)
    columns = {"probability": torch.zeros(len(prediction))}
    return {"noise": {"hits": api.RaggedTable(columns, offsets)}}


BROKEN = {
    "needs": (Energy, wanting("needs", ("tokens", "everything")), "``needs`` are of tokens, points, pooled"),
    "one need": (Energy, wanting("needs", "tokens"), "not a sequence of names"),
    "part": (Noise, wanting("part", ""), "``part`` is one of the data"),
    "weights": (Energy, wanting("weights", {}), "weights of []"),
    "mean statistics": (Energy, changed("statistics", mean_of_an_event), "the same whatever batch it is in"),
    "no event": (Energy, changed("figures", divides_by_zero), "leave them out where they are not defined"),
    "targets": (Pooled, changed("targets", in_one_row), "each row has a target"),
    "label": (
        Energy,
        changed("__init__", label_among_predictions),
        "has schemas that the event store can hold",
    ),
    "dtype": (Energy, changed("predict", in_double), "is float64, not float32"),
    "events": (Energy, changed("predict", loses_an_event), "has 4 events of 5"),
    "not finite": (Energy, changed("predict", not_finite), "energy_mev is not finite"),
    "rows of points": (Noise, changed("predict", only_the_first), "has a row for each of 'hits'"),
    "order of rows": (Noise, changed("forward", by_row), "Rows in another order"),
    "the first row": (Noise, changed("statistics", of_the_first_row), "Rows in another order"),
    "predicts in half": (Energy, changed("predict", whole_in_half), "predicting works, too"),
    "half": (Energy, changed("loss", in_half), "is torch.bfloat16 under autocast"),
    "far off": (Energy, changed("loss", half_of_it), "with products in bf16"),
    "batch-mates": (
        Energy,
        changed("forward", pooled_over_batch),
        "An event alone and in a batch gets the same",
    ),
    "random": (Pooled, changed("forward", random), "nothing is drawn at random"),
    "mean": (Energy, changed("loss", mean_loss), "Sums and counts of a batch are those of its events"),
    "count": (Energy, changed("counts", count_as_tensor), "are not all int"),
    "no labels": (Energy, changed("__init__", asks_for_nothing), "A schema without labels is refused"),
    "blind": (Energy, changed("loss", blind), "it is blind to them"),
    "not connected": (Energy, changed("loss", detached_when_empty), "connect every parameter"),
    "idle parameter": (
        Energy,
        changed("__init__", idle_parameter),
        "parameter spare.weight gets no gradient",
    ),
    "in place": (Energy, changed("forward", in_place), "The features are not written to"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_rule_that_a_head_breaks_is_named(case):
    head, breaks, rule = BROKEN[case]
    variant = type("Variant", (head,), {})
    breaks(variant)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check(variant)
