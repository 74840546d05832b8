"""The class of each point: the contract, Lovasz's loss, and figures against energy and distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from hepfm.api import RaggedTable, Sample
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.testing import head_contract
from hepfm_image3d.schema import image3d_schema
from hepfm_tasks.lovasz import lovasz_softmax
from hepfm_tasks.semantic import Semantic, SemanticConfig

SCHEMA = {
    "lar": image3d_schema(
        voxels=("voxel", "energy_mev", "semantic", "fragment"),
        fragments=("fragment_id", "momentum_gev", "vertex"),
    )
}
AGAINST = {"energy_mev": [0, 1, 9], "momentum_gev": [0, 1, 2], "vertex_mm": [0, 900, 3000]}


def events():
    """Of 30, 0, 1 and 12 points; the last has no vertex, and class 7 has no name."""
    rng = np.random.default_rng(0)
    for i, n in enumerate((30, 0, 1, 12)):
        inputs = {"voxel": rng.integers(0, 768, (n, 3)), "energy_mev": rng.exponential(1.5, n)}
        voxels = {"semantic": rng.choice([0, 1, 3, 7], n), "fragment": rng.integers(-1, 3, n)}
        fragments = {
            "fragment_id": np.array([-1, 2, 0]),
            "momentum_gev": np.array([-1, 0.4, 1.3]),
            "vertex": np.full((3, 3), -1.0)
            if i == 3
            else np.array([[-1, -1, -1], [10, 20, 30], [-400, 0, 5]]),
        }
        yield Sample(
            event_id=i,
            parts={"lar": {"voxels": inputs}},
            labels={"lar": {"voxels": voxels, "fragments": fragments}},
        )


@pytest.mark.parametrize("options", [{}, {"balance": 0.5, "lovasz": 1.0, "against": AGAINST, "width": 0}])
def test_contract(options):
    config = SemanticConfig.model_validate(options)
    head_contract(Semantic, config, schema=SCHEMA, samples=list(events()))


@pytest.mark.parametrize("name", list(AGAINST))
def test_figures_in_bins_are_those_of_their_points(name):
    """Against scikit-learn, on points that a loop puts into bins."""
    head = Semantic(SemanticConfig(against=AGAINST), schema=SCHEMA, d_in=lambda need, part: 4)
    batch = pack(list(events()), SCHEMA)
    rng = np.random.default_rng(1)
    truth = batch.labels["lar"]["voxels"].columns["semantic"]
    probability = rng.dirichlet(np.ones(5), len(truth)).astype(np.float32)
    call = probability.argmax(1).astype(np.int16)
    table = RaggedTable({"semantic": call, "probability": probability}, batch.labels["lar"]["voxels"].offsets)
    found = head.statistics({"lar": {"voxels": table}}, batch)
    figures = head.figures({key: values.sum(0) for key, values in found.items()})
    value = []
    for event in events():
        voxels, labels = event.parts["lar"]["voxels"], event.labels["lar"]
        momenta = dict(zip(*[labels["fragments"][c] for c in ("fragment_id", "momentum_gev")], strict=True))
        for voxel, energy, fragment in zip(*voxels.values(), labels["voxels"]["fragment"], strict=True):
            place = -1152 + 3 * (voxel + 0.5)
            away = [np.linalg.norm(place - v) for v in labels["fragments"]["vertex"] if (v != -1).any()]
            value.append(
                {
                    "energy_mev": energy,
                    "momentum_gev": momenta.get(fragment, np.nan),
                    "vertex_mm": min(away, default=np.nan),
                }[name]
            )
    low, high = AGAINST[name][:2]
    inside = (np.array(value) >= low) & (np.array(value) < high) & (truth < 5)
    assert 3 < inside.sum() < len(truth) - 3
    wanted = f1_score(truth[inside], call[inside], average="macro")
    assert figures[f"macro_f1/{name}/{low}-{high}"] == pytest.approx(wanted)


def test_what_the_data_does_not_tell_is_refused():
    with pytest.raises(DataError, match="does not tell 'momentum'"):
        Semantic(SemanticConfig(against={"momentum": [0, 1]}), schema=SCHEMA, d_in=lambda need, part: 4)


def test_lovasz_is_the_overlap_lost_where_predictions_are_sure():
    """Of predictions of 0 and 1 it is one less the Jaccard index, the mean over classes that are there."""
    rng = np.random.default_rng(2)
    truth, call = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    truth[:20] = -1
    offsets = [0, 80, 80, 200]
    wanted = 0.0
    for first, last in ((0, 80), (80, 200)):
        t, c = truth[first:last], call[first:last]
        t, c = t[t >= 0], c[t >= 0]
        wanted += np.mean([1 - ((t == k) & (c == k)).sum() / ((t == k) | (c == k)).sum() for k in range(3)])
    sure = torch.nn.functional.one_hot(torch.from_numpy(call), 4).double()
    found = lovasz_softmax(sure, torch.from_numpy(truth), torch.tensor(offsets))
    assert found.item() == pytest.approx(wanted)
    unsure = lovasz_softmax(0.7 * sure + 0.075, torch.from_numpy(truth), torch.tensor(offsets))
    assert 0 < unsure.item() != pytest.approx(wanted)
