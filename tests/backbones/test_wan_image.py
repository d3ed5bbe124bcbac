"""Wan from pictures: maps read attention to the text alone, and each call gets its pictures."""

from inspect import signature

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXFunControlPipeline,
    CogVideoXVideoToVideoPipeline,
    WanVideoToVideoPipeline,
)
from PIL import Image

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import PROMPT, pictures_for, sizes_of
from tests.tracing.test_trace import WORDS, call

SLOW = pytest.mark.slow
TEXT = 512


@pytest.mark.parametrize("family", ["wan_i2v", pytest.param("wan_flf2v", marks=SLOW)])
def test_head_outputs_are_those_of_the_text_and_not_the_sum(pipes, family, monkeypatch):
    pipe = pipes(family)
    plain, of_text, of_picture, seen = torch.nn.functional.scaled_dot_product_attention, [], [], []

    def spy(query, key, value, *args, **more):
        out = plain(query, key, value, *args, **more)
        if key.shape[-2] != query.shape[-2] and not reading:
            of_text.append((query, key, value)) if key.shape[-2] == TEXT else of_picture.append(out)
        return out

    def observe(layer, step, activations, slots, maps):
        seen.append((layer, activations.o.flatten(1, 2).clone()))

    reading = []
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    backbone = type(backbone_of(pipe))
    own = backbone.features

    def features(self, *args):
        reading.append(1)
        try:
            return own(self, *args)
        finally:
            reading.clear()

    monkeypatch.setattr(backbone, "features", features)
    with imap.trace(pipe, PROMPT, **WORDS, maps_timesteps=[0, 1], observe=observe):
        call(pipe, steps=1, guidance_scale=1.0)
    assert len(seen) == 4 and [layer for layer, _ in seen] == [0, 1, 2, 3]
    for (_, o), (q, k, v), picture in zip(seen, of_text, of_picture, strict=True):
        q, k, v = (x[-1].double() for x in (q, k, v))
        expected = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
        torch.testing.assert_close(o.double(), expected, rtol=1e-4, atol=1e-5)
        assert picture[-1].std() > 1e-2 * expected.std()  # what a sum would have added


@SLOW
@pytest.mark.parametrize("family", ["wan_i2v", "wan_flf2v", "wan2_2_i2v", "cogvideox_i2v"])
def test_another_picture_gives_other_maps_and_a_clip_gives_its_own_first_frame(pipes, family):
    pipe, size = pipes(family), sizes_of(family)
    clip = np.random.default_rng(0).integers(0, 255, (size["num_frames"], 32, 48, 3), dtype=np.uint8)
    chosen = {"prompt": PROMPT, "num_inference_steps": 4, "renoise_timestep": [2], **WORDS}
    own = imap.renoise(pipe, clip, **chosen).maps
    last = {"last_image": clip[-1]} if family == "wan_flf2v" else {}
    given = imap.renoise(pipe, clip, image=clip[0], **last, **chosen).maps
    other = imap.renoise(pipe, clip, image=clip[3], **last, **chosen).maps
    assert all(np.array_equal(own[key], given[key]) for key in own)
    assert not np.array_equal(own["imap"], other["imap"])
    assert own.facts["pictures"]["image"]["source"] == "the clip's first frame"
    assert given.facts["pictures"]["image"] == {"source": "given", "height": 32, "width": 48}


def test_pictures_that_a_pipeline_does_not_take_or_lacks_are_refused(pipes):
    latents = torch.zeros(1, 16, 3, 4, 6)
    with pytest.raises(imap.ImapError, match=r"image is set, and a WanPipeline takes no image: it makes videos from"):
        imap.renoise(pipes("wan"), latents=latents, prompt=PROMPT, image="a.png", **WORDS)
    with pytest.raises(imap.ImapError, match="makes videos from pictures: set image to a picture"):
        imap.renoise(pipes("wan_i2v"), latents=latents, prompt=PROMPT, **WORDS)
    with pytest.raises(imap.ImapError, match=r"last_image is set, .* it takes image;"):
        imap.renoise(pipes("wan_i2v"), latents=latents, prompt=PROMPT, image="a.png", last_image="b.png", **WORDS)


@SLOW
@pytest.mark.parametrize("family", ["wan_i2v", "wan_flf2v", "wan2_2_ti2v_i2v"])
def test_a_finished_video_is_read_with_its_pictures(pipes, family):
    pipe, size = pipes(family), sizes_of(family)
    trace = imap.trace(pipe, PROMPT, **WORDS)
    latents, schedule = call(pipe, steps=4, **size), {"num_inference_steps": 4, "renoise_timestep": [2]}
    pictures = pictures_for(pipe)
    maps = imap.read_after(trace, latents, **schedule, **pictures)
    expected = imap.renoise(pipe, latents=latents, prompt=PROMPT, seed=0, **WORDS, **schedule, **pictures).maps
    assert all(np.array_equal(maps[key], expected[key]) for key in expected)
    with pytest.raises(imap.ImapError, match="set image to a picture"):
        imap.read_after(trace, latents, **schedule)


