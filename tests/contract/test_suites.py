"""The contract suites pass a plugin that keeps to the contracts, and name the rule that a broken one breaks."""

from __future__ import annotations

import copy
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepfm import api
from hepfm.errors import DataError
from hepfm.nn.teacher import Teacher
from hepfm.objectives.contrastive import Contrastive
from hepfm.objectives.jepa import Jepa
from hepfm.objectives.spread import Spread
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreReader
from hepfm.readers.writer import StoreWriter
from hepfm.testing import backbone_contract, modality_contract, objective_contract, reader_contract


def check_modality(calo):
    modality = calo.Calo(calo.Calo.Config(), calo.SCHEMA)
    modality_contract(modality, calo.showers(4), content=("energy_mev",))


def check_backbone(calo):
    backbone_contract(calo.DeepSets, n_positions=1)


def check_objective(calo):
    modality = calo.Calo(calo.Calo.Config(), calo.SCHEMA)
    backbone = calo.DeepSets(calo.DeepSets.Config(), n_positions=1)
    samples = [api.Sample(event_id=50 + i, parts={"calo": event}) for i, event in enumerate(calo.showers(4))]
    objective_contract(calo.HideLayers, modalities={"calo": modality}, backbone=backbone, samples=samples)


@pytest.mark.parametrize("check", [check_modality, check_backbone, check_objective])
def test_what_keeps_to_the_contracts_passes(calo, check):
    check(calo)


def broken(calo, monkeypatch, owner, method, change):
    """Wraps a method of a class of the plugin: ``change(original, self, *arguments)``."""
    original = getattr(getattr(calo, owner), method)
    monkeypatch.setattr(getattr(calo, owner), method, lambda self, *a, **k: change(original, self, *a, **k))


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


def test_weights_of_points_alone_may_be_left_by_an_objective_but_not_by_a_modality(calo, monkeypatch):
    def learns_points(init, self, d_model):
        init(self, d_model)
        self.scale = torch.nn.Parameter(torch.ones(1))

    broken(calo, monkeypatch, "CaloTokenizer", "__init__", learns_points)
    check_objective(calo)
    with pytest.raises(AssertionError, match=re.escape("parameter tokenizer.scale gets no gradient")):
        check_modality(calo)
    broken(calo, monkeypatch, "CaloTokenizer", "features", lambda f, self, *a: f(self, *a) * self.scale)
    check_modality(calo)


@pytest.mark.parametrize("case", MODALITIES)
def test_the_rule_that_a_modality_breaks_is_named(calo, monkeypatch, case):
    owner, method, change, rule = MODALITIES[case]
    broken(calo, monkeypatch, owner, method, change)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check_modality(calo)


def pooled_over_batch(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=out.x + out.x.mean(0)) if len(out.x) else out


def without_layers(forward, self, tokens, *, draws=None, layers=()):
    return forward(self, tokens, draws=draws)


def dropping_out(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=torch.nn.functional.dropout(out.x, 0.5))


def drawing_by_place(forward, self, tokens, *, draws=None, layers=()):
    out = forward(self, tokens, draws=draws, layers=layers)
    return replace(out, x=out.x * torch.arange(len(out.x))[:, None]) if draws else out


def in_place(forward, self, tokens, **options):
    tokens.x.data.mul_(0.5)
    return forward(self, tokens, **options)


def detached_when_empty(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=out.x.detach().requires_grad_()) if not len(out.x) else out


def shuffling_events(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=out.x * torch.linspace(1, 2, len(out.x))[:, None])


BACKBONES = {
    "batch-mates": (pooled_over_batch, "An event alone and in a batch gives the same output"),
    "gradient": (pooled_over_batch, "The output of one event has no gradient"),
    "order": (shuffling_events, "Events in another order give the same outputs"),
    "layers": (without_layers, "gives the outputs of these layers side by side"),
    "random": (dropping_out, "Without draws the output is the same each time"),
    "draws": (drawing_by_place, "With draws, an event's output depends on its own draws alone"),
    "in place": (in_place, "The input's tensors are not written to"),
    "nothing": (detached_when_empty, "A batch without tokens, or without events"),
}


@pytest.mark.parametrize("case", BACKBONES)
def test_the_rule_that_a_backbone_breaks_is_named(calo, monkeypatch, case):
    change, rule = BACKBONES[case]
    broken(calo, monkeypatch, "DeepSets", "forward", change)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check_backbone(calo)


def plan_of(plan, self, batch, draws, *, augment=True, hidden=None):
    """The plan with other masks."""
    made = plan(self, batch, draws, augment=augment)
    units = made.payload[0]
    target = self.modality.target(units, hidden(units))
    return api.Plan(counts=target.counts, draws=draws, payload=(units, hidden(units), target))


