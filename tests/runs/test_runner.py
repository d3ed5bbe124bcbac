"""imap sample and imap renoise: what they write, how they resume, and that a failing sample loses no result."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import imap.runs.runner
import imap.tracing.keep_memory
from imap import ImapError, Maps
from imap.cli.commands import run_samples
from imap.map_files import read_meta
from imap.media.clip_file import open_clip
from imap.media.clips import read_clip
from imap.media.video_io import write_video
from imap.runs.failures import ERRORS
from imap.runs.folders import RUN
from imap.runs.listing import LIST
from imap.testing import tiny
from imap.view.card import card
from imap.view.sample import open_sample, time_labels
from tests.shared import FAMILIES, composed

ROOT = Path(__file__).parents[2]
SMALL = ["height=32", "width=48", "num_frames=9", "num_inference_steps=2", "pictures=false"]
SAMPLE = ["prompt=A red ball rolls past a dog.", "concepts=ball, dog", "motions=rolls"]
FOLDER = "000-a-red-ball-rolls-past-a-dog"
KEYS = ["imap", "sel_imap", "video_col", "cross_attention_maps", "text_attention"]
JOINT_KEYS = [*KEYS, "concept_attention_maps"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright square that moves to the right."""
    return moving_square(tmp_path_factory.mktemp("clips") / "clip.mp4", 9, 32, 48)


def moving_square(path: Path, frames: int, height: int, width: int, level: int = 220) -> Path:
    video = np.full((frames, height, width, 3), 40, np.uint8)
    for i in range(frames):
        video[i, height // 4 : height // 2, 4 + i : 14 + i] = level
    write_video(path, video, 8)
    return path


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Runs a command in this process, in folder `out`. Returns its exit status and its messages."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def run(name: str, *overrides: str) -> tuple[int, str]:
        named = any(override.startswith("backbone=") for override in overrides)
        start = [*SMALL, f"output_dir={tmp_path / 'out'}", *([] if named else ["backbone=tiny_cogvideox"])]
        config = composed(name, *start, *overrides)
        capsys.readouterr()
        status = 0
        try:
            run_samples(config, renoising=name == "renoising")
        except SystemExit as stop:
            status = stop.code
        return status, capsys.readouterr().err

    yield run
    root.handlers[:], root.level = before, level


@pytest.fixture
def loads(pipes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Families that a command has loaded. It uses the pipelines of the session."""
    loaded = []

    def load(model, source):
        loaded.append(model.family)
        return pipes(model.family)

    monkeypatch.setattr(imap.runs.runner, "load", load)
    return loaded


@pytest.fixture
def no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap.runs.runner, "load", lambda *args: pytest.fail("a model was loaded"))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Makes jobs fail for prompts with a word, until it is called with another word."""
    jobs = {name: getattr(imap.runs.runner, name) for name in ("sample_video", "renoise_video")}

    def fail_for(word: str, error: BaseException) -> None:
        for name, job in jobs.items():

            def failing_job(pipe, sample, run, job=job, **ready):
                if word in sample.prompt:
                    raise error
                return job(pipe, sample, run, **ready)

            monkeypatch.setattr(imap.runs.runner, name, failing_job)

    return fail_for


def listed(folder: Path, *prompts: str, clips: list[Path] | None = None) -> str:
    """Writes a list of prompts and, for renoising, clips. Returns the setting that selects it."""
    entries = [{"caption": prompt, "concepts": "ball, dog", "object": "rolls"} for prompt in prompts]
    for entry, path in zip(entries, clips or [], strict=False):
        entry["video_path"] = str(path)
    (folder / "list.json").write_text(json.dumps(entries))
    return f"input_json={folder / 'list.json'}"


def visible(folder: Path) -> list[str]:
    """Everything in the folder, hidden files too, but for the records that every run writes."""
    return sorted(path.name for path in folder.iterdir() if path.name not in (LIST, RUN))


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, allow_pickle=False) for path in (folder / "npy").glob("*.npy")}


