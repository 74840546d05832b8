"""What a schema says of its columns is what a model is told, also after it went through a store."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hepfm.api import ClassName, Column, PartSchema, Sample
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreReader
from hepfm.readers.writer import StoreWriter
from hepfm_lartpc.schema import truth
from hepfm_structured.schema import PDG, classes_of, field, fields_of, part_schema

SCHEMA = part_schema(
    {
        "pt": field("float32", "positive", unit="GeV"),
        "phi": field("float32", "periodic"),
        "charge": field("int8", "categorical", vocabulary="charge"),
        "pdg": field("int32", "categorical", vocabulary="pdg"),
        "number": field("int32"),
        "origin": field("int8", "categorical", vocabulary="origin", label=True),
    },
    {"met": field("float32", "positive"), "class": field("int8", vocabulary="class", label=True)},
    vocabularies={
        "origin": (ClassName(value=0, name="b"),),
        "class": (ClassName(value=0, name="QCD"), ClassName(value=1, name="top")),
    },
    order="pt",
)
FIELDS = {
    "particles": {
        "pt": {"kind": "positive"},
        "phi": {"kind": "periodic", "period": 2 * math.pi},
        "charge": {"kind": "categorical", "vocabulary": "charge"},
        "pdg": {"kind": "categorical", "vocabulary": "pdg"},
    },
    "event": {"met": {"kind": "positive"}},
}


def test_fields_are_of_inputs_alone_and_survive_a_store(tmp_path):
    assert fields_of(SCHEMA) == FIELDS
    parts = {"jets": SCHEMA}
    columns = {name: np.zeros(2, c.dtype) for name, c in SCHEMA.tables["particles"].items()}
    origin = {"origin": columns.pop("origin")}
    event = {"particles": columns, "event": {"met": np.zeros(1, "f4")}}
    truth_of = {"particles": origin, "event": {"class": np.zeros(1, "i1")}}
    with StoreWriter(tmp_path / "store.h5", parts, {}) as writer:
        writer.write(pack([Sample(event_id=1, parts={"jets": event}, labels={"jets": truth_of})], parts))
    stored = StoreReader(tmp_path / "store.h5").parts["jets"]
    assert fields_of(stored) == FIELDS
    assert stored.attributes["order"] == "pt"
    assert [c.value for c in classes_of(stored, "charge")] == [-1, 0, 1]


def test_a_column_of_pdg_codes_may_hold_any_and_has_names_for_the_common_ones():
    # A closed vocabulary on the column would make `hepfm data check` complain of every nucleus.
    assert SCHEMA.tables["particles"]["pdg"].vocabulary == ""
    from particle import Particle

    for entry in classes_of(SCHEMA, "pdg"):
        found = Particle.from_pdgid(entry.value)
        assert found.pdgid == entry.value
    assert len({entry.value for entry in PDG}) == len(PDG)


def test_a_record_of_another_plugin_gets_fields_by_name_and_unit():
    fields = fields_of(truth("cube"))["particles"]
    kinds = {name: how["kind"] for name, how in fields.items()}
    assert kinds["energy_mev"] == kinds["deposited_mev"] == "positive"
    assert kinds["process"] == kinds["semantic"] == kinds["pdg"] == "categorical"
    assert kinds["momentum_gev"] == kinds["start_mm"] == kinds["start_ns"] == "continuous"
    assert not {"particle", "parent", "interaction"} & set(kinds)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (Column(dtype="float32", unit="GeV"), "positive"),
        (Column(dtype="float32", unit="GeV", shape=(3,)), "continuous"),
        (Column(dtype="float64"), "continuous"),
    ],
)
def test_defaults_follow_unit_and_shape(column, kind):
    schema = PartSchema(kind="structured", primary="rows", tables={"rows": {"e": column, "phi": column}})
    fields = fields_of(schema)["rows"]
    assert fields["e"]["kind"] == kind
    assert fields["phi"]["kind"] == ("periodic" if not column.unit else kind)
    signed = replace(schema, tables={"rows": {"px": column, "px_gev": column}})
    assert {how["kind"] for how in fields_of(signed)["rows"].values()} == {"continuous"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"ptt": {"kind": "positive"}}, "no such input column.*\n.*\n.*did you mean 'pt'"),
        ({"pt": {"kind": "positiv"}}, "no kind of field 'positiv'.*\n.*\n.*did you mean 'positive'"),
        ({"pt": {"kind": "periodic"}}, "needs a period above 0"),
        (
            {"pt": {"kind": "categorical", "vocabulary": "chrge"}},
            "no vocabulary 'chrge'(.|\n)*did you mean 'charge'",
        ),
        ({"origin": {"kind": "continuous"}}, "no such input column"),
    ],
)
def test_what_makes_no_sense_is_named(fields, sentence):
    schema = replace(SCHEMA, attributes={"fields": {"particles": fields}})
    with pytest.raises(DataError, match=sentence):
        fields_of(schema)