def masks_by_place(plan, self, batch, draws, *, augment=True):
    return plan_of(
        plan, self, batch, draws, augment=augment, hidden=lambda u: torch.arange(len(u.positions)) % 2 == 0
    )


def masks_for_ever(plan, self, batch, draws, *, augment=True):
    hidden = lambda u: (u.positions[:, 0] % 2) == 0  # noqa: E731
    return plan_of(plan, self, batch, draws, augment=augment, hidden=hidden)


def always_augmenting(plan, self, batch, draws, *, augment=True):
    return plan(self, batch, draws, augment=True)


def miscounting(plan, self, batch, draws, *, augment=True):
    made = plan(self, batch, draws, augment=augment)
    return replace(made, counts={"energy": max(made.counts["energy"], 1)})


def mean_over_batch(forward, self, encoder, plan):
    return {"energy": forward(self, encoder, plan)["energy"] / max(plan.counts["energy"], 1)}


def unweighted_term(forward, self, encoder, plan):
    return {**forward(self, encoder, plan), "extra": torch.zeros(())}


def skipping_nothing(forward, self, encoder, plan):
    return (
        forward(self, encoder, plan)
        if plan.counts["energy"]
        else {"energy": torch.zeros((), requires_grad=True)}
    )


def endless_baseline(baseline, self, plan):
    return {"energy": torch.tensor(torch.inf)}


OBJECTIVES = {
    "masks by place": ("plan", masks_by_place, "whatever batch it is in, and in whatever place"),
    "masks for ever": ("plan", masks_for_ever, "Another epoch hides something else"),
    "augmentation": ("plan", always_augmenting, "rows of the event as it is"),
    "counts": ("plan", miscounting, "Batches without events, or of empty ones"),
    "counts of parts": ("plan", miscounting, "Counts and sums of a batch are those of its parts"),
    "mean": ("forward", mean_over_batch, "Counts and sums of a batch are those of its parts"),
    "terms": ("forward", unweighted_term, "a finite float32 sum of each term"),
    "not connected": ("forward", skipping_nothing, "connect every parameter"),
    "baseline": ("baseline", endless_baseline, "gives a finite baseline of the same terms"),
}


@pytest.mark.parametrize("case", OBJECTIVES)
def test_the_rule_that_an_objective_breaks_is_named(calo, monkeypatch, case):
    method, change, rule = OBJECTIVES[case]
    broken(calo, monkeypatch, "HideLayers", method, change)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check_objective(calo)


def check_other(calo, objective, config=None):
    """The contract of an objective over two calorimeters."""
    modalities = {part: calo.Calo(calo.Calo.Config(), calo.SCHEMA) for part in ("near", "far")}
    torch.manual_seed(3)
    backbone = calo.DeepSets(calo.DeepSets.Config(), n_positions=1)
    near, far = calo.showers(4), calo.showers(8)[4:]
    samples = [
        api.Sample(event_id=50 + i, parts={"near": one, "far": other})
        for i, (one, other) in enumerate(zip(near, far, strict=True))
    ]
    objective_contract(objective, config, modalities=modalities, backbone=backbone, samples=samples)


def follows_nobody(follow, self, weights, keep):
    return None


def watching_always(add, self, vectors):
    add(self, vectors)
    self.count += 1


def spread_of_the_last(add, self, vectors):
    for buffer in self.buffers():
        buffer.zero_()
    add(self, vectors)


def mean_over_compared(forward, self, encoder, plan):
    sums = forward(self, encoder, plan)
    return {**sums, "match": sums["match"] / max(1, plan.counts["match"])}


def strangers_too(plan, self, batch, draws, *, augment=True):
    return plan(self, replace(batch, group=None), draws, augment=augment)


def hides_and_does_not_tell(plan, self, batch, draws, *, augment=True):
    made = plan(self, batch, draws, augment=augment)
    kept = draws.per_event("kept", 1)[made.payload.rows, 0] < 0.7
    rows, group, size = (getattr(made.payload, name)[kept] for name in ("rows", "group", "size"))
    payload = replace(made.payload, rows=rows, group=group, size=size)
    return replace(made, counts=dict.fromkeys(made.counts, len(rows)), payload=payload)