def check_folder(folder: Path, family: str, texts: list[str], steps: list[int], fps: float = 8) -> dict:
    """Checks that a sample's folder is complete and has nothing else. Returns its record."""
    keys = [f"{key}{tail}" for key in (KEYS if family == "wan" else JOINT_KEYS) for tail in ("", "_layers")]
    assert visible(folder) == ["meta.json", "npy", "output.mp4"]
    assert visible(folder / "npy") == sorted(f"{key}.npy" for key in keys)
    for key, array in arrays(folder).items():
        assert array.shape == (len(texts), 3, 2, 3) and array.dtype == np.float32, key
        assert np.isfinite(array).all() and array.std() > 0, key
    assert read_clip(folder / "output.mp4").shape == (9, 32, 48, 3)
    meta = read_meta(folder)
    assert meta["texts"] == texts and sorted(meta["keys"]) == sorted(keys) and meta["family"] == family
    assert meta["grid"] == {"frames": 3, "height": 2, "width": 3} and meta["steps"] == steps
    config = read_meta(folder)["request"]["settings"]
    assert config["seed"] == 42 and config["num_inference_steps"] == 2 and meta["fps"] == fps
    assert config["model"]["name"] == f"tiny_{family}" and config["model"]["dtype"]
    k, layers = meta["method"]["imap_sep_topk"], range(3 if family == "hunyuanvideo" else 4)
    assert list(meta["heads"]) == list(meta["scores"]) == [str(layer) for layer in layers]
    for layer, of_steps in meta["heads"].items():
        assert sorted(of_steps) == [str(step) for step in steps]
        for step, heads in of_steps.items():
            scores = meta["scores"][layer][step]
            assert len(scores) == 6 and heads == sorted(range(6), key=lambda head: -scores[head])[:k]
    assert {"python", "torch", "diffusers", "transformers", "numpy"} <= set(meta["versions"])
    assert all(seconds >= 0 for seconds in meta["seconds"].values()) and meta["seconds"]["denoise"] > 0
    maps = Maps.load(folder)
    assert list(maps.texts) == texts and np.array_equal(maps["imap"], arrays(folder)["imap"])
    return meta


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_without_settings_samples_the_built_in_example(family: str, command, tmp_path: Path):
    status, said = command("sampling", f"backbone=tiny_{family}")
    assert status == 0 and visible(tmp_path / "out") == ["000-a-red-ball-rolls-past-a-small-dog-on-the-grass"]
    meta = check_folder(next((tmp_path / "out").glob("0*")), family, ["ball", "dog", "rolls"], [0, 1])
    assert meta["motions"] == ["rolls"] and meta["video"] == "sampled"
    assert set(meta["seconds"]) == {"encode_text", "denoise", "decode", "maps", "write"}
    assert meta["request"]["sample"]["prompt"] == "A red ball rolls past a small dog on the grass."
    assert f"backbone=tiny_{family} has RANDOM weights" in said
    assert said.splitlines()[-1] == f"{tmp_path / 'out'}: 1 done, 0 already finished, 0 failed"


@pytest.mark.parametrize(
    "family", ["wan", *(pytest.param(x, marks=pytest.mark.slow) for x in ("cogvideox", "hunyuanvideo"))]
)
def test_a_clip_is_read_and_written_with_its_maps(family: str, command, tmp_path: Path, clip: Path):
    status, _ = command("renoising", f"backbone=tiny_{family}", *SAMPLE, f"video_path={clip}", "renoise_timestep=[1,0]")
    assert status == 0
    meta = check_folder(tmp_path / "out" / FOLDER, family, ["ball", "dog", "rolls"], [0, 1])
    assert meta["video"] == "the clip" and meta["request"]["settings"]["renoise_timestep"] == [1, 0]
    assert {"decode_clip", "encode_clip", "denoise"} <= set(meta["seconds"])
    assert meta["request"]["sample"]["video_path"] == str(clip) and len(meta["request"]["sample"]["video_sha256"]) == 64
    again = read_clip(tmp_path / "out" / FOLDER / "output.mp4").astype(int)
    assert np.abs(again - read_clip(clip)).mean() < 6


@pytest.mark.slow
def test_the_truth_beside_a_clip_is_recorded_as_the_clip_was_read(command, loads: list, tmp_path: Path):
    clip = moving_square(tmp_path / "clip.mp4", 9, 48, 96)
    masks = read_clip(clip)[None, ..., 0] > 130
    words = {"nouns": ["ball"], "verbs": ["rolls"], "masks": masks, "moving": np.arange(9)[None] < 4}
    np.savez_compressed(tmp_path / "truth-clip.npz", **words)
    request = ["backbone=tiny_wan", *SAMPLE, f"video_path={clip}", "renoise_timestep=[1]", "video.resize=crop"]
    assert command("renoising", *request)[0] == 0
    shown = open_sample(tmp_path / "out" / FOLDER)
    assert sorted(shown.truth) == ["ball", "rolls"] and "truth.npz" in shown.meta["files"]
    seen = shown.frames[..., 0] > 130
    assert shown.truth["ball"].shape == seen.shape == (9, 32, 48)
    assert (shown.truth["ball"] != seen).sum() < 0.1 * seen.sum()
    assert np.array_equal(shown.truth["rolls"], shown.truth["ball"] & (np.arange(9) < 4)[:, None, None])
    (tmp_path / "truth-clip.npz").unlink()
    assert command("renoising", *request, "seed=7")[0] == 0  # made again, without a truth
    assert not open_sample(tmp_path / "out" / FOLDER).truth


