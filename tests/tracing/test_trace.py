"""The trace leaves the pipeline alone: same bits, nothing behind, and a clear word where it cannot read."""

import gc
import weakref
from contextlib import nullcontext
from dataclasses import dataclass, field
from inspect import signature
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.attention_processor import CogVideoXAttnProcessor2_0
from torch.utils._python_dispatch import TorchDispatchMode

import imap
from imap.backbones import backbone_of
from imap.backbones.features import Grid
from imap.testing import tiny
from tests.shared import EVERY_FAMILY, FAMILIES, PROMPT, RENOISED, SIZES, TWO_CALLS, pictures_for, sizes_of

WORDS = {"concepts": ["ball", "small dog"], "motions": ["rolling"]}
TARGETS = ("concepts", "prompt")


def call(pipe, steps=2, **more):
    arguments = {**SIZES, "num_inference_steps": steps, "output_type": "latent", "prompt": PROMPT}
    # this pipeline's guidance needs it
    arguments |= {"negative_prompt": ""} if type(pipe).__name__ == "EasyAnimatePipeline" else {}
    arguments |= pictures_for(pipe) | more
    known, guided = signature(type(pipe).__call__).parameters, nullcontext()
    if "frames" in known:  # Sana-Video, which makes the size of its training if it may
        arguments |= {"frames": arguments["num_frames"], "use_resolution_binning": False}
    if "enable_temporal_reasoning" in known:  # ChronoEdit, which else makes 5 frames
        arguments = {"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 100} | arguments
    arguments = {name: x for name, x in arguments.items() if name in known or name not in SIZES}
    if hasattr(pipe, "guider") and "guidance_scale" in arguments:
        guided = backbone_of(pipe).guidance(arguments.pop("guidance_scale"), conditional_only=False)
    arguments.setdefault("generator", torch.Generator().manual_seed(7))
    with guided:
        frames = pipe(**arguments).frames
    return torch.cat(frames, dim=2) if isinstance(frames, list) and torch.is_tensor(frames[0]) else frames  # sections


def state_of(module):
    """Everything that a trace could leave: attributes, hooks, processors and forward methods of every module."""
    return {
        name: (
            {key: id(value) for key, value in vars(child).items() if "_hooks" not in key},
            {key: list(value) for key, value in vars(child).items() if "_hooks" in key},
            id(getattr(child, "processor", None)),
        )
        for name, child in module.named_modules()
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_sampling_is_bit_identical_and_leaves_nothing(pipes, family, target):
    pipe, size = pipes(family), sizes_of(family)
    plain = call(pipe, **size)  # first: the pipeline's own cache context marks the transformer
    before = state_of(pipe.transformer)
    with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target=target, prompt_tokens=True) as trace:
        traced = call(pipe, **size)
    assert torch.equal(plain, traced)
    assert state_of(pipe.transformer) == before
    assert torch.equal(plain, call(pipe, **size))
    maps = trace.maps()
    assert maps.texts == ("ball", "small dog", "rolling")
    assert all(x.shape == (3, 3, 2, 3) and x.dtype == np.float32 for x in maps.values())
    assert all(x.std() > 0 for x in maps.values())
    assert maps.facts["pixels"] == [size["height"], size["width"]]  # the size of masks
    frames = size["num_frames"] - (4 if family == "hunyuanvideo_i2v_33ch" else 0)  # which it leaves out
    assert family.startswith("cogvideox") or maps.mask("ball").shape == (frames, size["height"], size["width"])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("family", RENOISED)
def test_renoising_is_bit_identical_to_the_stock_pipeline_on_the_noised_clip(pipes, family, full):
    pipe, size = pipes(family), sizes_of(family)
    shape = backbone_of(pipe).latent_shape(size["num_frames"], size["height"], size["width"])
    clean = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    arguments = {"num_inference_steps": 4, "renoise_timestep": [2], "test_full_denoise": full, "guidance_scale": 6.0}
    call(pipe, steps=2, **size)
    before = state_of(pipe.transformer), set(vars(pipe.scheduler))
    arguments |= pictures_for(pipe)
    result = imap.renoise(pipe, latents=clean, prompt=PROMPT, **WORDS, **arguments)
    assert (state_of(pipe.transformer), set(vars(pipe.scheduler))) == before

    seen = []
    handles = [
        part.transformer.register_forward_hook(lambda module, args, output: seen.append(output[0].clone()))
        for part in backbone_of(pipe).parts
    ]
    untraced = renoise_without_trace(pipe, clean, **arguments)
    for handle in handles:
        handle.remove()
    assert len(seen) == (1 if not full else 2 * (2 if family.startswith(TWO_CALLS) else 1))
    if full:
        assert np.array_equal(result.frames, untraced)
    else:
        assert torch.equal(result.latents, untraced)


@dataclass
class NoMaps:
    facts: dict = field(default_factory=dict)


def renoise_without_trace(pipe, clean, **arguments):
    """The same job with no hook on the model: the trace's own installation is switched off."""
    from imap.tracing.trace import Trace

    install, maps = Trace._install, Trace.maps
    Trace._install, Trace.maps = lambda self: None, lambda self: NoMaps()
    try:
        result = imap.renoise(
            pipe,
            latents=clean,
            prompt=PROMPT,
            **WORDS,
            **arguments,
        )
    finally:
        Trace._install, Trace.maps = install, maps
    return result.frames if result.latents is None else result.latents


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exception_half_way_leaves_nothing(pipes, family):
    pipe = pipes(family)
    plain = call(pipe)  # first: the pipeline's own cache context marks the transformer
    before = state_of(pipe.transformer)

    def stop(pipe, step, timestep, tensors):
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"), imap.trace(pipe, PROMPT, **WORDS) as trace:
        call(pipe, callback_on_step_end=stop)
    assert state_of(pipe.transformer) == before
    assert torch.equal(plain, call(pipe))
    assert trace.maps().facts["steps"] == [0]  # what was read before the failure is there


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exception_inside_a_block_leaves_nothing(pipes, family):
    pipe = pipes(family)
    call(pipe, steps=1)
    before = state_of(pipe.transformer)

    def fail(module, args):
        raise RuntimeError("in the middle of a block")

    block = backbone_of(pipe).blocks[1]
    with pytest.raises(RuntimeError, match="middle"), imap.trace(pipe, PROMPT, **WORDS):
        handle = (block.ff if hasattr(block, "ff") else block.ffn).register_forward_pre_hook(fail)
        try:
            call(pipe)
        finally:
            handle.remove()
    assert state_of(pipe.transformer) == before


def test_maps_of_a_trace_know_nothing_of_the_step_that_was_interrupted(pipes):
    pipe = pipes("cogvideox")

    def stop_at_the_second(module, args):
        if len(trace.steps.read) == 1:
            raise RuntimeError("in the middle of a block")

    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        handle = backbone_of(pipe).blocks[2].ff.register_forward_pre_hook(stop_at_the_second)
        try:
            with pytest.raises(RuntimeError, match="middle"):
                call(pipe)
        finally:
            handle.remove()
    maps = trace.maps()
    assert maps.facts["steps"] == [0]
    for table in (maps.heads, maps.scores):
        assert {tuple(steps) for steps in table.values()} == {(0,)}


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_keep_no_reference_to_the_model(family):
    pipe = tiny.build(family)
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        call(pipe, steps=1)
    maps = trace.maps()
    transformer = weakref.ref(pipe.transformer)
    del pipe, trace
    gc.collect()
    assert transformer() is None
    assert maps.of("rolling").shape == (3, 2, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_only_changes_what_the_unconditional_half_does(pipes, family):
    """At the first step the latents are the same, so the conditional half is, and so are its maps."""
    pipe = pipes(family)
    seen = []
    scales = (1.0, 6.0) if family != "hunyuanvideo" else (6.0, 6.0)
    extra = [{}, {}] if family != "hunyuanvideo" else [{}, {"negative_prompt": "blurry", "true_cfg_scale": 3.0}]
    for scale, more in zip(scales, extra, strict=True):
        with imap.trace(pipe, PROMPT, **WORDS, maps_timesteps=[0, 1]) as trace:
            call(pipe, guidance_scale=scale, **more)
        seen.append(trace.maps())
    for key in seen[0]:
        scale = seen[0][key].std()
        # a batch of two may round otherwise than a batch of one
        assert np.abs(seen[0][key] - seen[1][key]).max() < (1e-3 if family == "cogvideox" else 1e-7) * scale + 1e-12
    assert seen[0].heads == seen[1].heads


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_weights_that_come_and_go_change_no_map(family):
    """As under sequential offload: inside a hook a module's own parameters are elsewhere."""
    pipe = tiny.build(family)
    seen = []
    for offloaded in (False, True):
        if offloaded:
            for part in backbone_of(pipe).parts:
                accelerate.cpu_offload(part.transformer, torch.device("cpu"), offload_buffers=True)
                assert next(part.transformer.parameters()).device.type == "meta"
        with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target="concepts") as trace:
            call(pipe, steps=3, **sizes_of(family))
        seen.append(trace.maps())
    for key in seen[0]:
        assert np.array_equal(seen[0][key], seen[1][key])


def held(x, seen=None):
    """Bytes of the tensors that an object of imap holds, however deep."""
    seen = set() if seen is None else seen
    if id(x) in seen or isinstance(x, torch.nn.Module):
        return 0
    seen.add(id(x))
    if isinstance(x, torch.Tensor):
        return x.numel() * x.element_size()
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, list | tuple | set) else ()
    if type(x).__module__.startswith("imap"):
        parts = vars(x).values()
    return sum(held(part, seen) for part in parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_of_a_trace_does_not_grow_with_steps(pipes, family):
    pipe = pipes(family)
    sizes = []
    for steps in (1, 6):
        with imap.trace(pipe, PROMPT, **WORDS) as trace:
            call(pipe, steps=steps)
        sizes.append(held(trace))
    backbone = backbone_of(pipe)
    score_and_choice = 2 * 4 * backbone.num_heads * backbone.num_layers  # bytes a step
    assert sizes[1] - sizes[0] == 5 * score_and_choice
    assert sizes[0] > 5 * score_and_choice  # the maps are among what was found


class Progress(TorchDispatchMode):
    """What hooks of a trace do to tensors: operations that wait for the device, and results of patches x patches."""

    def __init__(self, trace):
        super().__init__()
        self.trace, self.operations, self.waits, self.square = trace, set(), set(), set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        if self.trace.blocks._in_hook:
            name = operation.overloadpacket.__name__
            self.operations.add(name)
            if name in ("_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim"):
                self.waits.add(name)
            sizes = {self.trace.grid.patches, self.trace.grid.patches * self.trace.grid.frames}
            for x in found if isinstance(found, list | tuple) else [found]:
                if isinstance(x, torch.Tensor) and x.ndim > 1 and set(x.shape[-2:]) <= sizes:
                    self.square.add((name, tuple(x.shape)))
        return found


@pytest.mark.parametrize("target", ["concepts", "prompt"])
@pytest.mark.parametrize("score", ["CHI", "DBI", "Fisher"])
@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_wait_for_no_value_and_form_no_matrix_of_patches(pipes, family, score, target):
    pipe = pipes(family)
    method = {"imap_sep_score": score, "imap_qk_matching_target": target, "imap_sep_topk": 2}
    with imap.trace(pipe, PROMPT, **WORDS, **method) as trace, Progress(trace) as watch:
        call(pipe, steps=2, height=96, width=96)  # more patches than a head is wide
    assert {"bmm", "argmax", "gather"} <= watch.operations
    assert not watch.waits and not watch.square, (watch.waits, watch.square)


def test_the_trace_of_a_second_call_is_refused(pipes):
    pipe = pipes("cogvideox")
    with imap.trace(pipe, PROMPT, **WORDS):
        call(pipe, steps=1)
        with pytest.raises(imap.ImapError, match="new `with imap.trace"):
            call(pipe, steps=1)


def test_two_traces_at_once_are_refused(pipes):
    pipe = pipes("cogvideox")
    with (
        imap.trace(pipe, PROMPT, **WORDS),
        pytest.raises(imap.ImapError, match="already"),
        imap.trace(pipe, PROMPT, **WORDS),
    ):
        pass
    with imap.trace(pipe, PROMPT, **WORDS):  # and the refusal has not left the first one's mark
        call(pipe, steps=1)


def test_a_batch_of_prompts_is_refused(pipes):
    for family, guidance in (("cogvideox", 6.0), ("cogvideox", 1.0), ("wan", 1.0), ("hunyuanvideo", 1.0)):
        pipe = pipes(family)
        with (
            pytest.raises(imap.ImapError, match="one prompt and one video per call"),
            imap.trace(pipe, PROMPT, **WORDS),
        ):
            call(pipe, steps=1, prompt=[PROMPT, "another"], guidance_scale=guidance)


def test_steps_that_the_call_does_not_have_are_refused_at_its_first_step(pipes):
    with (
        pytest.raises(imap.ImapError, match="names step 4.*steps 0 to 1"),
        imap.trace(pipes("wan"), PROMPT, **WORDS, maps_timesteps=[0, 5]),
    ):
        call(pipes("wan"))


def test_maps_without_a_call_say_so(pipes):
    with pytest.raises(imap.ImapError, match="not called"), imap.trace(pipes("wan"), PROMPT, **WORDS) as trace:
        trace.maps()


def test_a_pipeline_of_no_known_family_is_refused():
    with pytest.raises(imap.ImapError, match="CogVideoXPipeline, .*HunyuanVideoPipeline, .*WanPipeline"):
        imap.trace(object(), concepts=["ball"])


def refused(pipe, match):
    with pytest.raises(imap.ImapError, match=match), imap.trace(pipe, PROMPT, **WORDS):
        pass


@pytest.mark.slow
def test_what_hooks_would_miss_is_refused_with_the_way_out():
    pipe = tiny.build("cogvideox")

    class Other(CogVideoXAttnProcessor2_0):
        pass

    pipe.transformer.fuse_qkv_projections()
    refused(pipe, r"unfuse_qkv_projections\(\)")
    pipe.transformer.unfuse_qkv_projections()  # the advice works
    with imap.trace(pipe, PROMPT, **WORDS):
        call(pipe, steps=1)
    pipe.transformer.set_attn_processor(Other())
    refused(pipe, r"not CogVideoXAttnProcessor2_0.*set_attn_processor")
    pipe.transformer.set_attn_processor(CogVideoXAttnProcessor2_0())

    pipe.transformer.enable_cache(FirstBlockCacheConfig())
    refused(pipe, r"disable_cache\(\)")
    pipe.transformer.disable_cache()

    whole = pipe.transformer
    pipe.transformer = torch.compile(whole)
    refused(pipe, "before torch.compile")
    pipe.transformer = whole
    whole.transformer_blocks[2].compile()
    refused(pipe, "before torch.compile")


def test_fused_wan_projections_are_refused():
    pipe = tiny.build("wan")
    for block in pipe.transformer.blocks:
        block.attn2.fuse_projections()
    refused(pipe, r"unfuse_projections\(\)")
    for block in pipe.transformer.blocks:
        block.attn2.unfuse_projections()
    with imap.trace(pipe, PROMPT, **WORDS):
        call(pipe, steps=1)


def test_a_cache_switched_on_inside_the_block_is_noticed():
    pipe = tiny.build("cogvideox")
    with pytest.raises(imap.ImapError, match="a step cache skips blocks"), imap.trace(pipe, PROMPT, **WORDS):
        pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e9))
        call(pipe, steps=3)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_come_with_the_transformers_own_forward_change_no_map(family):
    """As under model offload: in the transformer's pre-hook its weights are still elsewhere."""

    class Elsewhere(accelerate.hooks.ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            module.load_state_dict(self.weights, assign=True)
            return args, kwargs

    pipe = tiny.build(family)
    seen = []
    for offloaded in (False, True):
        if offloaded:
            hook = Elsewhere()
            hook.weights = pipe.transformer.state_dict()
            buffers = dict(pipe.transformer.named_buffers())
            accelerate.hooks.add_hook_to_module(pipe.transformer, hook)
            pipe.transformer.to("meta")
            for name, buffer in buffers.items():  # those that a state dict does not hold
                owner, _, leaf = name.rpartition(".")
                pipe.transformer.get_submodule(owner).register_buffer(leaf, buffer, persistent=False)
        with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target="concepts") as trace:
            call(pipe, steps=1)
        seen.append(trace.maps())
    for key in seen[0]:
        assert np.array_equal(seen[0][key], seen[1][key])


