"""The class of an event: the contract, and a toy whose best answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from hepfm.api import ClassName, Features, RaggedTable, Sample
from hepfm.data.tensors import map_arrays, to_torch
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.testing import head_contract
from hepfm_image3d.schema import image3d_schema
from hepfm_tasks.balance import ClassWeights
from hepfm_tasks.event_class import EventClass, EventClassConfig

SCHEMA = {"lar": image3d_schema(voxels=("voxel", "energy_mev"), fragments=("pid", "momentum_gev"))}


def event(i, pid, momentum=None):
    voxels = {"voxel": np.full((2, 3), i % 50), "energy_mev": np.ones(2)}
    fragments = {"pid": pid, "momentum_gev": np.arange(len(pid)) if momentum is None else momentum}
    return Sample(event_id=i, parts={"lar": {"voxels": voxels}}, labels={"lar": {"fragments": fragments}})


@pytest.mark.parametrize(
    "options",
    [{}, {"take": "largest", "by": "momentum_gev", "only": {"pid": [0, 1, 4]}}, {"width": 0, "balance": 1.0}],
)
def test_contract(options):
    """Some events have no known class, and most classes are never there."""
    pids = [[-1, 0, 2], [4, 1], [-1], [], [1, 3, 0]]
    config = EventClassConfig.model_validate({"label": "pid", **options})
    head_contract(EventClass, config, schema=SCHEMA, samples=[event(i, p) for i, p in enumerate(pids)])


def test_classes_may_be_pdg_codes():
    schema = SCHEMA["lar"]
    pid = replace(schema.tables["fragments"]["pid"], dtype="int32")
    tables = {**schema.tables, "fragments": {**schema.tables["fragments"], "pid": pid}}
    names = (ClassName(value=2212, name="p"), ClassName(value=1000180400, name="Ar40"))
    schema = {"lar": replace(schema, tables=tables, vocabularies={**schema.vocabularies, "pid": names})}
    head = EventClass(EventClassConfig(), schema=schema, d_in=lambda need, part: 4)
    found = head.predict(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))["lar"]["event"]["pid"].values
    assert (found.tolist(), str(found.dtype)) == ([2212, 1000180400], "torch.int32")
    assert head.predictions["lar"].tables["event"]["pid"].dtype == "int32"


def test_it_learns_what_can_be_known():
    """Two normal distributions apart by 2 sigma: accuracy Phi(1), area Phi(sqrt 2), and calibrated."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 2, (4000,), generator=generator)
    x = torch.randn(4000, 4, generator=generator)
    x[:, 0] += 2.0 * truth - 1
    batch = to_torch(pack([event(i, [t]) for i, t in enumerate(truth.tolist())], SCHEMA))
    torch.manual_seed(0)
    head = EventClass(
        EventClassConfig(only={"pid": [0, 1]}, width=0), schema=SCHEMA, d_in=lambda need, part: 4
    )
    head.network[0] = torch.nn.Identity()  # a norm over so few features would take some of the truth away
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    features = Features(pooled=x, events=4000)
    for _ in range(150):
        optimiser.zero_grad()
        loss = head.loss(head(features), batch)["class"] / head.counts(batch)["class"]
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        tables = {
            p: {n: as_numpy(t) for n, t in ts.items()} for p, ts in head.predict(head(features)).items()
        }
    sums = {n: v.sum(0) for n, v in head.statistics(tables, map_arrays(batch, torch.Tensor.numpy)).items()}
    figures = head.figures(sums)
    assert figures["accuracy"] == pytest.approx(norm.cdf(1), abs=0.015)
    assert figures["auc/electron"] == pytest.approx(norm.cdf(math.sqrt(2)), abs=0.012)
    assert figures["calibration_error"] < 0.03
    assert not any("muon" in name for name in figures)


def as_numpy(table):
    return RaggedTable({n: v.numpy() for n, v in table.columns.items()}, table.offsets.numpy())


def test_weights_of_classes_make_them_alike_and_keep_the_scale():
    weights = ClassWeights(3, 1.0)
    index = torch.tensor([0] * 90 + [1] * 10 + [-1] * 7)
    weights.observe(index)
    found = weights.weights()
    assert (90 * found[0]).item() == pytest.approx((10 * found[1]).item())
    assert ((90 * found[0] + 10 * found[1]) / 100).item() == pytest.approx(1)
    assert found[2].isfinite()
    alike = torch.zeros(len(index), 3)  # one third for each: the weighted loss is what no weights give
    assert weights.cross_entropy(alike, index).item() == pytest.approx(100 * math.log(3), rel=1e-5)
    assert torch.equal(ClassWeights(3, 0.5).weights(), torch.ones(3))  # nothing observed


def test_one_class_is_nothing_to_tell_apart():
    with pytest.raises(DataError, match="1 classes are left"):
        EventClass(EventClassConfig(only={"pid": [2]}), schema=SCHEMA, d_in=lambda need, part: 4)