def test_a_truth_of_another_size_is_refused_before_a_model_is_loaded(command, no_load, tmp_path: Path):
    clip = moving_square(tmp_path / "clip.mp4", 9, 32, 48)
    np.savez(tmp_path / "truth-clip.npz", masks=np.zeros((1, 9, 48, 32), bool), nouns=["ball"])
    status, said = command("renoising", *SAMPLE, f"video_path={clip}", "renoise_timestep=[1]")
    assert status and "has masks of 9x48x32, but clip.mp4 is 9x32x48" in f"{status} {said}"


def test_a_full_denoise_writes_the_denoised_video(command, loads: list, tmp_path: Path, clip: Path):
    request = [*SAMPLE, f"video_path={clip}", "backbone=tiny_wan"]
    status, _ = command("renoising", *request, "renoise_timestep=[0,1]", "test_full_denoise=true")
    assert status == 0
    meta = check_folder(tmp_path / "out" / FOLDER, "wan", ["ball", "dog", "rolls"], [0, 1])
    assert meta["video"] == "denoised from the noised clip" and "decode" in meta["seconds"]
    made = read_clip(tmp_path / "out" / FOLDER / "output.mp4").astype(int)
    assert np.abs(made - read_clip(clip)).mean() > 10  # a random model leaves nothing of the clip


def test_a_clip_of_another_size_and_length_is_resampled(command, loads: list, tmp_path: Path):
    path = moving_square(tmp_path / "long.mp4", 20, 40, 80)
    request = [*SAMPLE, f"video_path={path}", "renoise_timestep=1"]
    assert command("renoising", *request, "video.resize=crop", "video.frames=uniform")[0] == 0
    check_folder(
        tmp_path / "out" / FOLDER, "cogvideox", ["ball", "dog", "rolls"], [1], fps=9 / 2.5
    )  # of 20 frames at 8


def test_a_part_of_a_variable_clip_keeps_its_times_in_every_record(command, loads: list, tmp_path: Path):
    starts = [0, 0.1, 0.2, 0.3, 1.3, 2.3, 3.3, 3.4, 3.5, 3.6, 3.7]
    frames = [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(len(starts))]
    write_video(tmp_path / "clip.mp4", frames, [*starts, 4])
    part = ["video.frames=first", "video.seconds=[0.2,4]"]
    assert command("renoising", *SAMPLE, f"video_path={tmp_path / 'clip.mp4'}", "renoise_timestep=1", *part)[0] == 0
    meta, times = read_meta(tmp_path / "out" / FOLDER), [*starts[2:], 4]
    assert meta["clip"]["taken"] == list(range(2, 11)) and meta["clip"]["frames"] == 11
    assert meta["times"] == meta["clip"]["times"] == pytest.approx(times, abs=1e-4)
    assert meta["fps"] == pytest.approx(9 / 3.8, abs=1e-3) and meta["clip"]["seconds"] == pytest.approx(4)
    video = open_clip(tmp_path / "out" / FOLDER / "output.mp4")
    assert video.times == pytest.approx([x - 0.2 for x in times], abs=1e-4)
    shown = open_sample(tmp_path / "out" / FOLDER)
    assert time_labels(shown.times, [0, 4, 8]) == ["0.2 s", "3.3 s", "3.7 s"]
    assert card(shown, 48, ["imap"])["times"] == pytest.approx(times, abs=1e-4)


def test_a_set_rate_replaces_the_clips_times(command, loads: list, tmp_path: Path, clip: Path):
    request = [*SAMPLE, f"video_path={clip}", "renoise_timestep=1", "fps=29.97"]
    assert command("renoising", *request)[0] == 0
    meta = read_meta(tmp_path / "out" / FOLDER)
    assert meta["fps"] == 29.97 and "times" not in meta and meta["clip"]["times"][8] == pytest.approx(1)
    assert open_sample(tmp_path / "out" / FOLDER).times[8] == pytest.approx(8 / 29.97)


def test_a_clip_that_repeats_frames_says_so_in_its_record(command, loads: list, tmp_path: Path):
    path = moving_square(tmp_path / "short.mp4", 5, 32, 48)
    request = [*SAMPLE, f"video_path={path}", "renoise_timestep=1", "video.frames=uniform"]
    status, said = command("renoising", *request)
    note = "9 frames were taken from 5 of the clip: 4 of them repeat another"
    assert status == 0 and note in said and note in read_meta(tmp_path / "out" / FOLDER)["notes"]