def test_one_latent_frame_is_refused(pipes):
    with pytest.raises(imap.ImapError, match="num_frames=5 or more"), imap.trace(pipes("wan"), PROMPT, **WORDS):
        call(pipes("wan"), steps=1, num_frames=1)


def test_saving_into_a_folder_of_other_files_is_refused(pipes, tmp_path):
    with imap.trace(pipes("wan"), PROMPT, **WORDS) as trace:
        call(pipes("wan"), steps=1)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(imap.ImapError, match="holds other files"):
        trace.maps().save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_without_a_prompt_words_get_keys_of_their_own(pipes):
    with imap.trace(pipes("wan"), concepts=["ball", "dog"]) as trace:
        call(pipes("wan"), steps=1)
    assert trace.maps().facts["method"]["imap_qk_matching_target"] == "concepts"


def test_autocast_leaves_the_statistics_in_float32(pipes):
    with torch.autocast("cpu", dtype=torch.bfloat16), imap.trace(pipes("cogvideox"), PROMPT, **WORDS) as trace:
        call(pipes("cogvideox"), steps=1)
    assert {x.dtype for x in trace.blocks.running.means().values()} == {torch.float32}


def test_nan_in_a_layer_is_told_with_its_place():
    pipe = tiny.build("wan")
    with torch.no_grad():
        pipe.transformer.blocks[2].attn2.to_v.weight.fill_(float("nan"))
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        call(pipe)
    with pytest.raises(imap.ImapError, match="not finite, first at step 0, layer 2"):
        trace.maps()


