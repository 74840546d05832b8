"""The plugin of a stranger, which the contract suites are tried on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hepfm.api import Sample
from hepfm.testing import backbone_contract, modality_contract, objective_contract


@pytest.fixture
def calo(monkeypatch):
    """The module ``hepfm_calo``, which keeps to the contracts."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "plugins" / "calo")
    yield importlib.import_module("hepfm_calo")
    sys.modules.pop("hepfm_calo")


@pytest.fixture
def check(calo):
    """The suites of modality, backbone and objective, on the plugin as it is now."""

    def modality():
        made = calo.Calo(calo.Calo.Config(), calo.SCHEMA)
        modality_contract(made, calo.showers(4), content=("energy_mev",))

    def backbone():
        backbone_contract(calo.DeepSets, n_positions=1)

    def objective():
        modality = calo.Calo(calo.Calo.Config(), calo.SCHEMA)
        backbone = calo.DeepSets(calo.DeepSets.Config(), n_positions=1)
        samples = [Sample(event_id=50 + i, parts={"calo": event}) for i, event in enumerate(calo.showers(4))]
        objective_contract(calo.HideLayers, modalities={"calo": modality}, backbone=backbone, samples=samples)

    return SimpleNamespace(modality=modality, backbone=backbone, objective=objective)


@pytest.fixture
def broken(calo, monkeypatch):
    """Wraps a method of a class of the plugin: ``change(original, self, *arguments)``."""

    def broken(owner, method, change):
        original = getattr(getattr(calo, owner), method)
        monkeypatch.setattr(
            getattr(calo, owner), method, lambda self, *a, **k: change(original, self, *a, **k)
        )

    return broken
