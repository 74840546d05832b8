"""Units in order, places, and input that is not as it should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepfm.api import Sample
from hepfm.data.cuts import bad_value
from hepfm.errors import RecipeError
from hepfm.readers.checks import bad_values
from hepfm.readers.pack import pack
from hepfm_structured.schema import field, part_schema


def all_of(units):
    return torch.ones(len(units.positions), dtype=torch.bool)


def test_the_record_comes_first_then_objects_by_momentum(make_modality, packed, jets) -> None:
    units = make_modality(place=[]).units(packed(jets))
    assert units.offsets.tolist() == [0, 5, 17, 18, 26]
    assert [int(units.positions[i, 0]) for i in units.offsets[:-1]] == [1, 1, 1, 1]
    shown = make_modality().visible_tables(units, all_of(units))
    for event, jet in enumerate(jets):
        wanted = np.sort(jet["particles"]["pt"])[::-1]
        assert shown["particles"]["pt"][event].tolist() == wanted.tolist()


def test_objects_are_in_the_order_that_is_asked_for(make_modality, packed, jets) -> None:
    def numbers(**options):
        one = make_modality(**options)
        units = one.units(packed(jets[1:2]))
        return one.visible_tables(units, all_of(units))["particles"].columns["number"].tolist()

    particles = jets[1]["particles"]
    assert numbers(order="stored") == list(range(11))
    assert numbers(order="eta") == np.argsort(-particles["eta"]).tolist()
    # Equal charges: by all that is known, so that the order is the same whatever the file's.
    charges = particles["charge"][numbers(order="charge")]
    assert (np.diff(charges) <= 0).all()


@given(st.floats(-50, 50), st.floats(-math.pi, math.pi))
def test_a_place_closes_on_itself(make_modality, packed, make_jet, eta, phi) -> None:
    """The chord between two directions, in pitches, whatever turn the angle is given with."""
    event = {table: {c: v.copy() for c, v in columns.items()} for table, columns in make_jet(0, 3).items()}
    event["particles"]["eta"][:] = [eta, eta + 1, eta]
    event["particles"]["phi"][:] = [phi, phi, phi + 2 * math.pi]
    one = make_modality(order="stored", event_record=False, pitch=0.1)
    place = one.units(packed([event])).positions.double()
    assert one.n_positions == 3
    assert torch.dist(place[0], place[1]) == pytest.approx(10.0, abs=1e-3)
    assert torch.dist(place[0], place[2]) == pytest.approx(0.0, abs=1e-3)
    assert torch.linalg.norm(place[0, 1:]) == pytest.approx(10.0, abs=1e-3)


def test_places_are_found_by_name(make_modality) -> None:
    def place(columns, **attributes):
        schema = part_schema({c: field("float32", "continuous") for c in columns}, **attributes)
        one = make_modality(schema)
        return one.place, one.pitch

    assert place(("pt", "eta", "phi", "deta", "dphi")) == (("deta", "dphi"), 0.05)
    assert place(("x", "y", "z", "value")) == (("x", "y", "z"), 0.05)
    assert place(("x", "y", "value"), grid=[30, 30]) == (("x", "y"), 1.0)
    assert place(("pt", "eta")) == ((), 0.05)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"place": ["ephi"]}, "no column 'ephi'"),
        ({"place": ["charge"]}, "no column 'charge'"),
        ({"order": "d0"}, "no column 'd0'"),
        ({"weights": {"eta": 2.0}}, "'eta' says where"),
        ({"place": ["pt", "eta", "phi", "d0"], "leave_out": ["charge"]}, "where it is"),
    ],
)
def test_options_that_cannot_be_are_refused(make_modality, options, what) -> None:
    with pytest.raises(RecipeError, match=what):
        make_modality(**options)


def test_a_class_without_a_name_adds_nothing(make_modality, packed, make_jet) -> None:
    """Its vector begins at zero, and moves only if training shows such a class."""
    one = make_modality()
    torch.manual_seed(0)
    tokenizer = one.tokenizer(16)

    def known(seed, n):
        event = make_jet(seed, n)
        event["particles"]["d0"][:] = 1.0
        return event

    def tokens(charge):
        event = known(3, 5)
        event["particles"]["charge"][:] = charge
        units = one.units(packed([event]))
        return tokenizer(units, all_of(units))[0]

    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        tokens(1).square().sum().backward()
        optimiser.step()
    # A model that gets no charge, with the same weights.
    less = make_modality(leave_out=["charge"])
    bare_tokenizer = less.tokenizer(16)
    weights = {n: w for n, w in tokenizer.state_dict().items() if "of_class" not in n and n != "missing"}
    bare_tokenizer.load_state_dict(weights, strict=False)
    units = less.units(packed([known(3, 5)]))
    bare, _ = bare_tokenizer(units, all_of(units))
    torch.testing.assert_close(tokens(99), bare)
    assert not torch.allclose(tokens(1), bare)
    assert not torch.allclose(tokens(-1), tokens(0))


def test_what_is_not_known_is_told_apart_and_not_asked_for(make_modality, packed, jets) -> None:
    one = make_modality(event_record=False)
    units = one.units(packed(jets))
    target = one.target(units, all_of(units))
    rows = sum(len(jet["particles"]["pt"]) for jet in jets)
    unknown = sum(int(np.isnan(jet["particles"]["d0"]).sum()) for jet in jets)
    assert dict(target.counts) == {"pt": rows, "d0": 2 * rows - unknown, "charge": rows}
    tokenizer = one.tokenizer(16)
    assert bool((tokenizer.missing == 0).all())
    before = tokenizer(units, all_of(units))[0]
    with torch.no_grad():
        tokenizer.missing += 1.0
    moved = (tokenizer(units, all_of(units))[0] != before).any(1)
    assert torch.equal(moved, (~units.payload.known).any(1))


def test_a_jet_of_nothing_but_nan_is_no_trouble(make_modality, packed, make_jet) -> None:
    event = make_jet(0, 4)
    for columns in event.values():
        for values in columns.values():
            if values.dtype.kind == "f":
                values[:] = np.nan
    for kind in ("objects", "fields"):
        one = make_modality(units=kind, leave_out=["charge", "event.n"])
        units = one.units(packed([event, make_jet(1, 3)]))
        assert len(units.positions) == (9 if kind == "objects" else 3 * 2 + 1 - 1)
        tokens, _ = one.tokenizer(16)(units, all_of(units))
        assert bool(torch.isfinite(tokens).all())
        assert bool(torch.isfinite(units.positions).all())


def test_nan_is_read_and_infinity_refused(schema, make_jet, tmp_path) -> None:
    event = make_jet(0, 2)
    batch = pack([Sample(event_id=1, parts={"jet": event})], {"jet": schema}, labels=False)
    assert bad_value(batch, {"jet": schema}) is None
    assert not list(bad_values(batch, {"jet": schema}, path=tmp_path))
    event["particles"]["pt"][1] = np.inf
    batch = pack([Sample(event_id=1, parts={"jet": event})], {"jet": schema}, labels=False)
    assert bad_value(batch, {"jet": schema}) == (0, "jet/particles/pt")
    (sentence,) = bad_values(batch, {"jet": schema}, path=tmp_path)
    assert sentence.endswith("field jet/particles/pt: 1 rows are infinite")


def test_single_fields_are_units(make_modality, packed, jets) -> None:
    """A unit for each column of each row that is known, but for the place; groups say of which row and column."""
    one = make_modality(units="fields")
    units = one.units(packed(jets))
    rows, unknown = 4 + 11 + 7, 3  # one row of each jet has no d0
    assert len(units.positions) == 3 * rows - unknown + 2 * 4
    assert units.groups["field"].unique().tolist() == [0, 1, 2, 3, 4]
    alone = one.units(packed(jets[1:2])).groups["object"]  # numbers within the event, whatever its batch
    assert torch.equal(units.groups["object"][units.offsets[1] : units.offsets[2]], alone)
    assert sorted(alone.bincount().tolist()) == [2, 2] + [3] * 10  # the record, and the row without d0
    every = one.visible_tables(units, all_of(units))["particles"].columns
    hidden = one.visible_tables(units, units.groups["field"] == 0)["particles"].columns
    assert torch.equal(hidden["pt"], every["pt"])
    assert bool(hidden["charge"].isnan().all())
    assert torch.equal(hidden["eta"], every["eta"])


def test_predictions_are_shown_in_the_columns_own_numbers(make_modality, packed, jets) -> None:
    """A prediction that is sure of the true bin shows numbers of that bin; the place is as it was."""
    one = make_modality()
    units = one.units(packed(jets))
    hidden = torch.arange(len(units.positions)) % 2 == 0
    truth = one.target(units, hidden).payload
    decoder = one.decoder(16)
    sure = torch.cat(
        [30.0 * torch.nn.functional.one_hot(truth.bin[:, i], size) for i, size in enumerate(decoder.sizes)],
        1,
    ).float()
    assert all(float(v) < 1e-3 for v in decoder.loss(sure, one.target(units, hidden)).values())
    shown = decoder.tables(sure, units, hidden)
    real = one.visible_tables(units, hidden)
    assert set(shown["particles"].columns) == {"pt", "eta", "phi", "d0", "charge"}
    for name, wide in (("pt", 0.07), ("charge", 0.0)):
        found, wanted = (tables["particles"].columns[name] for tables in (shown, real))
        named = wanted != 2 if name == "charge" else torch.ones_like(wanted, dtype=torch.bool)
        torch.testing.assert_close(found[named], wanted[named], rtol=wide, atol=0)
        assert found.dtype == wanted.dtype
    assert torch.equal(shown["particles"].columns["eta"], real["particles"].columns["eta"])


def test_the_baseline_is_the_entropy_of_what_was_seen(make_modality, packed, make_jet) -> None:
    one = make_modality(event_record=False)
    events = [make_jet(seed, 40) for seed in range(20)]
    units = one.units(packed(events))
    target = one.target(units, all_of(units))
    decoder = one.decoder(16)
    for _ in range(200):  # so much that half a count in each bin does not matter
        decoder.observe(target)
    charge = np.concatenate([event["particles"]["charge"] for event in events])
    share = np.unique(charge, return_counts=True)[1] / len(charge)
    entropy = -(share * np.log(share)).sum() * len(charge)
    assert float(decoder.baseline(target)["charge"]) == pytest.approx(entropy, rel=1e-3)