def test_standardize_falls_back_for_a_single_concept_and_records_it(pipes, caplog):
    with imap.trace(pipes("cogvideox"), concepts=["ball"]) as trace:
        call(pipes("cogvideox"), steps=1)
    maps = trace.maps()
    assert maps.facts["method"]["standardize"] == "none"
    assert "single concept" in caplog.text
    assert np.unique(np.abs(maps.of("ball"))).size > 2  # a sign map would have one magnitude


def test_inflected_words_are_found_in_the_prompt_and_others_get_keys_of_their_own(pipes):
    with imap.trace(pipes("wan"), PROMPT, concepts=["dog", "zebra"], motions=["rolling"]) as trace:
        call(pipes("wan"), steps=1)
    maps = trace.maps()
    read = maps.facts["read_from_prompt"]
    assert "".join(read["dog"]).strip("\u2581") == "dog"
    assert "".join(read["rolling"]).strip("\u2581") == "rolls"
    assert read["zebra"] == []
    assert any("zebra" in note for note in maps.facts["notes"])
    assert np.isfinite(maps.of("zebra")).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_another_prompt_than_the_traces_is_refused_and_a_negative_one_is_not(pipes, family):
    pipe = pipes(family)
    target = {"imap_qk_matching_target": "prompt"}
    with pytest.raises(imap.ImapError, match="another prompt"), imap.trace(pipe, PROMPT, **WORDS, **target):
        call(pipe, prompt="a green kite")
    negative = {"negative_prompt": "blurry"} | ({"true_cfg_scale": 2.0} if family == "hunyuanvideo" else {})
    with imap.trace(pipe, PROMPT, **WORDS, **target):
        call(pipe, steps=1, **negative)
    with imap.trace(pipe, PROMPT, **WORDS, **target):
        call(pipe, steps=1, prompt=None, **backbone_of(pipe).encode_prompt(PROMPT, ""))


