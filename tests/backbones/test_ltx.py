"""LTX-Video from a picture and with conditions: where the picture is, and which tokens are the video's."""

import numpy as np
import pytest
import torch
from PIL import Image

import imap
from imap.backbones import backbone_of
from imap.backbones.features import Grid
from tests.shared import PROMPT, sizes_of
from tests.tracing.test_trace import WORDS, call

SIZE = sizes_of("ltx")
RED, BLUE = (Image.new("RGB", (96, 64), color) for color in ("red", "blue"))


def recorded(pipe, run):
    """Latents and timesteps of the conditional row of each transformer call."""
    seen = []
    keep = lambda module, args, kwargs: seen.append((kwargs["hidden_states"][-1], kwargs["timestep"][-1]))  # noqa: E731
    handle = pipe.transformer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize("from_a_clip", [False, True])
def test_a_renoised_clip_starts_from_its_picture_without_noise(pipes, from_a_clip):
    pipe = pipes("ltx_i2v")
    backbone = backbone_of(pipe)
    pixels = np.random.default_rng(0).integers(0, 255, (17, 64, 96, 3), dtype=np.uint8)
    latents = torch.randn(backbone.latent_shape(17, 64, 96), generator=torch.Generator().manual_seed(0))
    source = {"clip": pixels} if from_a_clip else {"latents": latents, "image": RED}
    settings = {"prompt": PROMPT, **WORDS, "num_inference_steps": 4, "renoise_timestep": [1, 2], "seed": 5}
    seen = recorded(pipe, lambda: imap.renoise(pipe, **source, **settings))
    frame = pixels[0] if from_a_clip else np.asarray(RED)
    video = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None, :, None] / 127.5 - 1
    sample = pipe.vae.encode(video).latent_dist.sample(torch.Generator().manual_seed(5))
    expected = pipe._normalize_latents(sample, pipe.vae.latents_mean, pipe.vae.latents_std)[0, :, 0].flatten(1).T
    for given, timestep in seen:
        torch.testing.assert_close(given[:6], expected, atol=1e-5, rtol=1e-5)  # 2 x 3 tokens
        assert (timestep[:6] == 0).all() and (timestep[6:] > 0).all()


def test_the_stock_pipeline_puts_the_same_picture_into_its_latents(pipes):
    pipe = pipes("ltx_i2v")
    pipe_call = {"prompt": PROMPT, "image": RED, **SIZE, "num_inference_steps": 2, "guidance_scale": 1.0}
    stock = recorded(pipe, lambda: pipe(**pipe_call, generator=torch.Generator().manual_seed(5), output_type="latent"))
    clean = torch.zeros(backbone_of(pipe).latent_shape(17, 64, 96))
    settings = {"prompt": PROMPT, **WORDS, "num_inference_steps": 4, "renoise_timestep": [2], "seed": 5}
    ours = recorded(pipe, lambda: imap.renoise(pipe, latents=clean, image=RED, **settings))
    torch.testing.assert_close(ours[0][0][:6], stock[0][0][:6], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("target", ["concepts", "prompt"])
@pytest.mark.parametrize(
    ("conditions", "extra"),
    [
        ({}, 0),
        ({"image": RED}, 0),
        ({"image": RED, "frame_index": 8}, 6),
        ({"image": [RED, BLUE], "video": [None, None], "frame_index": [16, 8], "strength": [1.0, 0.5]}, 12),
    ],
)
def test_tokens_of_conditions_are_no_part_of_the_maps(pipes, conditions, extra, target):
    pipe, tokens = pipes("ltx_condition"), []
    plain = call(pipe, **SIZE, **conditions)
    with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target=target) as trace:
        handle = pipe.transformer.register_forward_pre_hook(
            lambda module, args, kwargs: tokens.append(kwargs["hidden_states"].shape[1]), with_kwargs=True
        )
        assert torch.equal(plain, call(pipe, **SIZE, **conditions))
        handle.remove()
    assert trace.grid == Grid(3, 2, 3) and set(tokens) == {18 + extra}
    assert all(x.shape == (3, 3, 2, 3) and x.std() > 0 for x in trace.maps().values())


def test_the_effect_of_a_word_is_read_behind_the_tokens_of_conditions(pipes):
    pipe = pipes("ltx_condition")
    with imap.trace(pipe, PROMPT, **WORDS, effect=True) as trace:
        call(pipe, **SIZE, image=RED, frame_index=8, steps=4)
    assert trace.maps()["effect"].shape == (3, 3, 2, 3)


@pytest.mark.parametrize(("strength", "given"), [(1.0, True), (0.1, False)])
def test_the_effect_on_the_frames_of_a_condition_is_0_while_they_are_given(pipes, strength, given):
    pipe = pipes("ltx_condition")
    with imap.trace(pipe, PROMPT, **WORDS, effect=[3]) as trace:
        call(pipe, **SIZE, image=RED, strength=strength, steps=4)
    maps = trace.maps()
    assert maps["effect"][:, 1:].all() and maps["effect"][:, 0].any() != given
    assert any("latent frames [0] are given: they have less noise at the first step" in x for x in maps.facts["notes"])


@pytest.mark.parametrize(("strength", "is_fixed"), [(1.0, True), (0.1, False)])
def test_a_clip_that_covers_every_frame_is_traced(pipes, strength, is_fixed):
    pipe = pipes("ltx_condition")
    clip = {"video": [[RED, BLUE] * 8 + [RED]], "strength": strength, "steps": 4}
    plain = call(pipe, **SIZE, **clip)
    with imap.trace(pipe, PROMPT, **WORDS, effect=[3]) as trace:
        assert torch.equal(plain, call(pipe, **SIZE, **clip))
    maps = trace.maps()
    assert maps.imap.shape == (3, 3, 2, 3) and maps.imap.std() > 0
    assert maps["effect"].any() != is_fixed and (is_fixed or maps["effect"].all())
    assert any("latent frames [0, 1, 2] are given" in note for note in maps.facts["notes"])


def test_conditions_are_sampled_and_not_renoised(pipes):
    pipe = pipes("ltx_condition")
    latents = torch.zeros(backbone_of(pipe).latent_shape(17, 64, 96))
    with pytest.raises(
        imap.ImapError, match=r"LTXConditionPipeline: it adds noise to given latents by itself; use LTX"
    ):
        imap.renoise(pipe, latents=latents, prompt=PROMPT, **WORDS)
