"""Group offloading on a CPU: a weight is not a number except while its group is loaded, and copies are late."""

import contextlib
from itertools import product

import diffusers
import numpy as np
import pytest
import torch
from diffusers.hooks import group_offloading
from diffusers.hooks.group_offloading import GroupOffloadingConfig, GroupOffloadingType, ModuleGroup
from packaging.version import parse

import imap
import imap.runs.loading
from imap.backbones import backbone_of
from imap.runs.less_memory import offload_of, safer_offload
from imap.runs.loading import place
from imap.testing import tiny
from imap.tracing import compatibility
from tests.shared import EVERY_FAMILY, FAMILIES, PROMPT, sizes_of
from tests.tracing.test_trace import call as stock

WORDS = {"concepts": ["ball", "zebra"], "motions": ["rolls"]}
AT_REST = ("latents_mean", "latents_std")  # LTXPipeline reads them where they are, and moves them itself
CPU = torch.device("cpu")
RELOADS = parse(diffusers.__version__) >= parse("0.42")


class Stream:
    """A stream whose copies arrive when it is waited for, and not before."""

    def __init__(self) -> None:
        self.late = []

    def synchronize(self) -> None:
        while self.late:
            self.late.pop(0)()


class Offloaded:
    """A device that the weights of a group are on while they are offloaded."""

    __hash__ = None

    def __init__(self, group) -> None:
        self.group = group

    def __eq__(self, device) -> bool:
        return self.group.is_offloaded


def tensors(group):
    inside = [x for module in group.modules for x in (*module.parameters(), *module.buffers())]
    return [*inside, *group.parameters, *group.buffers]


def offload(group):
    group.is_offloaded = True
    for x in tensors(group):
        group.kept.setdefault(x, x.data)  # of all groups: T5 has one embedding in two
        x.data = torch.full_like(x, float("nan") if x.is_floating_point() else 10**6)


def load(group):
    def arrives():
        for x in tensors(group):
            x.data = group.kept[x]

    group.is_offloaded = False
    if group.stream is None:
        arrives()
    else:
        group.stream.synchronize()
        group.stream.late.append(arrives)
        if not group.non_blocking:
            group.stream.synchronize()


@pytest.fixture
def group_offload(monkeypatch):
    """A function that puts group offloading on every transformer of a pipeline."""

    def begin(group, *args, **kwargs):
        own(group, *args, **kwargs)
        group.kept, group.offload_device, group.is_offloaded = kept, Offloaded(group), False

    def put_on(pipe, level, stream):
        for part in backbone_of(pipe).parts:
            config = GroupOffloadingConfig(
                onload_device=CPU,
                offload_device=CPU,
                offload_type=GroupOffloadingType(level),
                num_blocks_per_group=1,
                non_blocking=stream,
                record_stream=False,
                low_cpu_mem_usage=True,
                stream=Stream() if stream else None,
            )
            group_offloading._apply_group_offloading(part.transformer, config)

    kept, own = {}, ModuleGroup.__init__
    monkeypatch.setattr(ModuleGroup, "_init_cpu_param_dict", lambda group: {})
    monkeypatch.setattr(ModuleGroup, "__init__", begin)
    monkeypatch.setattr(ModuleGroup, "offload_", offload)
    monkeypatch.setattr(ModuleGroup, "onload_", load)
    monkeypatch.setattr(group_offloading, "send_to_device", lambda x, *_, **__: x)
    return put_on


def call(pipe, family, seed, **more):
    with contextlib.redirect_stderr(None):
        return stock(pipe, generator=torch.Generator().manual_seed(seed), **sizes_of(family) | more)


def traced(pipe, family, seed):
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        latents = call(pipe, family, seed)
    return latents, trace.maps()


def built(family):
    pipe = tiny.build(family)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# every way for the main families, one for each of the others: with as few weights on the device as there can be
ONE_WAY = [(family, "leaf_level", RELOADS, "traced") for family in (*FAMILIES, *tiny.FURTHER)]
MORE = product(FAMILIES, ("leaf_level", "block_level"), sorted({False, RELOADS}), ("traced", "plain"))
WAYS = [pytest.param(*way, marks=() if way in ONE_WAY[:3] else pytest.mark.slow) for way in {*ONE_WAY, *MORE}]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "level", "stream", "first"), sorted(WAYS, key=str))
def test_maps_and_latents_of_group_offloading_are_bit_identical(group_offload, family, level, stream, first):
    pipe = built(family)
    expected = [traced(pipe, family, seed) for seed in range(2)]
    group_offload(pipe, level, stream)
    found = []
    for seed in range(2):
        if first == "plain":  # this call finds the order of the layers, which streams load ahead
            assert torch.equal(call(pipe, family, seed), expected[seed][0])
        found.append(traced(pipe, family, seed))
    for (latents, maps), (own_latents, own_maps) in zip(found, expected, strict=True):
        assert torch.equal(latents, own_latents)
        for key in own_maps:
            assert np.array_equal(maps[key], own_maps[key]), key
    assert torch.equal(call(pipe, family, 1), expected[1][0])


@pytest.mark.slow
@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_the_whole_pipeline_is_offloaded_by_the_setting(group_offload, family, monkeypatch):
    monkeypatch.setattr(imap.runs.loading, "STREAMS_ARE_SAFE", False)  # diffusers has none on a CPU
    results = []
    for offload in ("none", "group"):
        pipe = built(family)
        place(pipe, offload, CPU)
        for name in AT_REST:
            if torch.is_tensor(getattr(pipe.vae, name, None)):
                getattr(pipe.vae, name).data = getattr(tiny.build(family).vae, name)
        assert offload_of(pipe) == offload and safer_offload(pipe) is None
        with imap.trace(pipe, PROMPT, **WORDS) as trace:
            frames = call(pipe, family, 0, output_type="np")
        results.append((frames, trace.maps()))
    for part in (pipe.transformer, pipe.text_encoder, pipe.vae):
        assert torch.isnan(next(part.parameters())).all()  # offloaded again
    (frames, maps), (own_frames, own_maps) = results
    assert np.array_equal(frames, own_frames)
    assert all(np.array_equal(maps[key], own_maps[key]) for key in own_maps)


def test_clips_are_renoised_with_every_part_offloaded(group_offload, monkeypatch):
    monkeypatch.setattr(imap.runs.loading, "STREAMS_ARE_SAFE", False)
    clip = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
    found = []
    for offload in ("none", "group"):
        pipe = built("wan")
        place(pipe, offload, CPU)
        found.append(
            imap.renoise(pipe, clip=clip, prompt=PROMPT, **WORDS, num_inference_steps=4, renoise_timestep=[2]).maps
        )
    assert all(np.array_equal(found[0][key], found[1][key]) for key in found[0])


def test_streams_of_an_older_diffusers_are_refused(group_offload, monkeypatch):
    monkeypatch.setattr(compatibility, "STREAMS_ARE_SAFE", False)
    pipe = built("wan")
    group_offload(pipe, "leaf_level", True)
    with pytest.raises(imap.ImapError, match="use_stream=True loads each layer once a call.*or use_stream=False"):
        traced(pipe, "wan", 0)
    pipe = built("wan")
    group_offload(pipe, "leaf_level", False)
    traced(pipe, "wan", 0)