def test_words_absent_from_the_prompt_do_not_move_the_others(pipes):
    seen = []
    for concepts in (["dog"], ["dog", "zebra"]):
        with imap.trace(pipes("wan"), PROMPT, concepts=concepts) as trace:
            call(pipes("wan"), steps=1)
        seen.append(trace.maps())
    for key in ("imap", "imap_layers", "cross_attention_maps"):
        np.testing.assert_allclose(seen[0][key][0], seen[1][key][0], atol=1e-4 * seen[0][key].std())


def test_maps_saved_and_loaded_are_the_same(pipes, tmp_path):
    with imap.trace(pipes("wan"), PROMPT, **WORDS, prompt_tokens=True) as trace:
        call(pipes("wan"))
    maps = trace.maps()
    again = imap.Maps.load(maps.save(tmp_path / "maps"))
    assert list(again) == list(maps)
    assert all(np.array_equal(again[key], maps[key]) for key in maps)
    for name in ("texts", "motions", "heads", "scores"):
        assert getattr(again, name) == getattr(maps, name)
    assert again.tokens == maps.tokens
    assert all(np.array_equal(again.token_arrays[key], maps.token_arrays[key]) for key in maps.token_arrays)


def test_the_size_of_the_video_is_that_of_the_pipelines_own_vae(pipes):
    backbone, grid = backbone_of(pipes("wan")), Grid(3, 2, 3)
    assert backbone.video_size(grid) == (9, 32, 48)
    backbone.pipe = SimpleNamespace(vae_scale_factor_spatial=16)  # as of Wan 2.2 5B
    assert backbone.video_size(grid) == (9, 64, 96)
