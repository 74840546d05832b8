"""The JSON schema for editors agrees with what hepfm itself accepts and refuses."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from hepfm.errors import HepfmError
from hepfm.recipe.json_schema import json_schema
from hepfm.recipe.load import from_dict, load_recipe


@pytest.fixture
def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_resolved_recipes_and_files_that_extend_are_valid(validator):
    validator.validate(yaml.safe_load(load_recipe("toy/hide-more").yaml()))
    validator.validate({"extends": "toy/hide", "train": {"steps": 3}, "objective": {"share": 0.5}})


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("train", {"stepz": 3}),
        ("train", {"steps": "many"}),
        ("train", {"schedule": "cosin"}),
        ("objective", {"name": "toy-hide", "shar": 0.5}),
        ("objective", {"name": "toy-hide", "share": 1.5}),
        ("model", {"backbone": {"name": "toy-scan", "drop_path": 0.1}}),
        (
            "data",
            {"train": "x.h5", "parts": {"charge": {"kind": "toy-image", "cut": {"min_energy_mev": -1}}}},
        ),
        ("deepspeed", {"bf16": {"enabled": True}}),
        ("deepspeed", {"zero_optimization": {"stage": 4}}),
    ],
)
def test_what_hepfm_refuses_is_not_valid(validator, section, values):
    tree = load_recipe("toy/hide").recipe.model_dump(mode="json") | {section: values}
    assert not validator.is_valid(tree)
    with pytest.raises(HepfmError):
        from_dict(tree)


def test_fields_are_described(validator):
    train = validator.schema["$defs"]["Train"]["properties"]
    assert "0 for no clipping" in train["clip_norm"]["description"]
