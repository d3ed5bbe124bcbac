"""Muon orthogonalizes updates, agrees with torch's Muon, and trains only the blocks' matrices."""

import pytest
import torch
from torch import nn

from imap.shapes.models import RECIPES
from imap.shapes.training.denoiser import optimizers
from imap.shapes.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (12, 12)])
def test_muon_keeps_singular_vectors_and_equalizes_singular_values(shape):
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    lengths = torch.linspace(1, 0.1, 12, dtype=torch.float64)
    factors = u.mT @ orthogonal(7 * u @ lengths.diag() @ v) @ v.mT
    assert torch.allclose(factors, factors.diagonal().diag(), atol=1e-9)
    assert factors.diagonal().min() > 0.65 and factors.diagonal().max() < 1.25


def test_muon_agrees_with_torchs_up_to_rounding():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(20, 5)) for _ in range(2))
    mine = Muon([ours], lr=0.1, weight_decay=0.2)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(20, 5)
        mine.step()
        reference.step()
    assert (ours - theirs).abs().max() < 0.01 < (ours - 1).abs().mean()


@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_muon_trains_the_blocks_matrices_and_adamw_all_other_parameters(family):
    transformer = RECIPES[family].build(0).transformer
    names = {id(weight): name for name, weight in transformer.named_parameters()}
    muon, other = (
        {names[id(weight)] for group in optimizer.param_groups for weight in group["params"]}
        for optimizer in optimizers(transformer, 1.0, 1.0)
    )
    assert any("to_q" in name for name in muon) and any("ff" in name for name in muon)
    assert not any("norm" in name or "embed" in name for name in muon)
    trained = {name for name, x in transformer.named_parameters() if x.requires_grad}
    assert "proj_out.weight" in other and not muon & other and muon | other == trained