OTHERS = {
    "teacher stands still": (Jepa, Teacher, "follow", follows_nobody, "A teacher follows the weights"),
    "figures of the last batch": (Jepa, Spread, "add", spread_of_the_last, "however its events are batched"),
    "figures count calls": (Jepa, Spread, "add", watching_always, "however its events are batched"),
    "mean": (Contrastive, Contrastive, "forward", mean_over_compared, "those of its parts together"),
    "groups": (Contrastive, Contrastive, "plan", strangers_too, "those of its parts together"),
    "masks untold": (Contrastive, Contrastive, "plan", hides_and_does_not_tell, "draws no masks"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_rule_that_an_objective_with_more_to_it_breaks_is_named(calo, monkeypatch, case):
    objective, owner, method, change, rule = OTHERS[case]
    original = getattr(owner, method)
    check_other(calo, objective)
    monkeypatch.setattr(owner, method, lambda self, *a, **k: change(original, self, *a, **k))
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check_other(calo, objective)


def test_a_teacher_that_is_trained_or_not_saved_is_named(calo):
    class Trained(Jepa):
        def begin(self, encoder):
            super().begin(encoder)
            self.teacher.copy = copy.deepcopy(encoder)

        def follow(self, weights, *, step, steps):
            own = {f"encoder.{name}": p for name, p in self.teacher.copy.named_parameters()}
            with torch.no_grad():
                for name, value in weights:
                    if name in own:
                        own[name].lerp_(value, 0.5)

    with pytest.raises(AssertionError, match="the teacher is trained"):
        check_other(calo, Trained)

    class Hidden(Jepa):
        def begin(self, encoder):
            super().begin(encoder)
            for part in self.teacher.modules():
                part._non_persistent_buffers_set.update(part._buffers)

    with pytest.raises(AssertionError, match="nothing that is saved of the objective follows"):
        check_other(calo, Hidden)


@pytest.fixture
def store(calo, tmp_path):
    """A store of 9 events in several blocks, labels included."""
    rng = np.random.default_rng(3)
    samples = []
    for i, event in enumerate(calo.showers(9)):
        particle = rng.integers(0, 5, len(event["hits"]["layer"])).astype(np.int32)
        labels = {"calo": {"hits": {"particle": particle}}}
        samples.append(api.Sample(event_id=2**63 + 7 * i, parts={"calo": event}, labels=labels))
    parts = {"calo": calo.SCHEMA}
    with StoreWriter(tmp_path / "store.h5", parts, {"source": "test"}, block_events=4) as writer:
        writer.write(pack(samples, parts))
    return tmp_path / "store.h5"


def test_a_reader_that_keeps_to_the_contract_passes(store):
    reader_contract(StoreReader, store)


class Sorting(StoreReader):
    def read(self, indices, *, labels=True):
        return super().read(sorted(indices), labels=labels)


class Relabelling(StoreReader):
    def read(self, indices, *, labels=True):
        return super().read(indices)


class Guessing(StoreReader):
    def lengths(self, part):
        return np.full(len(self), 30)


class Renumbering(StoreReader):
    def event_ids(self):
        return np.zeros(len(self), np.uint64)


class Holding(StoreReader):
    def __init__(self, path, config=None):
        super().__init__(path, config)
        self.lock = threading.Lock()


class Believing(StoreReader):
    @classmethod
    def sniff(cls, path):
        return path.suffix == ".h5"


class Wandering(StoreReader):
    def digest(self):
        return str(self.path.parent).encode().hex()


class Complaining(StoreReader):
    def check(self):
        yield "event 3 is odd"


class Closing(StoreReader):
    closed = False

    def close(self):
        self.closed = True

    def read(self, indices, *, labels=True):
        if self.closed:
            raise ValueError("read of closed file")
        return super().read(indices, labels=labels)


class Careless(StoreReader):
    """Reads what is left of a broken file."""

    def __init__(self, path, config=None):
        try:
            super().__init__(path, config)
        except DataError:
            self.parts, self.broken = {}, True

    broken = False

    def __len__(self):
        return 0 if self.broken else super().__len__()

    def read(self, indices, *, labels=True):
        return () if self.broken else super().read(indices, labels=labels)

    def check(self):
        return iter(()) if self.broken else super().check()


READERS = {
    Sorting: "Events are read in the order asked for",
    Relabelling: "labels=False gives labels",
    Guessing: "``lengths`` gives the rows that are read",
    Renumbering: "Event ids are unique uint64",
    Holding: "It can be pickled after use",
    Believing: "Text, nothing and a missing path are refused",
    Wandering: "a copy has another digest",
    Complaining: "check complains of good data",
    Closing: "After ``close`` it can be read again",
    Careless: "A truncated file is refused",
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_the_rule_that_a_reader_breaks_is_named(store, reader):
    with pytest.raises(AssertionError, match=re.escape(READERS[reader])):
        reader_contract(reader, store)
