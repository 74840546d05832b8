"""Errors say what, where and what to do, keep their kind between processes, and have the documented exit codes."""

from __future__ import annotations

import pickle

import pytest

from hepfm import errors


def subclasses(cls):
    return [cls, *(sub for child in cls.__subclasses__() for sub in subclasses(child))]


OURS = [cls for cls in subclasses(errors.HepfmError) if cls.__module__.startswith("hepfm.errors")]


@pytest.mark.parametrize("cls", OURS)
def test_an_error_survives_the_way_between_processes(cls):
    error = pickle.loads(pickle.dumps(cls("What happened.", where="a.h5, event 3", fix="fetch it")))
    assert type(error) is cls
    assert (error.what, error.where, error.fix) == ("What happened.", "a.h5, event 3", "fetch it")
    assert str(error) == "What happened.\n  where: a.h5, event 3\n  to do: fetch it"


def test_what_is_not_known_is_left_out():
    assert str(errors.DataError("What happened.")) == "What happened."
    assert str(errors.DataError("What happened.", fix="wait")) == "What happened.\n  to do: wait"


def test_exit_codes_are_those_of_the_documentation():
    codes = {cls.__name__: cls.exit_code for cls in OURS}
    assert codes == {
        "HepfmError": 1,
        "RecipeError": 2,
        "DataError": 3,
        "PluginError": 4,
        "CheckpointError": 1,
        "TrainingError": 1,
        "Stopped": 75,
    }


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("trian", ["train", "model"], "did you mean 'train'?"),
        ("xyz", ["train", "model"], "known: model, train"),
        ("xyz", [], "none are known"),
    ],
)
def test_a_misspelt_name_gets_a_hint(name, known, hint):
    assert errors.did_you_mean(name, known) == hint
