"""The modality keeps to the contract; for single fields to what of it can hold where rows come in pieces."""

from __future__ import annotations

import pytest
import torch

from hepfm.api import Sample
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.autoregressive import Autoregressive
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.testing import modality_contract, objective_contract
from hepfm.testing.checks import run_checks
from hepfm.testing.modality import Subject
from hepfm.testing.modality_losses import LOSSES, predictions_are_tables
from hepfm.testing.modality_tokens import TOKENS, hidden_content_is_unseen

SMALL = TransformerConfig(d_model=48, n_layers=2, n_heads=3, drop_path=0.2)


@pytest.fixture
def full(make_jet):
    return [make_jet(seed, n) for seed, n in enumerate((6, 11, 4, 7))]


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({}, ("d0",)),
        ({"place": [], "rotate": True, "reflect": True}, ("eta", "d0")),
        ({"event_record": False, "bins": 16}, ("d0",)),
        ({"place": ["d0"], "order": "phi", "leave_out": ["charge", "event.n"]}, ("pt", "eta")),
    ],
)
def test_objects(make_modality, full, options, content) -> None:
    modality_contract(make_modality(**options), full, content=content)


@pytest.mark.parametrize("options", [{}, {"event_record": False, "place": ["eta"]}])
def test_single_fields(make_modality, full, options) -> None:
    """Rows of hidden and visible fields are the same rows: what the other rules say of them is tested beside."""
    beside = {hidden_content_is_unseen, predictions_are_tables}
    checks = [check for check in (*TOKENS, *LOSSES) if check not in beside]
    subject = Subject(make_modality(units="fields", **options), tuple(full), ("pt",))
    run_checks("modality", checks, subject)


def test_hidden_fields_are_unseen(make_modality, packed, full) -> None:
    """Other numbers in hidden fields change no visible token and no hint; in visible ones they do."""
    whole = make_modality(units="fields")
    torch.manual_seed(0)
    tokenizer, decoder = whole.tokenizer(32), whole.decoder(32)
    units = whole.units(packed(full))
    hidden = torch.rand(len(units.positions), generator=torch.Generator().manual_seed(1)) < 0.5
    records = units.payload
    at_record = torch.zeros_like(records.known, dtype=torch.long)
    at_record.index_add_(0, records.unit[hidden], records.own[hidden].long())

    def told(change):
        tables = packed(full)
        for column in ("pt", "d0"):
            for slot in [i for i, s in enumerate(whole.slots) if s.column == column]:
                which = (at_record[records.row, slot] > 0) == (change == "hidden")
                values = tables["particles"].columns[column]
                values = values[:, whole.slots[slot].component[0]] if values.ndim == 2 else values
                values[which] *= 1.5
        other = whole.units(tables)
        tokens, points = tokenizer(other, ~hidden)
        return torch.cat((tokens, decoder.hints(other, ~hidden, tokenizer.features(points, tokens))))

    tokens, points = tokenizer(units, ~hidden)
    before = torch.cat((tokens, decoder.hints(units, ~hidden, tokenizer.features(points, tokens))))
    assert torch.equal(told("hidden"), before)
    assert not torch.allclose(told("visible"), before)


@pytest.mark.parametrize("options", [{}, {"place": [], "order": "eta"}, {"event_record": False}])
def test_masked(make_modality, full, options) -> None:
    part = make_modality(**options)
    objective_contract(
        Masked,
        MaskedConfig(decoder_layers=1, decoder_heads=3),
        modalities={"jet": part},
        backbone=Transformer(SMALL, n_positions=part.n_positions),
        samples=[Sample(event_id=50 + i, parts={"jet": event}) for i, event in enumerate(full)],
    )


@pytest.mark.parametrize("parts", [("jet",), ("jet", "other")])
@pytest.mark.parametrize("record", [True, False])
def test_autoregressive(make_modality, full, parts, record) -> None:
    modalities = {part: make_modality(place=[], event_record=record) for part in parts}
    samples = [
        Sample(event_id=50 + i, parts={part: full[i - k] for k, part in enumerate(parts)}) for i in range(4)
    ]
    objective_contract(
        Autoregressive,
        modalities=modalities,
        backbone=Transformer(SMALL, n_positions=int(record)),
        samples=samples,
    )
