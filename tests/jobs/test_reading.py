"""Reading a finished video: the maps are those of renoising its latents, and the video is not touched."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import imap
from imap.config.run import run_settings, scaled_indices
from imap.config.samples import Sample
from imap.jobs.reading import READING
from imap.jobs.sampling import sample_video
from imap.map_files import FACTS
from imap.methods.registry import after_key
from tests.shared import FAMILIES, PROMPT, SIZES, composed

SAMPLE = Sample(PROMPT, ("ball", "small dog"), ("rolling",))
WORDS = {"concepts": SAMPLE.concepts, "motions": SAMPLE.motions}


def settings_of_run(family, **changed):
    sizes = [f"{name}={value}" for name, value in SIZES.items()]
    config = composed("sampling", f"backbone=tiny_{family}", *sizes, "num_inference_steps=4", "output_dir=out")
    return replace(run_settings(OmegaConf.to_container(config, resolve=True), False), **changed)


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_after_is_renoising_the_finished_latents_and_leaves_the_video(pipes, family):
    pipe = pipes(family)
    during = sample_video(pipe, SAMPLE, settings_of_run(family))
    after = sample_video(pipe, SAMPLE, settings_of_run(family, read="after", renoise_timestep=(1, 2)))
    both = sample_video(pipe, SAMPLE, settings_of_run(family, read="both", renoise_timestep=(1, 2)))
    assert np.array_equal(during.frames, after.frames) and np.array_equal(during.frames, both.frames)

    call = {**SIZES, "num_inference_steps": 4, "guidance_scale": 6.0, "generator": torch.Generator().manual_seed(42)}
    latents = pipe(prompt=PROMPT, **call, output_type="latent").frames
    schedule = {"num_inference_steps": 4, "renoise_timestep": [1, 2], "guidance_scale": 6.0, "seed": 42 + READING}
    method = settings_of_run(family).method
    expected = imap.renoise(pipe, latents=latents, prompt=PROMPT, **WORDS, **schedule, **method).maps
    for key in expected:
        np.testing.assert_allclose(after.maps[key], expected[key], rtol=1e-4, atol=1e-4 * expected[key].std())
    read = {"renoise_timestep": [1, 2], "num_inference_steps": 4, "seed": 42 + READING}
    assert after.maps.facts["read"] == {"when": "after", **read} and "read" in FACTS

    assert all(np.array_equal(both.maps[key], during.maps[key]) for key in during.maps)
    named = {key: after_key(key) for key in expected}
    assert {"video_col_after", "video_col_after_layers"} <= set(named.values())
    assert set(both.maps) == {*expected, *named.values()}
    assert all(np.array_equal(both.maps[other], after.maps[key]) for key, other in named.items())
    assert both.maps.names["sel_imap_after_layers"] == "IMAP (read after)"
    assert both.maps.facts["read"]["when"] == "both"


def test_a_notebook_reads_a_finished_video_in_one_line(pipes):
    pipe = pipes("wan")
    trace = imap.trace(pipe, PROMPT, **WORDS, maps_timesteps=[0, 1])
    call = {**SIZES, "num_inference_steps": 4, "generator": torch.Generator().manual_seed(0)}
    latents = pipe(prompt=PROMPT, **call, output_type="latent").frames
    maps = imap.read_after(trace, latents, num_inference_steps=4, renoise_timestep=2, seed=3)
    expected = imap.renoise(
        pipe, latents=latents, prompt=PROMPT, **WORDS, num_inference_steps=4, renoise_timestep=2, seed=3
    ).maps
    assert all(np.array_equal(maps[key], expected[key]) for key in expected)
    frames = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
    assert imap.read_after(trace, frames, num_inference_steps=4, renoise_timestep=2)["imap"].shape == (3, 3, 2, 3)
    with pytest.raises(imap.ImapError, match="needs the prompt"):
        imap.read_after(imap.trace(pipe, concepts=["ball"]), latents)


def test_both_readings_with_the_effect_score_the_maps_of_both(pipes):
    method = {**settings_of_run("wan").method, "effect": True, "show": "video_col"}
    run = settings_of_run("wan", read="both", renoise_timestep=(2,), method=method)
    maps = sample_video(pipes("wan"), SAMPLE, run).maps
    scores = maps.facts["faithfulness"]["ball"]
    assert {"video_col_layers", "video_col_after_layers", "sel_imap_layers"} <= set(scores) and "effect" not in scores
    assert maps.facts["effect"]["steps"] == [2]
    assert maps.key_of("ball") == "video_col_after_layers" and maps.key_of("rolling") == "video_col_after_layers"


def test_what_a_run_shows_is_recorded_and_followed(pipes, tmp_path: Path):
    with imap.trace(pipes("wan"), PROMPT, **WORDS, show="whole-video column") as trace:
        pipes("wan")(prompt=PROMPT, num_inference_steps=1, **SIZES)
    maps = trace.maps()
    assert maps.facts["method"]["show"] == "video_col"
    loaded = imap.Maps.load(maps.save(tmp_path / "maps"))
    for text in maps.texts:
        assert np.array_equal(loaded.of(text), maps.video_col[maps.texts.index(text)])
    assert np.array_equal(maps.of("ball", "GramCol"), maps.gramcol[0])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (["read=later"], "read='later' is not known; it can be during, after, both"),
        (["read_timestep=[2]"], "read_timestep=.* is of the finished video"),
        (["read=after", "read_timestep=[4]"], "read_timestep names step 4"),
        (["read=after", "effect=[1]"], "effect lists steps of sampling"),
    ],
)
def test_settings_of_reading_are_checked(changed, reason):
    config = composed("sampling", "backbone=tiny_wan", "num_inference_steps=4", "output_dir=out", *changed)
    with pytest.raises(imap.ImapError, match=reason):
        run_settings(OmegaConf.to_container(config, resolve=True), False)


def test_noise_levels_follow_the_length_of_the_schedule():
    paper = {"renoise_timestep": [13, 15, 17], "num_inference_steps": 20}
    assert scaled_indices(paper, 20) == [13, 15, 17] and scaled_indices(paper, 40) == [26, 30, 34]
    assert scaled_indices(paper, 2) == [1]


@pytest.mark.parametrize(
    ("arguments", "settings", "reason"),
    [
        ((None,), {}, "takes latents, frames or a video file"),
        ((torch.zeros(1, 16, 3, 4, 6),), {"seed": "a"}, "seed='a' is not a whole number"),
        ((torch.zeros(1, 16, 3, 4, 6),), {"noise": np.zeros(3)}, r"noise of shape \(3,\)"),
    ],
)
def test_what_cannot_be_read_after_is_refused(pipes, arguments, settings, reason):
    trace = imap.trace(pipes("wan"), PROMPT, **WORDS)
    with pytest.raises(imap.ImapError, match=reason):
        imap.read_after(trace, *arguments, num_inference_steps=4, renoise_timestep=2, **settings)
    with pytest.raises(imap.ImapError, match="takes the trace of the sampling"):
        imap.read_after(pipes("wan"), torch.zeros(1, 16, 3, 4, 6))


def test_steps_of_sampling_are_refused_for_a_finished_video():
    changed = ["read=after", "maps_timesteps=[0,2]"]
    config = composed("sampling", "backbone=tiny_wan", "num_inference_steps=4", "output_dir=out", *changed)
    with pytest.raises(imap.ImapError, match="maps_timesteps are steps of sampling"):
        run_settings(OmegaConf.to_container(config, resolve=True), False)
