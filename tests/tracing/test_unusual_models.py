"""Pipelines of unusual parts and sizes: read right, noted, or refused."""

import numpy as np
import pytest
import torch
from diffusers import CogVideoXTransformer3DModel, DiffusionPipeline, WanTransformer3DModel

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import FAMILIES, PROMPT

WORDS = {"concepts": ["ball"], "motions": ["rolls"]}


def with_transformer(family, kind, **changed):
    """A tiny pipeline whose transformer has another configuration."""
    pipe = tiny.build(family)
    pipe.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    own = {key: x for key, x in pipe.transformer.config.items() if not key.startswith("_")}
    pipe.register_modules(transformer=kind(**own | changed).eval())
    return pipe


@pytest.mark.parametrize("family", FAMILIES)
def test_one_patch_per_frame_is_noted(pipes, family):
    size = {"height": 16, "width": 16, "num_frames": 9, "num_inference_steps": 1, "output_type": "latent"}
    with imap.trace(pipes(family), PROMPT, **WORDS) as trace:
        pipes(family)(prompt=PROMPT, **size)
    maps = trace.maps()
    assert not maps.imap.any() and not maps.gramcol.any() and maps.video_col.any()
    assert any(note.startswith("one patch per frame: IMAP and GramCol") for note in maps.facts["notes"])


@pytest.mark.parametrize(("frames", "grid"), [(13, 2), (17, 3)])
def test_patches_of_two_latent_frames_fit_their_video(frames, grid):
    pipe = with_transformer(
        "cogvideox", CogVideoXTransformer3DModel, patch_size_t=2, patch_bias=False, sample_frames=49
    )
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        video = pipe(
            prompt=PROMPT, height=32, width=48, num_frames=frames, num_inference_steps=1, output_type="np"
        ).frames[0]
    maps, made = trace.maps(), 16 if frames == 13 else frames  # the VAE decodes 4 latent frames to 4 frames each
    assert len(video) == made and maps.imap.shape[1] == grid
    assert maps.facts["grid"]["latent_frames_per_patch"] == 2
    shown = maps.overlay("ball", np.zeros_like(video), space="nearest", normalization="frame")
    changes = [i for i in range(1, made) if (shown[i] != shown[i - 1]).any()]
    assert changes == ([8] if frames == 13 else [1, 9])  # of latent frames 0 1 | 2 3, and of padding 0 | 1 2 | 3 4


def test_image_tokens_without_projections_of_their_own_are_refused():
    pipe = with_transformer("wan", WanTransformer3DModel, image_dim=8)
    with pytest.raises(imap.ImapError, match="mixes image keys into the text's"), imap.trace(pipe, PROMPT, **WORDS):
        pass


def test_a_pipeline_that_no_family_reads_is_refused_with_the_reason():
    model = type("LatteTransformer3DModel", (), {"config": {}})()
    pipe = type("LattePipeline", (), {"transformer": model, "config": {}})()
    with pytest.raises(imap.ImapError, match="^cannot trace a pipeline of class LattePipeline: its batch holds frames"):
        imap.trace(pipe, PROMPT, concepts=["ball"])


def test_a_pipeline_without_its_transformer_is_named_for_what_it_is():
    pipe = tiny.build("wan")
    pipe.register_modules(transformer=None)
    with pytest.raises(imap.ImapError, match="this WanPipeline: it has no transformer; load the pipeline with it"):
        backbone_of(pipe)
    pipe.transformer_2 = object()
    with pytest.raises(imap.ImapError, match="only the second one of two"):
        backbone_of(pipe)
    with pytest.raises(imap.ImapError, match="it has no transformer.*expected one of .*CogVideoXPipeline"):
        backbone_of(DiffusionPipeline())
