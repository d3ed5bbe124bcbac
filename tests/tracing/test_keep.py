"""Maps of single layers and steps: those of the model, under their numbers; the averages stay as they were."""

import logging
from collections import namedtuple
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import imap
from imap import ImapError, Maps
from imap.backbones import backbone_of
from imap.config.samples import Sample
from imap.jobs.sampling import sample_video
from imap.map_files import read_meta
from imap.methods.keep import Keeper, kept_bytes
from imap.tracing import keep_memory
from tests.jobs.test_reading import settings_of_run
from tests.shared import FAMILIES, PROMPT
from tests.tracing.test_trace import call, held

WORDS = {"concepts": ["ball", "small dog"], "motions": ["rolls"]}
BOTH = ("layers", "steps")
LAYERS = {"imap_layer": [0, 2], "maps_layers": [1, 3]}  # all together 0, 1 and 2
LATENTS = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(1))
Seen = namedtuple("Seen", "maps latents layers")


def traced(pipe, keep, steps=3, **settings):
    """Maps and latents of a call, and the maps of each layer at each step as the trace's observer has seen them."""
    layers = {}

    def observe(layer, step, activations, slots, maps):
        layers[layer, step] = {key: value[:3].clone() for key, value in maps.maps.items()}

    with imap.trace(pipe, PROMPT, **WORDS, **settings, keep=keep, observe=observe) as trace:
        latents = call(pipe, steps=steps)
    return Seen(trace.maps(), latents, layers)


