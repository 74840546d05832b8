"""Low-rank adaptation of a backbone, compared with plain layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hepfm.api import Tokens
from hepfm.errors import RecipeError
from hepfm.nn.lora import LoraLinear, add_lora, merge_lora
from hepfm.nn.ssm import Ssm, SsmConfig
from hepfm.nn.transformer import Transformer, TransformerConfig


def backbone(kind="transformer"):
    torch.manual_seed(1)
    if kind == "ssm":
        return Ssm(SsmConfig(d_model=16, n_layers=2, n_heads=2, d_state=8), n_positions=3)
    return Transformer(TransformerConfig(d_model=24, n_layers=2, n_heads=2), n_positions=3)


def encoded(model):
    generator = torch.Generator().manual_seed(2)
    x, positions = (torch.randn(11, width, generator=generator) for width in (model.d_model, 3))
    offsets, dtype = torch.tensor([0, 4, 4, 11]), next(model.parameters()).dtype
    tokens = Tokens(
        x=x.to(dtype), positions=positions, offsets=offsets, part=torch.zeros(11, dtype=torch.int64)
    )
    return model(tokens).x


def adapted_layers(model):
    return {name for name, layer in model.named_modules() if isinstance(layer, LoraLinear)}


@pytest.mark.parametrize("kind", ["transformer", "ssm"])
def test_before_the_first_step_it_is_the_model_that_it_adapts(kind):
    plain, adapted = backbone(kind), backbone(kind)
    add_lora(adapted, rank=4, alpha=8, matrices=[], seed=3)
    assert torch.equal(encoded(plain), encoded(adapted))
    assert len(adapted_layers(adapted)) == (8 if kind == "transformer" else 9)
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {f"{at}.lora_{x}" for at in adapted_layers(adapted) for x in "ab"}


def test_at_full_rank_it_reproduces_any_change_of_its_layers():
    """The factors of a change by singular values, put into A and B, give what the changed layers give."""
    changed, adapted = backbone().double(), backbone().double()
    add_lora(adapted, rank=1000, alpha=5, matrices=[], seed=3)
    generator = torch.Generator().manual_seed(4)
    for name in adapted_layers(adapted):
        ours, theirs = adapted.get_submodule(name), changed.get_submodule(name)
        change = torch.randn(theirs.weight.shape, generator=generator, dtype=torch.float64) / 10
        u, s, v = torch.linalg.svd(change, full_matrices=False)
        assert ours.lora_a.shape == v.shape
        with torch.no_grad():
            theirs.weight += change
            ours.lora_a.copy_(v)
            ours.lora_b.copy_(u * s * len(s) / 5)
    torch.testing.assert_close(encoded(adapted), encoded(changed), rtol=1e-11, atol=1e-11)
    merged = merge_lora(adapted.state_dict(), alpha=5)
    assert merged.keys() == changed.state_dict().keys()
    for name, value in changed.state_dict().items():
        torch.testing.assert_close(merged[name], value, rtol=1e-12, atol=1e-12)


def test_merged_it_is_a_plain_model_with_the_same_output():
    adapted, plain = backbone(), backbone()
    add_lora(adapted, rank=3, alpha=7, matrices=["mlp"], seed=3)
    assert adapted_layers(adapted) == {f"blocks.{i}.mlp.{j}" for i in (0, 1) for j in (0, 2)}
    torch.manual_seed(5)
    for name in adapted_layers(adapted):
        nn.init.normal_(adapted.get_submodule(name).lora_b)
    plain.load_state_dict(merge_lora(adapted.state_dict(), alpha=7))
    assert (encoded(plain) - encoded(backbone())).abs().max() > 0.1
    torch.testing.assert_close(encoded(adapted), encoded(plain), rtol=1e-4, atol=1e-5)


def test_layers_are_named_and_those_of_another_kind_left_alone():
    with pytest.raises(RecipeError, match="no linear layers called qvk") as error:
        add_lora(backbone(), rank=2, alpha=1, matrices=["qvk", "mlp"], seed=1)
    assert error.value.fix == "did you mean 'qkv'?"
    attention = nn.MultiheadAttention(8, 2)  # reads the weights of its linear layer, and never calls it
    with pytest.raises(RecipeError, match="MultiheadAttention has no linear layers"):
        add_lora(attention, rank=2, alpha=1, matrices=[], seed=1)