def test_a_clip_that_changes_during_the_run_is_not_read(command, pipes, tmp_path: Path, monkeypatch):
    path = moving_square(tmp_path / "clip.mp4", 9, 32, 48)

    def load(model, source):
        moving_square(path, 9, 32, 48, level=90)
        return pipes(model.family)

    monkeypatch.setattr(imap.runs.runner, "load", load)
    status, said = command("renoising", *SAMPLE, f"video_path={path}", "renoise_timestep=1")
    assert status == 1 and "clip.mp4 has changed since the run began; run the command again" in said
    assert not (tmp_path / "out" / FOLDER).exists()
    assert command("renoising", *SAMPLE, f"video_path={path}", "renoise_timestep=1")[0] == 0


def test_a_denoised_video_of_more_frames_than_its_clip_is_written(command, loads: list, tmp_path: Path):
    """CogVideoX decodes two latent frames to eight frames."""
    path = moving_square(tmp_path / "clip.mp4", 5, 32, 48)
    request = [*SAMPLE, f"video_path={path}", "num_frames=5", "renoise_timestep=[1]", "test_full_denoise=true"]
    assert command("renoising", *request)[0] == 0
    folder = tmp_path / "out" / FOLDER
    assert len(open_clip(folder / "output.mp4").times) == 9 and read_meta(folder)["fps"] == 8
    assert open_sample(folder).times[8] == pytest.approx(1)


def test_one_step_of_the_schedule_and_one_layer_can_be_read(command, loads: list, tmp_path: Path):
    assert command("sampling", *SAMPLE, "maps_timesteps=[1,2]", "maps_layers=[2,3]", "imap_layer=[1]")[0] == 0
    meta = read_meta(tmp_path / "out" / FOLDER)
    assert meta["steps"] == [1] and list(meta["heads"]) == ["1", "2"] and list(meta["heads"]["2"]) == ["1"]


def test_maps_of_all_prompt_tokens_are_written_with_prompt_tokens(command, loads: list, tmp_path: Path):
    assert command("sampling", *SAMPLE, "backbone=tiny_wan", "prompt_tokens=true", "num_inference_steps=1")[0] == 0
    maps = Maps.load(tmp_path / "out" / FOLDER)
    assert {len(array) for array in maps.token_arrays.values()} == {len(maps.tokens)} and "▁ball" in maps.tokens
    assert maps["imap"].shape[0] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sampling", "renoising"])
def test_a_changed_keep_makes_a_sample_again_and_none_leaves_earlier_ones(
    name, command, loads: list, tmp_path: Path, clip: Path
):
    arguments = [*SAMPLE, *([f"video_path={clip}", "renoise_timestep=[1]"] if name == "renoising" else [])]
    folder = tmp_path / "out" / FOLDER
    assert command(name, *arguments)[0] == 0 and len(loads) == 1
    assert "keep" not in read_meta(folder)["request"]["settings"]["method"] and "kept" not in read_meta(folder)
    status, messages = command(name, *arguments, "keep=[steps,layers]")
    assert status == 0 and len(loads) == 2 and "settings have changed (method.keep)" in messages
    assert "keep=[layers,steps]: maps of 4 layers" in messages
    maps = Maps.load(folder)
    np.testing.assert_allclose(np.mean([*maps.by_layer("ball").values()], axis=0), maps.of("ball"), rtol=1e-4)
    assert list(maps.by_step("ball")) == ([1] if name == "renoising" else [0, 1])
    assert command(name, *arguments, "keep=[layers,steps]")[0] == 0 and len(loads) == 2
    (folder / "npy/by_layer/imap.npy").unlink()
    assert command(name, *arguments, "keep=[layers,steps]")[0] == 0 and len(loads) == 3


FORETOLD = {  # steps that are read: of 2, and of a finished video one
    "during": ("sampling", [], 2),
    "a range": ("sampling", ["maps_timesteps=[1,2]"], 1),
    "after": ("sampling", ["read=after", "read_timestep=[1]"], 1),
    "both": ("sampling", ["read=both", "read_timestep=[1]"], 3),
    "a clip": ("renoising", ["renoise_timestep=[0,1]"], 2),
    "a part": ("renoising", ["renoise_timestep=[0,1]", "maps_timesteps=[1,2]"], 1),
    "to the end": ("renoising", ["renoise_timestep=[0]", "test_full_denoise=true"], 2),
}


@pytest.mark.parametrize("case", FORETOLD)
def test_keep_beyond_the_free_memory_is_refused_before_a_model_is_loaded(
    case, command, no_load, tmp_path: Path, clip: Path, monkeypatch
):
    name, settings, steps = FORETOLD[case]
    arguments = [*SAMPLE, *([f"video_path={clip}"] if name == "renoising" else []), *settings, "keep=steps"]
    needed = 2 * steps * 6 * 3 * (3 * 2 * 3) * 4  # keys over two lists of layers, words, patches, bytes
    memory = SimpleNamespace(available=needed * 1.49)
    monkeypatch.setattr(imap.tracing.keep_memory.psutil, "virtual_memory", lambda: memory)
    status, messages = command(name, *arguments)
    counted = "1 step" if steps == 1 else f"{steps} steps"
    assert str(status).startswith(f"imap: error: keep=[steps]: maps of 4 layers, {counted} and 3 words take"), messages
    memory.available = needed * 1.51
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        command(name, *arguments)