def stacked(maps):
    return np.stack(list(maps.values()))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("target", ["concepts", "prompt"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_and_step_is_kept_and_the_averages_and_the_video_are_the_same_bits(pipes, family, target):
    pipe, settings = pipes(family), {**LAYERS, "imap_qk_matching_target": target, "prompt_tokens": True}
    plain, both = (traced(pipe, keep, **settings) for keep in (None, BOTH))
    assert torch.equal(plain.latents, both.latents) and torch.equal(both.latents, call(pipe, steps=3))
    assert list(plain.maps) == list(both.maps) and not plain.maps.kept
    assert all(np.array_equal(plain.maps[key], both.maps[key]) for key in plain.maps)
    assert all(np.array_equal(x, both.maps.token_arrays[key]) for key, x in plain.maps.token_arrays.items())
    maps = both.maps
    assert {len(one.array) for one in maps.kept.values()} == {3}  # the words, and not the prompt's tokens
    for key in maps:
        of_key = [0, 2] if key.endswith("_layers") else [1, 2]
        for i, text in enumerate(maps.texts):
            for step in range(3):
                found = maps.by_layer(text, key, step=step)
                assert list(found) == of_key
                for layer, x in found.items():
                    seen = both.layers[layer, step][key.removesuffix("_layers")][i].numpy()
                    assert np.array_equal(x, seen.reshape(x.shape))
                    assert np.array_equal(maps.by_step(text, key, layer=layer)[step], x)
                close(maps.by_step(text, key)[step], stacked(found).mean(axis=0))
            by_layer, by_step = maps.by_layer(text, key), maps.by_step(text, key)
            assert list(by_layer) == of_key and list(by_step) == [0, 1, 2]
            for layer, x in by_layer.items():
                close(x, stacked(maps.by_step(text, key, layer=layer)).mean(axis=0))
            # the method's rule: the mean over layers, then over steps
            close(stacked(by_layer).mean(axis=0), maps.of(text, key))
            close(stacked(by_step).mean(axis=0), maps.of(text, key))


def test_with_softmax_steps_are_those_after_the_second_softmax(pipes):
    maps = traced(pipes("cogvideox"), BOTH, **LAYERS, softmax=True).maps
    for key in ("imap_layers", "sel_imap"):
        for step in range(3):
            means = np.stack([stacked(maps.by_layer(text, key, step=step)).mean(axis=0) for text in maps.texts])
            expected = torch.from_numpy(means).softmax(dim=0).numpy()
            close(np.stack([maps.by_step(text, key)[step] for text in maps.texts]), expected)
        for text in maps.texts:
            close(stacked(maps.by_step(text, key)).mean(axis=0), maps.of(text, key))


@pytest.mark.parametrize(
    ("keep", "folders"), [("layers", {"by_layer"}), ("steps", {"by_step"}), (["steps"], {"by_step"})]
)
def test_nothing_else_is_kept(pipes, keep, folders):
    every = traced(pipes("wan"), BOTH).maps
    maps = traced(pipes("wan"), keep).maps
    assert {name.partition("/")[0] for name in maps.kept} == folders
    assert all(np.array_equal(one.array, every.kept[name].array) for name, one in maps.kept.items())


def test_steps_that_are_read_in_another_order_keep_their_numbers(pipes, caplog):
    caplog.set_level(logging.INFO, "imap")
    keep_memory._log_once.cache_clear()
    pipe, settings = pipes("wan"), {"prompt": PROMPT, **WORDS, "num_inference_steps": 4}
    maps = imap.renoise(pipe, latents=LATENTS, renoise_timestep=[3, 1], keep=BOTH, **settings).maps
    assert list(maps.by_step("ball")) == [1, 3] and maps.facts["steps"] == [1, 3]
    assert "maps of 4 layers, 2 steps and 3 words" in caplog.text
    for step in (1, 3):
        alone = imap.renoise(pipe, latents=LATENTS, renoise_timestep=[step], keep="layers", **settings).maps
        close(maps.by_step("rolls")[step], alone.of("rolls"))
        for layer, x in alone.by_layer("rolls").items():
            close(maps.by_layer("rolls", step=step)[layer], x)


def test_the_effect_is_kept_by_step(pipes):
    pipe, settings = pipes("wan"), {"prompt": PROMPT, **WORDS, "num_inference_steps": 4}
    both = imap.effect(pipe, latents=LATENTS, renoise_timestep=[3, 1], keep="steps", **settings)
    assert list(both.kept) == ["by_step/effect"] and list(both.by_step("ball")) == [1, 3]
    for step in (1, 3):
        alone = imap.effect(pipe, latents=LATENTS, renoise_timestep=[step], **settings)
        close(both.by_step("ball")[step], alone.of("ball"))
        assert not alone.kept
    with pytest.raises(ImapError, match="it has no layers; set keep='steps'"):
        imap.effect(pipe, latents=LATENTS, keep=BOTH, **settings)


def test_of_an_interrupted_step_nothing_is_kept(pipes):
    pipe, seen = pipes("cogvideox"), {}

    def stop_at_the_second(module, args):
        if len(trace.steps.read) == 1:
            raise RuntimeError("in the middle of a block")

    def observe(layer, step, activations, slots, maps):
        seen[layer, step] = maps.maps["imap"][0].numpy().copy()

    with imap.trace(pipe, PROMPT, **WORDS, keep=BOTH, observe=observe) as trace:
        handle = backbone_of(pipe).blocks[2].ff.register_forward_pre_hook(stop_at_the_second)
        try:
            with pytest.raises(RuntimeError, match="middle"):
                call(pipe)
        finally:
            handle.remove()
    assert (1, 1) in seen
    maps = trace.maps()
    for layer, x in maps.by_layer("ball", "imap").items():
        assert np.array_equal(x.ravel(), seen[layer, 0].ravel())
    assert list(maps.by_step("ball")) == [0]


def test_what_a_dropped_step_has_added_is_gone():
    keeper, ones = Keeper(BOTH, 1), torch.ones(1, 2, 3)
    keeper.add(5, {"imap": 7 * ones})
    keeper.drop_step()
    keeper.add(4, {"imap": ones})
    keeper.end_step(9, {("imap", frozenset([4])): ones})
    kept = keeper.kept({"": frozenset([4])})
    assert {name: (x.shape[1], layers, steps) for name, (x, layers, steps) in kept.items()} == {
        "by_layer/imap": (1, (4,), ()),
        "by_layer_and_step/imap": (1, (4,), (9,)),
        "by_step/imap": (1, (), (9,)),
    }
    assert all((x == 1).all() for x, *_ in kept.values())


def test_maps_can_be_taken_twice(pipes):
    pipe = pipes("wan")
    with imap.trace(pipe, PROMPT, **WORDS, keep=BOTH) as trace:
        call(pipe)
    first, second = trace.maps(), trace.maps()
    assert all(np.array_equal(one.array, second.kept[name].array) for name, one in first.kept.items())


@pytest.mark.parametrize("keep", ["layers", "steps", BOTH])
def test_memory_grows_by_what_is_kept_and_is_foretold(pipes, keep):
    pipe = pipes("wan")  # its maps have 3 texts, 3 frames of 2x3 patches; 5 keys, 4 layers
    sizes, predicted = {}, {}
    for steps in (1, 4):
        with imap.trace(pipe, PROMPT, **WORDS, keep=keep, maps_layers=[0, 3]) as trace:
            call(pipe, steps=steps)
        maps = trace.maps()
        sizes[steps] = sum(one.array.nbytes for one in maps.kept.values())
        names = [keep] if isinstance(keep, str) else keep
        predicted[steps] = kept_bytes(names, len(trace.method.layers), steps, 3, 5, 3 * 2 * 3)
        if keep == "layers":
            predicted[f"held {steps}"] = held(trace)
    assert sizes == {steps: predicted[steps] for steps in (1, 4)}
    if keep == "layers":  # sums do not grow with steps; only the rows of scores do
        assert predicted["held 4"] - predicted["held 1"] == 3 * 2 * 4 * 6 * 4
    else:
        by_layer = 4 * 3 * 5 * 4 * 3 * 6 if keep == BOTH else 0  # bytes that do not grow: words, keys, layers, cells
        assert sizes[4] - by_layer == 4 * (sizes[1] - by_layer)


@pytest.mark.parametrize(("keep", "copies"), [(None, 0), ("layers", 0), ("steps", 0), (BOTH, 2 * 5)])
def test_only_maps_of_layers_and_steps_together_leave_the_device_during_the_steps(pipes, keep, copies, monkeypatch):
    pipe, count = pipes("wan"), 0
    original = torch.Tensor.cpu

    def counted(x):
        nonlocal count
        count += 1
        return original(x)

    with imap.trace(pipe, PROMPT, **WORDS, keep=keep):
        monkeypatch.setattr(torch.Tensor, "cpu", counted)
        call(pipe)
        monkeypatch.undo()
    assert count == copies  # one for each step and key


def test_both_readings_are_kept_apart(pipes):
    run = settings_of_run("wan", read="both", renoise_timestep=(1, 3))
    run = replace(run, method={**run.method, "keep": "steps"})
    maps = sample_video(pipes("wan"), Sample(PROMPT, ("ball", "small dog"), ("rolls",)), run).maps
    assert list(maps.by_step("rolls", "sel_imap_layers")) == [0, 1, 2, 3]
    assert list(maps.by_step("rolls", "sel_imap_after_layers")) == [1, 3]
    for key in ("sel_imap_layers", "sel_imap_after_layers"):
        close(stacked(maps.by_step("rolls", key)).mean(axis=0), maps.of("rolls", key))


def test_a_finished_video_is_read_with_what_its_trace_keeps(pipes):
    trace = imap.trace(pipes("wan"), PROMPT, **WORDS, keep="layers")
    maps = imap.read_after(trace, LATENTS, num_inference_steps=4, renoise_timestep=[2])
    close(stacked(maps.by_layer("ball")).mean(axis=0), maps.of("ball"))


# -- files


def test_kept_maps_come_back_from_their_files_and_are_read_when_they_are_used(pipes, tmp_path):
    maps = traced(pipes("wan"), BOTH, **LAYERS).maps
    folder = maps.save(tmp_path / "maps")
    meta, back = read_meta(folder), Maps.load(folder)
    assert meta["kept"]["by_layer_and_step/imap"] == {"layers": [0, 1, 2], "steps": [0, 1, 2]}
    assert meta["kept"]["by_step/imap_layers"] == {"layers": [], "steps": [0, 1, 2]}
    assert np.load(folder / "npy/by_layer/imap.npy").shape == (3, 3, 3, 2, 3)
    assert np.load(folder / "npy/by_layer_and_step/imap.npy").shape == (3, 3, 3, 3, 2, 3)
    assert list(back.kept) == list(maps.kept)
    for name, one in maps.kept.items():
        again = back.kept[name]
        assert isinstance(again.array, np.memmap) and again.array.dtype == np.float32
        assert np.array_equal(again.array, one.array) and (again.layers, again.steps) == (one.layers, one.steps)
    assert np.array_equal(back.by_layer("rolls")[2], maps.by_layer("rolls")[2])
    back.save(folder)  # over the files that it reads
    assert np.array_equal(Maps.load(folder).by_step("rolls", layer=2)[1], maps.by_step("rolls", layer=2)[1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), r"by_layer/imap\.npy is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), r"by_layer/imap\.npy is damaged"),
        (
            lambda path: np.save(path, np.load(path)[:, :1]),
            r"maps of 3 texts x 3 were expected, and it is \(3, 1, 3, 2",
        ),
    ],
)
def test_damaged_files_are_refused(pipes, tmp_path, damage, said):
    folder = traced(pipes("wan"), "layers", 1, **LAYERS).maps.save(tmp_path / "maps")
    damage(folder / "npy/by_layer/imap.npy")
    with pytest.raises(ImapError, match=said):
        Maps.load(folder)


# -- what is refused


def test_what_was_not_kept_is_asked_for_by_its_setting(pipes):
    maps = traced(pipes("wan"), "layers", 1).maps
    with pytest.raises(ImapError, match='maps by step were not kept; read them with keep="steps"'):
        maps.by_step("ball")
    with pytest.raises(
        ImapError, match=r'maps by layer and step were not kept; read them with keep=\("layers", "steps"'
    ):
        maps.by_layer("ball", step=0)
    with pytest.raises(ImapError, match="maps 'nothing' were not kept by layer; there are sel_imap, imap, video_col"):
        maps.by_layer("ball", "nothing")
    with pytest.raises(ImapError, match="no map of 'cat'"):
        maps.by_layer("cat")
    both = traced(pipes("wan"), BOTH, 1).maps
    with pytest.raises(ImapError, match="no layer 9 was kept; there are 0, 1, 2, 3"):
        both.by_step("ball", layer=9)
    with pytest.raises(ImapError, match="no step 5 was kept; there are 0"):
        both.by_layer("ball", step=5)


@pytest.mark.parametrize("keep", ["all", ["layers", "heads"], True, 3, "layers,steps", [["layers"]]])
def test_other_values_are_refused(pipes, keep):
    with pytest.raises(ImapError, match=r"^keep=.* is not known; it can be layers, steps or \[layers,steps\]"):
        imap.trace(pipes("wan"), PROMPT, **WORDS, keep=keep)


def test_more_than_the_free_memory_is_refused_at_the_first_step_and_less_is_told_once(pipes, monkeypatch, caplog):
    pipe = pipes("wan")
    # 5 keys x (4 layers + 2 x 3 steps + 4 x 3 of both), 3 words, 18 patches of 4 bytes
    needed = 5 * (4 + 2 * 3 + 4 * 3) * 3 * 18 * 4
    keep_memory._log_once.cache_clear()
    monkeypatch.setattr(keep_memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=needed * 1.4))
    with caplog.at_level(logging.INFO, "imap"):
        said = r"keep=\[layers,steps\]: maps of 4 layers, 3 steps and 3 words take 0\.1 MiB, and 0\.1 MiB of memory are"
        with pytest.raises(ImapError, match=said):
            traced(pipe, BOTH)
        assert not caplog.records
        monkeypatch.setattr(keep_memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=needed * 1.6))
        for _ in range(2):
            traced(pipe, BOTH)
        logged = [x.getMessage() for x in caplog.records if x.getMessage().startswith("keep=")]
        line = "keep=[layers,steps]: maps of 4 layers, 3 steps and 3 words take 0.1 MiB of memory, and as much on disk"
        assert logged == [line]
    traced(pipe, None)  # and nothing is asked without keep


def test_on_a_gpu_what_stays_there_counts_against_its_memory(pipes, monkeypatch):
    method = imap.trace(pipes("wan"), PROMPT, **WORDS, keep=BOTH).method
    sizes = {"steps": 50, "texts": 5, "keys": 6, "cells": 17550}
    on_device = (
        (2 * 4 + 2 * 50) * 6 * 5 * 17550 * 4
    )  # with the current step's maps of layers, without the maps of each layer at each step
    for share, refused in ((0.67, True), (0.66, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=on_device / share: (int(free), 0))
        if refused:
            with pytest.raises(ImapError, match=r"take 0\.6 GiB, and 0\.3 GiB of memory of the GPU are free"):
                keep_memory.check_memory(method, **sizes, device=torch.device("cuda"))
        else:
            keep_memory.check_memory(method, **sizes, device=torch.device("cuda"))
