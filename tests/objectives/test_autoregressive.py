"""Each unit is predicted from those before it alone; where events end is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Batch, RaggedTable
from hepfm.errors import RecipeError
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.autoregressive import Autoregressive, AutoregressiveConfig
from hepfm.random import Draws
from hepfm_structured.config import StructuredConfig
from hepfm_structured.modality import Structured
from hepfm_structured.schema import field, part_schema

SCHEMA = part_schema(
    {"pt": field("float32", "positive", unit="GeV"), "a": field("float32", "continuous", unit="GeV")},
    order="pt",
)


def make_model(parts=("jet",), **options):
    torch.manual_seed(0)
    modalities = {part: Structured(StructuredConfig(place=[], **options), SCHEMA) for part in parts}
    backbone = Transformer(TransformerConfig(d_model=32, n_layers=2, n_heads=2), n_positions=0)
    objective = Autoregressive(AutoregressiveConfig(), modalities=modalities, d_model=32)
    return Encoder(modalities, backbone, causal=True), objective


def jets(lengths, seed=0, parts=("jet",)):
    """Momenta fall by a factor of two from one to the next; ``a`` is the same in all of a jet."""
    tables = {}
    for k, part in enumerate(parts):
        rng = np.random.default_rng((seed, k))
        pt = [100.0 * rng.uniform(0.9, 1.1) * 0.5 ** np.arange(n) for n in lengths]
        a = [np.full(n, rng.uniform(-50, 50)) for n in lengths]
        columns = {"pt": np.concatenate([*pt, []]), "a": np.concatenate([*a, []])}
        offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
        tables[part] = {
            "particles": RaggedTable({c: torch.from_numpy(v).float() for c, v in columns.items()}, offsets)
        }
    n = torch.tensor(lengths)
    return Batch(event_ids=torch.arange(len(lengths)), cost=n, parts=tables)


def plan_of(objective, batch, epoch=0):
    return objective.plan(batch, Draws(seed=1, epoch=epoch, event_ids=batch.event_ids))


@pytest.mark.parametrize("parts", [("jet",), ("jet", "other")])
def test_a_unit_is_predicted_from_those_before_it(parts) -> None:
    """Gradients of each prediction reach the tokens before it, all of them, and no others."""
    encoder, objective = make_model(parts)
    encoder.eval(), objective.eval()
    batch = jets([4, 1, 3], parts=parts)
    plan = plan_of(objective, batch)
    seen = {}

    def keep(index):
        def hook(_module, _inputs, output):
            output[0].retain_grad()
            seen[index] = output[0]

        return hook

    for index, tokenizer in enumerate(encoder.tokenizers):
        tokenizer.register_forward_hook(keep(index))
    predictions, _ = objective._predict(encoder, plan)
    event = torch.tensor([0] * 4 + [1] + [2] * 3)
    for index, part in enumerate(parts):
        for unit in range(len(event)):
            for token in seen.values():
                token.grad = None
            predictions[part][unit].square().sum().backward(retain_graph=True)
            for other in range(len(parts)):
                reached = (seen[other].grad != 0).any(1) if seen[other].grad is not None else event < 0
                same = event == event[unit]
                before = torch.arange(len(event)) < unit
                wanted = same & before if other == index else same & torch.tensor(other < index)
                assert torch.equal(reached, wanted), (part, unit, parts[other])


def test_it_learns_what_follows_and_where_it_ends() -> None:
    """Jets of 5: each momentum follows from the one before, ``a`` from the first, and the end from the number."""
    encoder, objective = make_model()
    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    for step in range(150):
        plan = plan_of(objective, jets([5] * 32, seed=step))
        objective.observe(plan)
        sums = objective(encoder, plan)
        optimiser.zero_grad()
        sum(value / plan.counts[term] for term, value in sums.items()).backward()
        optimiser.step()
    plan = plan_of(objective, jets([5] * 200, seed=1000))
    with torch.no_grad():
        sums, baseline = objective(encoder, plan), objective.baseline(plan)
    assert sums["jet/is_last"] < 0.02 * baseline["jet/is_last"]
    assert sums["jet/pt"] < 0.5 * baseline["jet/pt"]
    # The first of five says nothing that could be known: what is left of `a` is a fifth of it, and some.
    assert sums["jet/a"] < 0.6 * baseline["jet/a"]
    share = float(baseline["jet/is_last"]) / plan.counts["jet/is_last"]
    assert share == pytest.approx(-(0.2 * np.log(0.2) + 0.8 * np.log(0.8)), rel=0.01)


def test_an_event_without_units_says_nothing() -> None:
    _, objective = make_model()
    with_empty, without = (plan_of(objective, jets(n, seed=2)) for n in ([0, 3, 0, 2], [3, 2]))
    assert with_empty.counts == without.counts == {"jet/pt": 5, "jet/a": 5, "jet/is_last": 5}


def test_a_display_shows_some_as_given() -> None:
    encoder, objective = make_model()
    batch = jets([9] * 40)
    shown = objective.reconstruct(encoder, plan_of(objective, batch))["jet"]
    given, rest = (getattr(shown, side)["particles"].lengths for side in ("visible", "hidden"))
    assert torch.equal(given + rest, torch.full((40,), 9))
    assert given.min() == 1
    assert given.max() == 8
    assert torch.equal(shown.predicted["particles"].lengths, rest)
    assert len(given.unique()) == 8
    later = objective.reconstruct(encoder, plan_of(objective, batch, epoch=1))["jet"]
    assert not torch.equal(later.visible["particles"].lengths, given)


def test_units_in_no_order_are_refused() -> None:
    modality = Structured(StructuredConfig(place=["a"]), SCHEMA)
    with pytest.raises(RecipeError, match="part 'jet' cannot be predicted one after the other"):
        Autoregressive(AutoregressiveConfig(), modalities={"jet": modality}, d_model=32)


def test_an_encoder_that_sees_all_is_not_taken() -> None:
    encoder, objective = make_model()
    encoder.causal = False
    with pytest.raises(AssertionError, match="sees what comes"):
        objective(encoder, plan_of(objective, jets([3])))
