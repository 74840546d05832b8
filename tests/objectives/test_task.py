"""The objective ``task``: a head that learns from labels, within the training's contracts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from hepfm.api import RaggedTable, Sample
from hepfm.data.tensors import to_torch
from hepfm.errors import DataError, PluginError, RecipeError
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.task import Task, TaskConfig
from hepfm.objectives.units import augmented
from hepfm.random import Draws
from hepfm.readers.pack import pack
from hepfm.testing import objective_contract
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

SCHEMA = image3d_schema(voxels=("voxel", "energy_mev", "semantic"), grid=(24, 24, 24))
CONFIG = TaskConfig.model_validate({"head": {"name": "semantic"}})


def modalities():
    return {"image3d": Image3D(Image3DConfig(voxel_width=8, point_width=16), SCHEMA)}


def backbone():
    return Transformer(TransformerConfig(d_model=32, n_layers=2, n_heads=2), n_positions=3)


def samples(count):
    """Walks of high energies (class 1) and low ones (class 0); some voxels of a class without a name."""
    rng = np.random.default_rng(2)
    for event_id in range(count):
        n = int(rng.integers(20, 50))
        voxel = (rng.integers(-1, 2, (n, 3)).cumsum(0) + 12).clip(0, 23).astype("u2")
        semantic = rng.integers(0, 2, n).astype("i1")
        energy = (0.3 + 2.0 * semantic).astype("f4")
        semantic[:: 7 + event_id] = 9
        yield Sample(
            event_id=event_id,
            parts={"image3d": {"voxels": {"voxel": voxel, "energy_mev": energy}}},
            labels={"image3d": {"voxels": {"semantic": semantic}}},
        )


def test_it_is_an_objective():
    torch.manual_seed(0)
    objective_contract(Task, CONFIG, modalities=modalities(), backbone=backbone(), samples=list(samples(4)))


def test_a_head_learns_and_its_figures_are_those_of_scikit_learn():
    torch.manual_seed(0)
    parts = modalities()
    encoder, task = Encoder(parts, backbone()), Task(CONFIG, modalities=parts, d_model=32)
    batch = to_torch(pack(list(samples(6)), {"image3d": SCHEMA}))
    plan = task.plan(batch, Draws(seed=1, epoch=0, event_ids=batch.event_ids), augment=False)
    optimiser = torch.optim.Adam([*encoder.parameters(), *task.parameters()], lr=3e-3)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = task(encoder, plan)["class"] / plan.counts["class"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    encoder.eval(), task.eval()
    with torch.no_grad():
        task(encoder, plan)
        task(encoder, plan)  # of twice the events, the figures are the same
        found = task.head.predict(task.prediction(encoder, batch, plan.payload.units))["image3d"]["voxels"]
    truth = batch.labels["image3d"]["voxels"].columns["semantic"].numpy()
    known, called = truth < 5, found.columns["semantic"].numpy()
    assert plan.counts == {"class": known.sum()}
    assert task.figures()["macro_f1"] == pytest.approx(f1_score(truth[known], called[known], average="macro"))


def test_inputs_and_labels_are_varied_alike():
    """Energies say the class, before and after: voxels move with their labels, and rows keep their order."""
    batch = to_torch(pack(list(samples(5)), {"image3d": SCHEMA}))
    varied = augmented(batch, modalities(), Draws(seed=3, epoch=1, event_ids=batch.event_ids))
    inputs, labels = (half["image3d"]["voxels"] for half in (varied.parts, varied.labels))
    assert list(inputs.columns) == ["voxel", "energy_mev"]
    assert list(labels.columns) == ["semantic"]
    assert not torch.equal(inputs.columns["voxel"], batch.parts["image3d"]["voxels"].columns["voxel"].long())
    before = batch.labels["image3d"]["voxels"].columns["semantic"]
    assert torch.equal(labels.columns["semantic"], before)
    known = before < 5
    assert torch.equal((inputs.columns["energy_mev"] > 1)[known], (before == 1)[known])


def test_what_cannot_be_learned_is_refused():
    bare = Image3D(Image3DConfig(), image3d_schema(voxels=("voxel", "energy_mev"), grid=(24, 24, 24)))
    with pytest.raises(DataError, match="no labels 'semantic'"):
        Task(CONFIG, modalities={"image3d": bare}, d_model=32)


@pytest.mark.parametrize(
    ("head", "error"),
    [({"name": "semantik"}, PluginError), ({"name": "semantic", "widht": 3}, RecipeError)],
)
def test_a_wrong_name_is_told(head, error):
    config = TaskConfig.model_validate({"head": head})
    with pytest.raises(error, match=r"semantik|widht"):
        Task(config, modalities=modalities(), d_model=32)


def test_a_table_of_labels_alone_is_varied_too():
    """What has no inputs beside it comes back as it was, under its own name."""
    table = RaggedTable({"interaction_id": torch.arange(3)}, torch.tensor([0, 1, 3]))
    batch = to_torch(pack(list(samples(2)), {"image3d": SCHEMA}))
    batch.labels["image3d"]["interactions"] = table
    varied = augmented(batch, modalities(), Draws(seed=3, epoch=1, event_ids=batch.event_ids))
    assert torch.equal(varied.labels["image3d"]["interactions"].columns["interaction_id"], torch.arange(3))


def test_a_head_is_told_of_training_events_and_keeps_that_with_its_weights():
    """The classes' frequencies, as sums that ranks add up."""
    config = TaskConfig.model_validate({"head": {"name": "semantic", "balance": 1.0}})
    task = Task(config, modalities=modalities(), d_model=32)
    batch = to_torch(pack(list(samples(6)), {"image3d": SCHEMA}))
    task.observe(task.plan(batch, Draws(seed=1, epoch=0, event_ids=batch.event_ids), augment=False))
    truth = batch.labels["image3d"]["voxels"].columns["semantic"]
    (rows,) = task.marginals()
    assert rows.tolist() == [(truth == k).sum().item() for k in range(5)]
    other = Task(config, modalities=modalities(), d_model=32)
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.marginals()[0], rows)
    assert Task(CONFIG, modalities=modalities(), d_model=32).marginals() == []
