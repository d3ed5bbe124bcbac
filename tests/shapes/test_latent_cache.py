"""Clips are encoded once, and again only when their data change."""

import pytest
import torch

from imap.backbones import backbone_of
from imap.shapes.models import RECIPES
from imap.shapes.training import latent_cache as latent_cache_module
from imap.shapes.training.latent_cache import latent_cache

CLIP = (9, 32, 32)
SHARD = 8


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(latent_cache_module, "SHARD", SHARD)


def test_a_latent_cache_is_encoded_once_and_has_its_scenes(tmp_path):
    backbone = backbone_of(RECIPES["cogvideox"].build(0))
    first = latent_cache(backbone, tmp_path, SHARD + 5, CLIP, 0, {"vae": "a"}, "cpu")
    assert first.latents.shape == (SHARD + 5, 3, 8, 4, 4) and first.cover.shape == (SHARD + 5, 3, 4, 4)
    assert len(first.scenes) == SHARD + 5 and 0 < first.cover.mean() < 0.5
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = latent_cache(backbone, tmp_path, SHARD, CLIP, 0, {"vae": "a"}, "cpu")
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert torch.equal(again.latents, first.latents[:SHARD]) and again.scenes == first.scenes[:SHARD]
    other = latent_cache(backbone, tmp_path / "other", 5, CLIP, 1, {"vae": "a"}, "cpu")
    assert other.scenes != first.scenes[:5]
    latent_cache(backbone, tmp_path, SHARD, CLIP, 0, {"vae": "b"}, "cpu")
    changed = {path.name for path in tmp_path.iterdir() if times.get(path.name) != path.stat().st_mtime_ns}
    assert changed == {"00000.safetensors", "other"}  # the second shard was not read
