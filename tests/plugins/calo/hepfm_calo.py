"""A plugin as a stranger would write it: a sampling calorimeter whose layers are the units of an event."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn

from hepfm import api
from hepfm.nn.ragged import event_index

HEPFM_API = (1, 0)

SCHEMA = api.PartSchema(
    kind="calo",
    primary="hits",
    tables={
        "hits": {
            "layer": api.Column(dtype="uint16"),
            "energy_mev": api.Column(dtype="float32", unit="MeV"),
            "particle": api.Column(dtype="int32", label=True),
        }
    },
)


@api.hookimpl
def hepfm_modalities():
    return [api.ModalitySpec(name="calo", target="hepfm_calo:Calo", summary="Layers of a calorimeter.")]


@api.hookimpl
def hepfm_backbones():
    return [api.BackboneSpec(name="deepsets", target="hepfm_calo:DeepSets")]


@api.hookimpl
def hepfm_objectives():
    return [api.ObjectiveSpec(name="hide-layers", target="hepfm_calo:HideLayers")]


class Calo:
    """A layer's hits are summed to (energy, number); a hidden layer's energy is to be predicted."""

    class Config(BaseModel):
        min_energy_mev: float = 0.5

    n_positions = 1

    def __init__(self, config, schema):
        self.config, self.schema = config, schema

    def select(self, tables):
        return {"hits": tables["hits"].columns["energy_mev"] > self.config.min_energy_mev}

    def augment(self, tables, draws):
        hits = tables["hits"]
        factor = 0.9 + 0.2 * draws.per_event("calo/scale", 1)[:, 0].float()
        energy = hits.columns["energy_mev"] * factor[event_index(hits.offsets)]
        return {**tables, "hits": api.RaggedTable({**hits.columns, "energy_mev": energy}, hits.offsets)}

    def units(self, tables):
        hits = tables["hits"]
        event = event_index(hits.offsets)
        key, row = (event * 1000 + hits.columns["layer"].long()).unique(return_inverse=True)
        offsets = torch.searchsorted(key, torch.arange(len(hits) + 1) * 1000)
        payload = {"row": row, "hits": hits, "layer": key % 1000}
        return api.Units(positions=(key % 1000).float()[:, None], offsets=offsets, payload=payload)

    def target(self, units, hidden):
        return api.Target(counts={"energy": int(hidden.sum())}, payload=_content(units)[hidden, 0])

    def visible_tables(self, units, visible):
        hits, keep = units.payload["hits"], visible[units.payload["row"]]
        kept = torch.cat([torch.zeros(1, dtype=torch.int64), keep.cumsum(0)])
        columns = {name: values[keep] for name, values in hits.columns.items()}
        return {"hits": api.RaggedTable(columns, kept[hits.offsets])}

    def tokenizer(self, d_model):
        return CaloTokenizer(d_model)

    def decoder(self, d_model):
        return CaloDecoder(d_model)


def _content(units):
    """``(U, 2)``: log of the energy, number of hits."""
    row, hits = units.payload["row"], units.payload["hits"]
    both = torch.stack([hits.columns["energy_mev"], torch.ones(len(row))], -1).double()
    summed = torch.zeros(len(units.positions), 2, dtype=torch.float64).index_add(0, row, both)
    return summed.log1p().float()


class CaloTokenizer(nn.Module):
    point_width = 1

    def __init__(self, d_model):
        super().__init__()
        self.content, self.place = nn.Linear(2, d_model), nn.Linear(1, d_model)

    def forward(self, units, visible):
        row, hits = units.payload["row"], units.payload["hits"]
        seen = visible[row]
        unit = (visible.cumsum(0) - 1)[row[seen]]
        tokens = self.content(_content(units)[visible]) + self.place(units.positions[visible] / 10)
        return tokens, (unit, hits.columns["energy_mev"][seen][:, None])

    def position(self, positions):
        return self.place(positions / 10)

    def spread(self, points, x):
        return x[points[0]]

    def features(self, points, x):
        return points[1]

    def rows(self, units, values):
        return api.Ragged(values, units.payload["hits"].offsets)


class CaloDecoder(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.out = nn.Linear(d_model, 1)
        self.register_buffer("seen", torch.zeros(2, dtype=torch.float64))

    def hints(self, units, visible, points):
        return torch.zeros(int((~visible).sum()), self.out.in_features)

    def forward(self, x):
        return self.out(x)[:, 0]

    def loss(self, prediction, target):
        return {"energy": (prediction - target.payload).square().sum()}

    def observe(self, target):
        self.seen += torch.tensor([len(target.payload), float(target.payload.sum())])

    def baseline(self, target):
        return self.loss((self.seen[1] / self.seen[0].clamp(min=1)).float(), target)

    def tables(self, prediction, units, hidden):
        kept = torch.cat([torch.zeros(1, dtype=torch.int64), hidden.cumsum(0)])
        columns = {"layer": units.payload["layer"][hidden], "energy_mev": prediction.expm1()}
        return {"hits": api.RaggedTable(columns, kept[units.offsets])}


class DeepSets(nn.Module):
    """Each token sees itself and the mean of its event (Zaheer et al. 2017)."""

    class Config(BaseModel):
        d_model: int = 16

    n_layers = 2

    def __init__(self, config, *, n_positions):
        super().__init__()
        self.d_model = config.d_model
        self.own = nn.ModuleList(nn.Linear(config.d_model + n_positions, config.d_model) for _ in range(2))
        self.mean = nn.ModuleList(nn.Linear(config.d_model, config.d_model) for _ in range(2))

    def forward(self, tokens, *, draws=None, layers=()):
        event = event_index(tokens.offsets)
        count = tokens.offsets.diff().clamp(min=1)[:, None]
        x, outputs = tokens.x, []
        for own, mean in zip(self.own, self.mean, strict=True):
            pooled = torch.zeros(len(count), self.d_model).index_add(0, event, x) / count
            x = torch.tanh(own(torch.cat([x, tokens.positions], -1)) + mean(pooled)[event])
            outputs.append(x)
        if layers:
            x = torch.cat([outputs[layer - 1] for layer in layers], -1)
        return api.Tokens(x=x, positions=tokens.positions, offsets=tokens.offsets, part=tokens.part)


class HideLayers(nn.Module):
    """Every unit is hidden with a probability; what the mean of the event tells of it is the prediction."""

    class Config(BaseModel):
        hide: float = 0.5

    weights: ClassVar = {"energy": 1.0}

    def __init__(self, config, *, modalities, d_model):
        super().__init__()
        (self.part, self.modality), *_ = modalities.items()
        self.hide = config.hide
        self.decoder = self.modality.decoder(d_model)

    def plan(self, batch, draws, *, augment=True):
        tables = batch.parts[self.part]
        tables = self.modality.augment(tables, draws) if augment else tables
        units = self.modality.units(tables)
        hidden = draws.per_item("hide", units.offsets) < self.hide
        target = self.modality.target(units, hidden)
        return api.Plan(counts=target.counts, draws=draws, payload=(units, hidden, target))

    def forward(self, encoder, plan):
        return self.decoder.loss(self._predicted(encoder, plan), plan.payload[2])

    def _predicted(self, encoder, plan):
        units, hidden, _ = plan.payload
        tokens = encoder({self.part: units}, {self.part: ~hidden}, draws=plan.draws)
        count = tokens.offsets.diff().clamp(min=1)[:, None]
        pooled = (
            torch.zeros(len(count), tokens.x.shape[1]).index_add(0, event_index(tokens.offsets), tokens.x)
            / count
        )
        place = encoder.tokenizers[0].position(units.positions[hidden])
        return self.decoder(place + pooled[event_index(units.offsets)[hidden]])

    def observe(self, plan):
        self.decoder.observe(plan.payload[2])

    def marginals(self):
        return [self.decoder.seen]

    def baseline(self, plan):
        return self.decoder.baseline(plan.payload[2])

    def reconstruct(self, encoder, plan):
        units, hidden, _ = plan.payload
        shown = api.Reconstruction(
            visible=self.modality.visible_tables(units, ~hidden),
            hidden=self.modality.visible_tables(units, hidden),
            predicted=self.decoder.tables(self._predicted(encoder, plan), units, hidden),
        )
        return {self.part: shown}


def showers(count):
    """Events as tables, each of 20 to 60 hits in up to 12 layers."""
    rng = np.random.default_rng(1)
    events = []
    for _ in range(count):
        n = int(rng.integers(20, 60))
        layer, energy = rng.integers(0, 12, n).astype(np.uint16), rng.exponential(5, n).astype(np.float32)
        events.append({"hits": {"layer": layer, "energy_mev": energy}})
    return events