@pytest.mark.parametrize(
    ("option", "texts", "motions"),
    [("s", ["ball", "dog"], []), ("t", ["rolls"], ["rolls"]), ("st", ["ball", "dog", "rolls"], ["rolls"])],
)
def test_concept_option_selects_concepts_or_motions(
    option, texts: list, motions: list, command, loads: list, tmp_path: Path
):
    assert command("sampling", *SAMPLE, f"concept_option={option}", "num_inference_steps=1")[0] == 0
    meta = read_meta(tmp_path / "out" / FOLDER)
    assert meta["texts"] == texts and meta["motions"] == motions
    assert all(len(array) == len(texts) for array in arrays(tmp_path / "out" / FOLDER).values())
    assert bool(meta["notes"]) == (option == "t")  # a single text is not standardized over text, and says so


@pytest.mark.parametrize("name", ["sampling", "renoising"])
def test_a_finished_run_loads_no_model(name: str, command, loads: list, tmp_path: Path, clip: Path, monkeypatch):
    settings = [f"video_path={clip}", "renoise_timestep=1"] if name == "renoising" else ["num_inference_steps=1"]
    command(name, *SAMPLE, *settings)
    written = (tmp_path / "out" / FOLDER / "meta.json").stat().st_mtime_ns
    assert loads == ["cogvideox"]
    status, said = command(name, *SAMPLE, *settings)
    assert status == 0 and loads == ["cogvideox"]
    assert "0 done, 1 already finished, 0 failed" in said and "have changed" not in said
    assert (tmp_path / "out" / FOLDER / "meta.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_only_a_setting_that_changes_the_result_redoes_a_sample(command, loads: list, tmp_path: Path):
    request = [*SAMPLE, "num_inference_steps=1"]
    command("sampling", *request)
    for same in ("backbone.device=cpu", "backbone.offload=none", "backbone.dtype=float32", "concept_token=first"):
        assert "1 already finished" in command("sampling", *request, same)[1], same
    for other in ("seed=7", "imap_sep_topk=3", "guidance_scale=2", "concepts=ball", "negative_prompt=bad"):
        _, said = command("sampling", *request, other)
        assert "1 done" in said and f"{FOLDER}: settings have changed (" in said, other
        assert other.partition("=")[0] in said.split("have changed (")[1].splitlines()[0]
    assert len(loads) == 6 and visible(tmp_path / "out") == [FOLDER]


@pytest.mark.slow
def test_a_changed_clip_redoes_the_sample_and_is_logged_once(command, loads: list, tmp_path: Path):
    path = moving_square(tmp_path / "changed.mp4", 9, 32, 48)
    request = [*SAMPLE, f"video_path={path}", "renoise_timestep=1"]
    command("renoising", *request)
    before = arrays(tmp_path / "out" / FOLDER)
    moving_square(path, 9, 32, 48, level=90)
    _, said = command("renoising", *request)
    assert "1 done" in said and said.count("settings have changed (video_sha256)") == 1
    assert not np.array_equal(arrays(tmp_path / "out" / FOLDER)["imap"], before["imap"])


def test_a_failing_sample_does_not_stop_the_others_and_only_it_is_redone(command, loads, failing, tmp_path: Path):
    request = [listed(tmp_path, "a ball", "a bad ball", "a dog"), "num_inference_steps=1"]
    failing("bad", RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB"))
    status, said = command("sampling", *request)
    assert status == 1 and loads == ["cogvideox"]
    assert said.splitlines()[-1].endswith("2 done, 0 already finished, 1 failed (001-a-bad-ball)")
    assert "failed (maps): out of memory on cpu: CUDA out of memory.; set" in said and "Traceback" not in said
    assert visible(tmp_path / "out") == ["000-a-ball", "002-a-dog", ERRORS]
    entry = json.loads((tmp_path / "out" / ERRORS).read_text())
    assert entry["sample"] == "001-a-bad-ball" and "Tried to allocate" in entry["traceback"]
    assert "Traceback (most recent call last)" in entry["traceback"] and "failing_job" in entry["traceback"]
    failing("nothing", RuntimeError())
    status, said = command("sampling", *request)
    assert status == 0 and "[1/1] 001-a-bad-ball" in said and "000-a-ball" not in said
    assert "1 done, 2 already finished, 0 failed" in said
    assert visible(tmp_path / "out") == ["000-a-ball", "001-a-bad-ball", "002-a-dog"]


def test_a_bad_clip_in_a_list_fails_before_the_model_is_loaded_and_the_others_are_done(command, loads, tmp_path, clip):
    short = moving_square(tmp_path / "short.mp4", 5, 32, 48)
    clips = [short, clip, tmp_path / "none.mp4"]
    request = [listed(tmp_path, "a ball", "a dog", "a cat", clips=clips), "renoise_timestep=1"]
    status, said = command("renoising", *request)
    assert status == 1 and "1 done, 0 already finished, 2 failed (000-a-ball, 002-a-cat)" in said
    assert said.index("000-a-ball failed (check)") < said.index("loading ") and "5 frames and 9 are expected" in said
    assert visible(tmp_path / "out") == ["001-a-dog", ERRORS]
    assert "1 already finished, 2 failed" in command("renoising", *request)[1] and loads == ["cogvideox"]


def test_a_relative_clip_that_is_nowhere_is_looked_for_in_both_folders(command, tmp_path, clip, monkeypatch):
    (tmp_path / "work").mkdir()
    request = [listed(tmp_path, "a ball", "a dog", clips=[clip, Path("sub/none.mp4")]), "renoise_timestep=1"]
    monkeypatch.chdir(tmp_path / "work")
    said = command("renoising", *request)[1]
    assert f"no sub/none.mp4 in {tmp_path / 'work'} (the working folder), nor in {tmp_path} (the list's)" in said


@pytest.mark.parametrize(
    "error", [ImapError("no such attention backend"), OSError("no file with weights"), MemoryError()]
)
def test_a_model_that_cannot_be_loaded_ends_the_run_at_once(error: Exception, command, tmp_path: Path, monkeypatch):
    loads = []

    def load(*args):
        loads.append(args)
        raise error

    monkeypatch.setattr(imap.runs.runner, "load", load)
    status = 1
    with suppress(type(error), ImapError):
        status, _ = command("sampling", listed(tmp_path, "a ball", "a dog", "a cat"))
    assert status and len(loads) == 1


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_crash_after_the_arrays_are_written_leaves_no_partial_folder(
    error, command, loads, tmp_path: Path, monkeypatch
):
    write = Maps.write

    def crash(self, folder: Path, facts: dict) -> None:
        write(self, folder, facts)
        raise error

    monkeypatch.setattr(Maps, "write", crash)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            command("sampling", *SAMPLE, "num_inference_steps=1")
    else:
        assert command("sampling", *SAMPLE, "num_inference_steps=1")[0] == 1
    assert [name for name in visible(tmp_path / "out") if name != ERRORS] == []


@pytest.mark.slow
def test_a_finished_folder_survives_a_redo_that_fails(command, loads, failing, tmp_path: Path):
    command("sampling", *SAMPLE, "num_inference_steps=1")
    before = arrays(tmp_path / "out" / FOLDER)
    failing("ball", RuntimeError("out of memory"))
    assert command("sampling", *SAMPLE, "num_inference_steps=1", "seed=7")[0] == 1
    assert visible(tmp_path / "out") == [FOLDER, ERRORS]
    after = arrays(tmp_path / "out" / FOLDER)
    assert all(np.array_equal(after[key], before[key]) for key in before)
    assert read_meta(tmp_path / "out" / FOLDER)["request"]["settings"]["seed"] == 42


def without_folder(record: dict) -> dict:
    return {key: record[key] for key in record if key not in ("seconds", "versions")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["sampling", "renoising"])
@pytest.mark.slow
def test_a_sample_is_the_same_alone_and_second_in_a_list(
    name: str, family: str, command, loads, tmp_path: Path, clip: Path
):
    settings = [f"backbone=tiny_{family}", *(["renoise_timestep=1"] if name == "renoising" else [])]
    prompts = ["A small cat jumps.", "A red ball rolls past a dog."]
    other = moving_square(tmp_path / "other.mp4", 9, 32, 48, level=90)
    alone = [*SAMPLE, *([f"video_path={clip}"] if name == "renoising" else [])]
    command(name, *settings, *alone, f"output_dir={tmp_path / 'alone'}")
    command(name, *settings, listed(tmp_path, *prompts, clips=[other, clip] if name == "renoising" else None))
    one, two = tmp_path / "alone" / FOLDER, tmp_path / "out" / FOLDER.replace("000", "001")
    first, second = arrays(one), arrays(two)
    assert first and set(first) == set(second)
    assert [key for key in first if not np.array_equal(first[key], second[key])] == []
    assert (one / "output.mp4").read_bytes() == (two / "output.mp4").read_bytes()
    assert without_folder(read_meta(one)) == without_folder(read_meta(two))


@pytest.mark.slow
def test_a_users_model_is_sampled_from_its_folder(command, tmp_path: Path):
    tiny.build("wan", seed=5).save_pretrained(tmp_path / "model")
    request = [*SAMPLE, "num_inference_steps=1"]
    path = ["backbone=tiny_wan", f"backbone.path={tmp_path / 'model'}"]
    assert command("sampling", *request, "backbone=tiny_wan")[0] == 0
    before = arrays(tmp_path / "out" / FOLDER)
    status, said = command("sampling", *request, *path)
    assert status == 0 and "settings have changed (" in said and "RANDOM" not in said
    assert not np.array_equal(arrays(tmp_path / "out" / FOLDER)["imap"], before["imap"])


@pytest.mark.slow
def test_a_real_process_takes_any_text_and_ends_with_status_1_for_a_bad_clip(tmp_path: Path, clip: Path):
    prompt = 'a "ball", it\'s ${seed} = [1]: 50% \\'
    prompts, clips = [prompt, "a dog"], [clip, tmp_path / "none.mp4"]
    command = [sys.executable, str(ROOT / "main_Renoising.py"), *SMALL, "renoise_timestep=1", "output_dir=new/out"]
    command.append("backbone=tiny_cogvideox")
    command.append(listed(tmp_path, *prompts, clips=clips))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr and ended.stdout == ""
    assert ended.stderr.splitlines()[-1] == "new/out: 1 done, 0 already finished, 1 failed (001-a-dog)"
    assert visible(tmp_path) == ["list.json", "new"] and visible(tmp_path / "new") == ["out"]
    folder = tmp_path / "new" / "out" / "000-a-ball-it-s-seed-1-50"
    assert check_folder(folder, "cogvideox", ["ball", "dog", "rolls"], [1])["request"]["sample"]["prompt"] == prompt


def test_a_run_draws_pictures_and_a_report(command, tmp_path: Path):
    assert command("sampling", *SAMPLE, "pictures=true", "num_inference_steps=1")[0] == 0
    out = tmp_path / "out"
    assert visible(out) == [FOLDER, "report.html"]
    view = {path.name for path in (out / FOLDER / "view").iterdir()}
    assert {"ball.mp4", "overview.mp4", "rolls.mp4", "strip.png", "strip.pdf", "view.json"} <= view
    before = (out / "report.html").stat().st_mtime_ns
    status, said = command("sampling", *SAMPLE, "pictures=true", "num_inference_steps=1")
    assert status == 0 and "1 already finished" in said and (out / "report.html").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_second_run_draws_missing_pictures_of_finished_samples(command, loads, tmp_path: Path):
    request = [listed(tmp_path, "a ball", "a dog"), "num_inference_steps=1"]
    out = tmp_path / "out"
    assert command("sampling", *request)[0] == 0 and visible(out) == ["000-a-ball", "001-a-dog"]
    status, said = command("sampling", *request, "pictures=true")
    assert status == 0 and "2 already finished" in said and loads == ["cogvideox"]
    assert visible(out) == ["000-a-ball", "001-a-dog", "report.html"]
    kept = (out / "001-a-dog/view/view.json").stat().st_mtime_ns
    shutil.rmtree(out / "000-a-ball/view")
    assert command("sampling", *request, "pictures=true")[0] == 0
    assert (out / "000-a-ball/view/view.json").is_file()
    assert (out / "001-a-dog/view/view.json").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_a_sample_that_cannot_be_drawn_does_not_stop_the_others(command, loads, tmp_path: Path):
    request = [listed(tmp_path, "a ball", "a dog"), "num_inference_steps=1"]
    out = tmp_path / "out"
    command("sampling", *request)
    video = out / "000-a-ball/output.mp4"
    video.write_bytes(bytes(video.stat().st_size))  # of its size, so that it counts as finished
    status, said = command("sampling", *request, "pictures=true")
    assert status == 0 and "000-a-ball: no pictures: " in said and "Traceback" not in said
    assert (out / "001-a-dog/view/view.json").is_file() and "cannot be shown" in (out / "report.html").read_text()


@pytest.mark.parametrize("error", [OSError("No space left on device"), ValueError("not a picture")])
def test_a_failure_to_draw_loses_no_result(error, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_):
        raise error

    monkeypatch.setattr("imap.runs.runner.show_samples", full)
    status, said = command("sampling", *SAMPLE, "pictures=true")
    assert status == 0 and re.search(f"no pictures: .*{error}", said) and "1 done" in said
    check_folder(tmp_path / "out" / FOLDER, "cogvideox", ["ball", "dog", "rolls"], [0, 1])


@pytest.mark.parametrize("name", ["sampling", "renoising"])
@pytest.mark.slow
def test_automatic_layers_are_chosen_once_and_recorded(command, loads, clip, tmp_path, name):
    settings = [*SAMPLE, *([f"video_path={clip}", "renoise_timestep=1"] if name == "renoising" else [])]
    status, said = command(name, *settings, "imap_layer=auto")
    choice = json.loads((tmp_path / "out/layers.json").read_text())
    meta = read_meta(tmp_path / "out" / FOLDER)
    assert status == 0 and f"imap_layer={choice['layers']}" in said
    assert (
        meta["method"]["imap_layer"] == choice["layers"] and len(choice["layers"]) == 2 < len(choice["lambda_2"]) == 4
    )
    assert meta["request"]["settings"]["method"]["imap_layer"] == "auto"
    assert choice["step"] == 1
    _, said = command(name, *settings, "imap_layer=auto")
    assert "1 already finished" in said
    choice["lambda_2"]["0"] = [0.99] * len(choice["lambda_2"]["0"])  # what was measured is not measured again
    (tmp_path / "out/layers.json").write_text(json.dumps(choice))
    command(name, *settings, "imap_layer=auto", "seed=1")
    assert read_meta(tmp_path / "out" / FOLDER)["method"]["imap_layer"] == [0]
    command(name, *settings, "imap_layer=auto", "num_inference_steps=3")
    assert read_meta(tmp_path / "out" / FOLDER)["method"]["imap_layer"] != [0]


@pytest.mark.slow
def test_layers_are_chosen_again_for_another_size_or_list_but_not_for_a_longer_list(command, loads, tmp_path):
    def measured(*settings: str) -> bool:
        """Whether a run measures lambda_2, although layers.json holds some."""
        choice = json.loads(kept.read_text())
        kept.write_text(json.dumps(choice | {"lambda_2": dict.fromkeys(choice["lambda_2"], [0.99] * 6)}))
        command("sampling", *settings, "imap_layer=auto", "num_inference_steps=1")
        return json.loads(kept.read_text())["lambda_2"]["0"] != [0.99] * 6

    kept = tmp_path / "out/layers.json"
    command("sampling", listed(tmp_path, "a ball"), "imap_layer=auto", "num_inference_steps=1")
    assert not measured(listed(tmp_path, "a ball", "a dog"))
    for changed in ("height=48", "width=64", "num_frames=13"):
        assert measured(listed(tmp_path, "a ball", "a dog"), changed), changed
    assert measured(listed(tmp_path, "a dog", "a ball"))


@pytest.mark.slow
def test_every_shard_chooses_the_same_layers(command, loads, tmp_path):
    settings = [listed(tmp_path, "a ball", "a dog"), "imap_layer=auto", "num_inference_steps=1"]
    kept, choices = tmp_path / "out/layers.json", []
    for index in (0, 1):
        command("sampling", *settings, f"shard.index={index}", "shard.count=2")
        choices.append(json.loads(kept.read_text()))
        shutil.rmtree(tmp_path / "out")
    assert choices[0] == choices[1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_repeated_texts_are_encoded_once(family: str, command, loads, pipes, clip, tmp_path: Path):
    calls: list[int] = []
    encoder = pipes(family).text_encoder
    handle = encoder.register_forward_hook(lambda module, args, kwargs, output: calls.append(1), with_kwargs=True)
    words = ["A red ball rolls past a dog."] * 3
    settings = [f"backbone=tiny_{family}", "imap_qk_matching_target=concepts"]
    try:
        status, _ = command("renoising", *settings, listed(tmp_path, *words, clips=[clip] * 3), "renoise_timestep=1")
        assert status == 0 and len(calls) == 2  # the prompt, and the concepts in one batch
        calls.clear()
        prompts = ["a ball rolls", "a dog rolls", "a ball falls"]
        status, _ = command("sampling", *settings, listed(tmp_path, *prompts), "num_inference_steps=1")
        # three prompts and their concepts, and where guidance is no part of the model the empty negative prompt
        assert status == 0 and len(calls) == 3 + 1 + (family != "hunyuanvideo")
    finally:
        handle.remove()
    assert not any(key.startswith("encod") for key in vars(pipes(family)))


@pytest.mark.slow
def test_a_failed_choice_of_layers_ends_the_run_in_one_line(command, loads, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(imap.runs.runner, "sample_video", broken)
    status, _ = command("sampling", *SAMPLE, "imap_layer=auto")
    assert "imap_layer=auto could not measure lambda_2" in status and "out of memory" in status


@pytest.mark.slow
def test_words_that_a_small_model_does_not_know_are_a_warning(command, loads, tmp_path):
    small = ["backbone=shapes_cogvideox", "backbone.path=null", "num_frames=9", "height=64", "width=64"]
    _, said = command("sampling", *small, "prompt=a ball jumps while a horse stays", "concepts=ball, horse")
    assert "shapes_cogvideox does not know: horse. Its words are ball, box" in said
    _, said = command("sampling", *small, "prompt=a Ball jumps while a box stays", "concepts=ball", "motions=jumps")
    assert "does not know" not in said