@SLOW
@pytest.mark.parametrize("kind", [WanVideoToVideoPipeline, CogVideoXVideoToVideoPipeline, CogVideoXFunControlPipeline])
@pytest.mark.parametrize("target", ["prompt", "concepts"])
def test_a_pipeline_from_a_video_is_bit_identical_under_a_trace(kind, target):
    control = kind is CogVideoXFunControlPipeline
    family = {WanVideoToVideoPipeline: "wan", CogVideoXVideoToVideoPipeline: "cogvideox"}.get(kind, "cogvideox_i2v")
    parts = dict(tiny.build(family).components)
    parts = {name: part for name, part in parts.items() if name in signature(kind.__init__).parameters}
    if control:  # its stock call fails with the other scheduler
        parts["scheduler"] = CogVideoXDDIMScheduler()
    pipe = kind(**parts)
    pipe.set_progress_bar_config(disable=True)
    pixels = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
    frames = [Image.fromarray(frame) for frame in pixels]
    arguments = {"prompt": PROMPT, "height": 32, "width": 48, "num_inference_steps": 4, "output_type": "latent"}
    arguments |= {"control_video": frames} if control else {"video": frames, "strength": 0.5}

    def stock():
        return pipe(**arguments, generator=torch.Generator().manual_seed(7)).frames

    plain = stock()
    with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target=target) as trace:
        traced = stock()
    assert torch.equal(plain, traced)
    maps = trace.maps()
    assert maps["imap"].shape == (3, 3, 2, 3) and maps["imap"].std() > 0
    assert len(maps.facts["steps"]) == (4 if control else 2)


@pytest.mark.parametrize("family", ["wan_i2v", "skyreels_v2_i2v"])
def test_a_text_window_that_the_blocks_do_not_split_at_is_refused(pipes, family):
    pipe = pipes(family)
    with (
        pytest.raises(imap.ImapError, match=r"has 256 tokens, .* picture and text at 512; leave out max_sequence"),
        imap.trace(pipe, PROMPT, **WORDS),
    ):
        call(pipe, max_sequence_length=256)


@SLOW
def test_reference_pictures_of_vace_have_no_maps(pipes):
    pipe, pictures = pipes("wan_vace"), list(pictures_for(pipes("wan_i2v")).values())
    seen = []

    def observe(layer, step, activations, slots, maps):
        seen.append(activations.o.shape[1])

    plain = call(pipe, reference_images=pictures * 2)
    with imap.trace(pipe, PROMPT, **WORDS, effect=[0], observe=observe) as trace:
        assert torch.equal(call(pipe, reference_images=pictures * 2), plain)
    maps = trace.maps()
    assert plain.shape[2] == 5 and set(seen) == {3}  # latents of the pipeline begin with the references
    assert all(x.shape == (3, 3, 2, 3) and x.std() > 0 for x in maps.values())
    assert maps.facts["grid"]["frames"] == 3
    numbered = torch.arange(5).view(1, 1, 5, 1, 1)
    assert backbone_of(pipe).from_pipeline(numbered, trace.grid).flatten().tolist() == [2, 3, 4]


@SLOW
def test_each_index_is_read_with_the_same_picture(pipes):
    """CogVideoX draws the latents of its picture from the call's generator."""
    pipe, chosen = pipes("cogvideox_i2v"), {"prompt": PROMPT, "num_inference_steps": 4, "standardize": "none"}
    clip = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
    one, other, both = (
        imap.renoise(pipe, clip, renoise_timestep=indices, **chosen, **WORDS).maps["imap"]
        for indices in ([1], [2], [1, 2])
    )
    np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-4, atol=1e-4 * both.std())


@SLOW
@pytest.mark.parametrize("family", ["wan2_2_ti2v_i2v", "ltx_i2v", "hunyuanvideo_i2v"])
def test_the_effect_on_a_frame_that_is_the_picture_is_0_and_a_note_says_so(pipes, family):
    with imap.trace(pipes(family), PROMPT, **WORDS, effect=[1]) as trace:
        call(pipes(family), **sizes_of(family))
    maps = trace.maps()
    assert not maps["effect"][:, 0].any() and maps["effect"][:, 1:].all()
    assert any("the first latent frame is the picture" in note for note in maps.facts["notes"])
