"""Adapters, caches, casting and training mode: right maps, or a refusal."""

import numpy as np
import pytest
import torch
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    PyramidAttentionBroadcastConfig,
    WanVideoToVideoPipeline,
    apply_faster_cache,
    apply_first_block_cache,
    apply_pyramid_attention_broadcast,
)
from peft import LoraConfig

import imap
from imap.testing import tiny
from tests.shared import FAMILIES, PROMPT
from tests.tracing.test_trace import WORDS, call

KEYS = ("imap", "cross_attention_maps", "video_col")


def build(family):
    pipe = tiny.build(family)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def traced(pipe, **given):
    with imap.trace(pipe, PROMPT, **WORDS, **given) as trace:
        call(pipe, steps=1)
    return trace.maps()


def add_adapter(pipe, name="one"):
    targets = ["to_q", "to_k", "to_v", "to_out.0", "add_k_proj"]
    pipe.transformer.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=targets), name)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_maps_of_an_adapter_are_those_of_its_fused_weights(family):
    torch.manual_seed(0)
    pipe = build(family)
    plain = traced(pipe)
    add_adapter(pipe)
    beside = traced(pipe)
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        pipe.transformer.set_adapters("one", 0.0)
        call(pipe, steps=1)
    scaled = trace.maps()
    pipe.transformer.set_adapters("one", 1.0)
    pipe.transformer.fuse_lora()
    fused = traced(pipe)
    for key in KEYS:
        size = np.abs(fused[key]).max()
        assert np.abs(beside[key] - fused[key]).max() < 1e-3 * size
        assert np.abs(scaled[key] - plain[key]).max() < 1e-3 * size
        assert np.abs(plain[key] - fused[key]).max() > 1e-2 * size


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", ["load", "unload"])
def test_adapters_loaded_or_unloaded_inside_the_block_are_refused(family, change):
    pipe = build(family)
    if change == "unload":
        add_adapter(pipe)
    with pytest.raises(imap.ImapError, match="were replaced inside"), imap.trace(pipe, PROMPT, **WORDS):
        pipe.transformer.unload_lora() if change == "unload" else add_adapter(pipe)
        call(pipe, steps=1)
    traced(pipe)


def broadcast(pipe):
    return PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 2000),
        current_timestep_callback=lambda: pipe.current_timestep,
    )


CACHES = {
    "pyramid": lambda pipe: apply_pyramid_attention_broadcast(pipe.transformer, broadcast(pipe)),
    "first block": lambda pipe: apply_first_block_cache(pipe.transformer, FirstBlockCacheConfig(threshold=10.0)),
    "faster": lambda pipe: apply_faster_cache(
        pipe.transformer, FasterCacheConfig(current_timestep_callback=lambda: pipe.current_timestep)
    ),
}


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("inside", [False, True])
def test_step_caches_put_on_by_a_function_are_refused(family, cache, inside):
    pipe = build(family)
    if inside:
        with pytest.raises(imap.ImapError, match="hook of diffusers"), imap.trace(pipe, PROMPT, **WORDS):
            CACHES[cache](pipe)
            call(pipe, steps=1)
    else:
        CACHES[cache](pipe)
        with pytest.raises(imap.ImapError, match="hook of diffusers"):
            imap.trace(pipe, PROMPT, **WORDS).__enter__()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_layerwise_casting_keeps_video_and_maps(family):
    plain, pipe = build(family), build(family)
    pipe.transformer.to(torch.bfloat16).to(torch.float32)
    plain.transformer.load_state_dict(pipe.transformer.state_dict())
    pipe.transformer.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    expected, untraced = traced(plain), call(pipe, steps=1)
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        video = call(pipe, steps=1)
    assert torch.equal(video, untraced)
    for key in KEYS:
        assert np.allclose(trace.maps()[key], expected[key], atol=1e-3 * np.abs(expected[key]).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_encoder_in_training_mode_draws_the_same_numbers(family):
    pipe = build(family)
    pipe.text_encoder.train()
    videos, states = [], []
    for is_traced in (False, True):
        torch.manual_seed(0)
        if is_traced:
            with imap.trace(pipe, **WORDS):
                videos.append(call(pipe, steps=1))
        else:
            videos.append(call(pipe, steps=1))
        states.append(torch.get_rng_state())
    assert torch.equal(*videos) and torch.equal(*states)
    assert all(part.training for part in pipe.text_encoder.modules())


def test_a_transformer_with_dropout_in_training_mode_is_refused():
    pipe = build("wan")
    pipe.transformer.train()
    traced(pipe)  # without dropout, the mode changes nothing
    dropout = next(part for part in pipe.transformer.modules() if isinstance(part, torch.nn.Dropout))
    dropout.p = 0.1
    with pytest.raises(imap.ImapError, match=r"transformer\.eval\(\)"):
        traced(pipe)


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_map():
    pipe = build("wan")
    expected = traced(pipe)
    pipe.transformer.enable_gradient_checkpointing()
    pipe.transformer.train()
    assert all(np.array_equal(traced(pipe)[key], expected[key]) for key in KEYS)


def test_renoising_refuses_pipelines_that_it_cannot_call():
    pipe = build("wan")
    words = {**WORDS, "prompt": PROMPT, "latents": torch.zeros(1, 16, 3, 4, 6)}
    with pytest.raises(imap.ImapError, match=r"use WanPipeline\.from_pipe\(pipe\)"):
        imap.renoise(WanVideoToVideoPipeline.from_pipe(pipe), **words)
    pipe.vae_scale_factor_spatial = 16
    with pytest.raises(imap.ImapError, match="divides by 16 and 4"):
        imap.renoise(pipe, **words)
