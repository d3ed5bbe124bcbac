"""The VAE's loss terms and the normalization of its latents."""

import pytest
import torch

from imap.backbones import backbone_of
from imap.shapes.models import RECIPES
from imap.shapes.training.autoencoder import anchors, kl
from imap.shapes.training.run import set_statistics
from imap.shapes.world.drawing import draw, to_video
from imap.shapes.world.scenes import scenes

CLIP = (9, 32, 32)


def test_kl_agrees_with_torchs():
    mean, logvar = torch.randn(50), torch.randn(50)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(torch.zeros(50), torch.ones(50)))
    assert kl(mean, logvar) == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_the_transformer_gets_latents_of_deviation_one(family, monkeypatch):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    set_statistics(recipe, pipe, CLIP, count=32)
    pipe = type(pipe)(**pipe.components)
    video = to_video(draw(list(scenes(1, 16)), *CLIP).frames)
    posterior = type(pipe.vae.encode(video[:1]).latent_dist)
    monkeypatch.setattr(posterior, "sample", lambda self, generator=None: self.mode())  # untrained: mostly noise
    latents = backbone_of(pipe).encode_clip(video, torch.Generator())
    channels = latents.transpose(0, backbone_of(pipe).channel_axis).flatten(1)
    if family == "wan":  # a mean and a deviation for each channel
        assert channels.mean(dim=1).abs().max() < 0.3
        assert channels.std(dim=1).tolist() == pytest.approx([1.0] * 8, rel=0.3)
    else:
        assert channels.var(dim=1).mean().sqrt().item() == pytest.approx(1, rel=0.2)


def test_anchors_are_linear_in_the_colours_of_their_cell():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(1, 3, 9, 16, 24, generator=generator) * 2 - 1 for _ in range(2))
    shape = (1, 8, 3, 2, 3)
    a, b = anchors(one, shape), anchors(other, shape)
    assert a.shape == shape
    torch.testing.assert_close(anchors((one + other) / 2, shape), (a + b) / 2, atol=1e-5, rtol=1e-5)
    later = one.clone()
    later[:, :, 1:5] = other[:, :, 1:5]  # the second latent frame, and the upper left cell
    later[:, :, 5:, :8, :8] = other[:, :, 5:, :8, :8]
    moved = (anchors(later, shape) - a).abs().amax(dim=1)[0] > 1e-4
    assert not moved[0].any() and moved[1].all()
    assert moved[2].tolist() == [[True, False, False], [False, False, False]]
    # a mean over time, and within a quarter of a cell
    swapped = one.clone()
    swapped[:, :, 1:5] = swapped[:, :, 1:5].flip(2)
    swapped[:, :, :, :4, :4] = swapped[:, :, :, :4, :4].flip(3, 4)
    torch.testing.assert_close(anchors(swapped, shape), a, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="13 channels; at most 12"):
        anchors(one, (1, 13, 3, 2, 3))
