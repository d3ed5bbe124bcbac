"""Bad input is an error before any weight is loaded: one line on stderr, a status, and no traceback."""

import json
import logging
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

import imap.runs.runner
from imap.cli.commands import run_hydra, run_samples
from imap.media.video_io import write_video
from imap.testing import tiny
from tests.shared import composed

ROOT = Path(__file__).parents[1]
COMMANDS = {"sampling": False, "renoising": True}  # and whether it renoises
SMALL = ["height=32", "width=48", "num_frames=9", "num_inference_steps=2"]
SAMPLE = ["prompt=A red ball rolls past a dog.", "concepts=ball, dog"]
ENTRY = {"caption": "A dog runs.", "concepts": "dog", "object": "running"}
LONG = ", ".join(["a dog", " ".join(["small dog"] * 8)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of lists, clips and model folders, of which only `clip.mp4` is good."""
    root = tmp_path_factory.mktemp("files")
    lists = {
        "broken": "[{",
        "object": json.dumps(ENTRY),
        "empty": "[]",
        "unknown": json.dumps([ENTRY, {**ENTRY, "concept": "dog"}]),
        "silent": json.dumps([{**ENTRY, "caption": " "}]),
        "wordless": json.dumps([{"caption": "A dog runs."}]),
        "twice": json.dumps([{**ENTRY, "concepts": "dog, dog"}]),
        "number": json.dumps([{**ENTRY, "concepts": 5}]),
        "no_clip": json.dumps([ENTRY]),
        "long": json.dumps([{**ENTRY, "concepts": LONG}]),
        "all_long": json.dumps([{**ENTRY, "concepts": LONG}] * 2),
        "good": json.dumps([ENTRY]),
    }
    for name, text in lists.items():
        (root / f"{name}.json").write_text(text)
    write_video(root / "clip.mp4", np.zeros((9, 32, 48, 3), np.uint8), 8)
    (root / "text.mp4").write_text("no video")
    (root / "zero.mp4").write_bytes(b"")
    (root / "cut.mp4").write_bytes((root / "clip.mp4").read_bytes()[:300])
    (root / "no_index").mkdir()
    for name, index in (("bare_index", "{}"), ("broken_index", "{")):
        shutil.copytree(tiny.folder("wan"), root / name, ignore=shutil.ignore_patterns("*.safetensors"))
        (root / name / "model_index.json").write_text(index)
    return root


@pytest.fixture
def refusal(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Runs a command that must fail, and returns its error. `{files}` in an argument is the folder of files.

    whole: through Hydra's own command line; otherwise the command gets a composed configuration, which is quicker.
    """

    def no_weights(*args, **kwargs):
        raise AssertionError("weights were loaded before all was checked")

    monkeypatch.setattr(sys, "argv", ["main.py"])
    monkeypatch.setattr(imap.runs.runner, "load", no_weights)
    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", no_weights)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def refused(command: str, *arguments: str, whole: bool = False, lines: int = 1) -> str:
        named = any(argument.startswith("backbone=") for argument in arguments)
        start = [*SMALL, f"output_dir={tmp_path / 'out'}", *([] if named else ["backbone=tiny_cogvideox"])]
        arguments = [*start, *arguments]
        arguments = [argument.replace("{files}", str(files)) for argument in arguments]
        work = partial(run_samples, renoising=COMMANDS[command])
        with pytest.raises(SystemExit) as stop:
            if whole:
                run_hydra(work, command, "imap", "", arguments)
            else:
                work(composed(command, *arguments))
        assert stop.value.code not in (None, 0)
        # Python prints the argument of sys.exit to stderr
        said = capsys.readouterr().err + (f"{stop.value.code}\n" if isinstance(stop.value.code, str) else "")
        assert said.count("\n") == lines and said.splitlines()[-1].startswith("imap: error: "), said
        return said.splitlines()[-1].removeprefix("imap: error: ")

    yield refused
    root.handlers[:], root.level = before, level


LISTS = [
    ("input_json={files}/none.json", ["input_json", "there is no file", "none.json"]),
    ("input_json={files}/broken.json", ["broken.json is not valid JSON", "line 1"]),
    ("input_json={files}/object.json", ["object.json must be a list"]),
    ("input_json={files}/empty.json", ["at least one entry"]),
    ("input_json={files}/unknown.json", ["entry 1: unknown key 'concept'; choose from caption, concepts, object"]),
    ("input_json={files}/silent.json", ["entry 0: the prompt is empty"]),
    ("input_json={files}/wordless.json", ["entry 0: no words to look for"]),
    ("input_json={files}/twice.json", ["entry 0: 'dog' is a duplicate"]),
    ("input_json={files}/number.json", ["entry 0: expected words, got 5"]),
    ("input_json={files}/long.json", ["'small dog small dog", "17 tokens long", "holds 16"]),
    ("input_json={files}", ["cannot read", "Is a directory"]),
]


@pytest.mark.parametrize(("argument", "parts"), LISTS)
def test_an_invalid_list_is_an_error(argument: str, parts: list[str], refusal):
    said = refusal("sampling", argument)
    assert all(part in said for part in parts), said


WORDS = [
    (["prompt=", "concepts=dog"], ["the prompt is empty"]),
    (["prompt=  ", "concepts=dog"], ["the prompt is empty"]),
    (["concepts=dog"], ["the prompt is empty"]),
    (["prompt=A dog."], ["no words to look for", 'concepts="ball, dog"']),
    (["prompt=A dog.", "concepts="], ["no words to look for"]),
    (["prompt=A dog.", "concepts=dog", "concept_option=t"], ["no words to look for"]),
    (["prompt=A dog.", "concepts=dog,,ball"], ["is empty", "extra comma"]),
    (["prompt=A dog.", "concepts=dog, Dog"], ["'Dog' is a duplicate"]),
    (["prompt=A dog.", "concepts=dog", "motions=dog"], ["'dog' is a duplicate in concepts and motions"]),
    (
        ["prompt=A dog.", f"concepts={LONG}"],
        ["'small dog small dog", "17 tokens long, and the concept window holds 16"],
    ),
    (["prompt=A dog.", f"motions={LONG}", "backbone=tiny_wan"], ["17 tokens long"]),
    (["prompt=A dog.", "concepts=" + ",".join(f"w{i}" for i in range(600))], ["600 words", "at most 225"]),
    (
        ["prompt=A dog.", "concepts=" + ",".join(f"w{i}" for i in range(512)), "backbone=tiny_wan"],
        ["512 words do not fit the model's 512 text slots", "at most 511"],
    ),
    (["prompt=A dog.", "concepts=dog", "input_json={files}/good.json"], ["input_json and prompt are both set"]),
    (["concepts=dog", "input_json={files}/good.json"], ["input_json and concepts are both set"]),
]


@pytest.mark.parametrize(("arguments", "parts"), WORDS)
def test_invalid_words_are_an_error(arguments: list[str], parts: list[str], refusal):
    said = refusal("sampling", *arguments)
    assert all(part in said for part in parts), said


SETTINGS = [
    ("imap_layer=[4]", ["imap_layer names layer 4", "layers 0 to 3"]),
    ("maps_layers=[0,5]", ["maps_layers=[0, 5]", "4 layers"]),
    ("maps_timesteps=[0,3]", ["maps_timesteps=[0, 3] names step 2", "steps 0 to 1"]),
    ("imap_sep_topk=7", ["imap_sep_topk=7", "6 heads", "between 1 and 6"]),
    ("imap_sep_score=CH", ["imap_sep_score='CH'", "CHI, DBI, Silhouette, Fisher"]),
    ("imap_qk_matching_target=concept", ["'concept'", "concepts, prompt"]),
    ("standardize=frame", ["'frame'", "text, none"]),
    ("surrogate=mean", ["'mean'", "per_head, consensus"]),
    ("concept_token=middle", ["'middle'", "first, last, mean"]),
    ("concept_option=ts", ["concept_option='ts'", "s (concepts), t (motions) or st"]),
    ("backbone.path=" + "x" * 300, ["backbone.path", "too long"]),
    ("backbone.dtype=bf16", ["backbone.dtype='bf16'", "auto, bfloat16, float16, float32"]),
    ("backbone.vae_dtype=half", ["backbone.vae_dtype='half'"]),
    ("backbone.offload=full", ["backbone.offload='full'", "auto, none, model, group, sequential"]),
    ("backbone.device=gpu", ["backbone.device='gpu'", "auto, cpu, cuda or cuda:N"]),
    ("backbone.attention_backend=flash", ["backbone.attention_backend=flash", "default"]),
    ("backbone.family=sora", ["unknown model family 'sora'", "cogvideox", "hunyuanvideo", "wan"]),
    ("height=33", ["height=33 is not a multiple of 16", "height=32"]),
    ("width=40", ["width=40 is not a multiple of 16"]),
    ("num_frames=10", ["num_frames=10 is not 4k+1", "num_frames=9"]),
    ("num_frames=0", ["num_frames=0"]),
    ("fps=fast", ["fps='fast' is not a number of frames per second"]),
    ("guidance_scale=0", ["guidance_scale=0"]),
    ("seed=1.5", ["seed=1.5 is not a whole number"]),
    ("num_inference_steps=1001", ["num_inference_steps=1001", "1000"]),
]


@pytest.mark.parametrize(("argument", "parts"), SETTINGS)
def test_an_invalid_setting_is_an_error(argument: str, parts: list[str], refusal):
    said = refusal("sampling", *SAMPLE, argument)
    assert all(part in said for part in parts), said


def test_a_negative_prompt_of_hunyuanvideo_is_an_error(refusal):
    said = refusal("sampling", *SAMPLE, "backbone=tiny_hunyuanvideo", "negative_prompt=blurry")
    assert "takes no negative_prompt" in said and "leave it empty" in said


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["backbone.attention_backend=flsh"], ["attention_backend='flsh' is not known", "default, flash"]),
        (["backbone.attention_backend=xformers"], ["attention_backend=xformers does not work here", "install"]),
        (
            ["backbone.attention_backend=flex", "imap_layer=auto"],
            ["imap_layer=auto reads", "does not work with backbone.attention_backend=flex"],
        ),
    ],
)
def test_an_invalid_attention_backend_is_an_error(refusal, arguments, parts):
    said = refusal("sampling", *SAMPLE, "backbone=tiny_wan", *arguments)
    assert all(part in said for part in parts), said


def test_a_missing_gpu_is_an_error(refusal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no CUDA GPU here; set backbone.device=cpu" in refusal("sampling", *SAMPLE, "backbone.device=cuda")


@pytest.mark.parametrize("folder", ["/proc/imap/out", "{files}/text.mp4", "{files}/text.mp4/out"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_folder_that_cannot_be_written_is_an_error(folder: str, command: str, refusal):
    clip = ["video_path={files}/clip.mp4", "renoise_timestep=1"] if command == "renoising" else []
    said = refusal(command, *SAMPLE, *clip, f"output_dir={folder}")
    assert said.startswith("output_dir: cannot write to") and "choose another folder" in said


PIPELINES = [
    (["backbone.path={files}/no_index"], ["no_index is not a folder in diffusers format", "model_index.json"]),
    (["backbone.path={files}/none"], ["none is not a folder in diffusers format"]),
    (["backbone.path={files}/bare_index"], ["bare_index"]),
    (["backbone.path={files}/broken_index"], ["broken_index", "not a valid JSON file"]),
    (
        ["backbone=tiny_cogvideox", "backbone.path={wan}"],
        ["is of class WanPipeline", "tiny_cogvideox needs CogVideoXPipeline"],
    ),
    (["backbone=hunyuanvideo", "backbone.path={wan}"], ["hunyuanvideo needs HunyuanVideoPipeline"]),
    (["backbone=wan2_1_1_3b", "backbone.path={wan}"], ["layers 0 to 3"]),
]


@pytest.mark.parametrize(("arguments", "parts"), PIPELINES)
def test_a_folder_without_the_right_pipeline_is_an_error(arguments: list[str], parts: list[str], refusal):
    settings = [argument.replace("{wan}", str(tiny.folder("wan"))) for argument in arguments]
    said = refusal("sampling", *SAMPLE, *settings)
    assert all(part in said for part in parts), said


CLIPS = [
    (["video_path={files}/none.mp4"], ["there is no file", "none.mp4"]),
    (["video_path={files}"], ["is a folder"]),
    (["video_path={files}/text.mp4"], ["text.mp4 cannot be decoded"]),
    (["video_path={files}/zero.mp4"], ["zero.mp4"]),
    (["video_path={files}/cut.mp4"], ["cut.mp4 cannot be decoded"]),
    (["video_path={files}/clip.mp4", "width=64"], ["32x48", "32x64", "video.resize=crop", "video.resize=stretch"]),
    (["video_path={files}/clip.mp4", "num_frames=13"], ["9 frames", "13 are expected", "video.frames=uniform"]),
    (["video_path={files}/clip.mp4", "num_frames=13", "video.frames=first"], ["fewer than the 13", "uniform"]),
    (["video_path={files}/clip.mp4", "video.resize=zoom"], ["video.resize='zoom'", "none, crop, stretch"]),
    (["video_path={files}/clip.mp4", "video.frames=last"], ["video.frames='last'", "none, uniform, first"]),
    (["video_path={files}/clip.mp4", "renoise_timestep=2"], ["renoise_timestep names step 2", "steps 0 to 1"]),
    (["video_path={files}/clip.mp4", "renoise_timestep=[0,-1]"], ["renoise_timestep names step -1"]),
    (["video_path={files}/clip.mp4", "renoise_timestep=0.5"], ["renoise_timestep=0.5", "renoise_timestep=[30]"]),
    (
        ["video_path={files}/clip.mp4", "maps_timesteps=[0,1]"],
        ["no step of renoise_timestep=[1] lies in maps_timesteps"],
    ),
    (["video_path={files}/clip.mp4", "maps_timesteps=1"], ["maps_timesteps=1 is not a range"]),
    ([], ["video_path is missing"]),
    (["video_path="], ["video_path is missing"]),
    (["prompt=null", "concepts=null"], ["no sample is set", "video_path=FILE", "input_json=FILE"]),
    (["prompt=null", "concepts=null", "input_json={files}/no_clip.json"], ["entry 0: video_path is missing"]),
]


@pytest.mark.parametrize(("arguments", "parts"), CLIPS)
def test_an_invalid_clip_is_an_error(arguments: list[str], parts: list[str], refusal):
    said = refusal("renoising", *SAMPLE, "renoise_timestep=1", *arguments)
    assert all(part in said for part in parts), said


def test_an_error_writes_nothing(refusal, tmp_path: Path):
    refusal("sampling", *SAMPLE, "imap_layer=[9]")
    assert list(tmp_path.rglob("*.*")) == []


def test_a_list_of_bad_samples_is_an_error_and_each_reason_is_recorded(refusal, tmp_path: Path):
    said = refusal("sampling", "input_json={files}/all_long.json", lines=3)
    assert "none of the 2 samples can run" in said and "errors.jsonl for the reasons" in said
    reasons = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert [reason["stage"] for reason in reasons] == ["check", "check"] and "17 tokens" in reasons[1]["error"]


WHOLE = [
    ("sampling", ["input_json={files}/none.json"], "input_json: there is no file"),
    ("sampling", ["prompt=A dog.", "concepts="], "no words to look for"),
    ("sampling", [*SAMPLE, "maps_timesteps=[0,3]"], "maps_timesteps=[0, 3] names step 2"),
    (
        "sampling",
        [*SAMPLE, "backbone=tiny"],
        "unknown backbone 'tiny'; nearest are tiny_wan, ",
    ),
    ("sampling", [*SAMPLE, "promt=A dog."], "unknown setting 'promt'; did you mean prompt?"),
    (
        "sampling",
        [*SAMPLE, "renoise_timestep=[5]"],
        "unknown setting 'renoise_timestep'; it is a setting of imap renoise (main_Renoising.py)",
    ),
    ("sampling", [*SAMPLE, "backbone.attention=x"], "unknown setting 'backbone.attention'; did you mean backbone.att"),
    ("sampling", [*SAMPLE, "video.resize=crop"], "unknown setting 'video.resize'"),
    ("sampling", [*SAMPLE, "imap_layer=[1"], "imap_layer=[1"),
    ("sampling", [*SAMPLE, "effect=true", "motions=swims"], "effect: not in the prompt: swims"),
    ("renoising", [*SAMPLE, "effect=[1]", "video_path={files}/clip.mp4"], "effect=[1]: a clip is read at renoise_tim"),
    ("sampling", [*SAMPLE, "num_frames=1"], "num_frames=1 is one latent frame, and motion needs two; set num_frames=5"),
    (
        "sampling",
        [*SAMPLE, "fps=99999999999"],
        "fps=99999999999 is not a number of frames per second from 0.01 to 1000",
    ),
    ("sampling", [*SAMPLE, "guidance_scale=1e30"], "at most 1000"),
    ("sampling", [*SAMPLE, "backbone.flow_shift=1e-300"], "neither null nor a number from 0.01 to 100"),
    ("sampling", [*SAMPLE, "read=later"], "read='later' is not known"),
    ("sampling", ["prompt=A", "dog."], "cannot read 'dog.'"),
    ("renoising", [*SAMPLE, "renoise_timestep=1", "video_path={files}/none.mp4"], "video_path: there is no file"),
    ("renoising", [*SAMPLE, "renoise_timestep=2", "video_path={files}/clip.mp4"], "renoise_timestep names step 2"),
]


@pytest.mark.parametrize(("command", "arguments", "part"), WHOLE)
def test_the_whole_command_prints_one_line_and_no_traceback(command: str, arguments: list[str], part: str, refusal):
    said = refusal(command, *arguments, whole=True)
    assert part in said, said


def test_the_first_run_on_a_machine_prints_one_line(refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "imap_layer names layer 9" in refusal("sampling", *SAMPLE, "imap_layer=[9]")


@pytest.mark.slow
def test_a_real_process_prints_one_line_and_ends_with_status_1(tmp_path: Path):
    command = [
        sys.executable,
        "main_Sampling.py",
        "backbone=tiny_cogvideox",
        *SMALL,
        *SAMPLE,
        "imap_layer=[9]",
        f"output_dir={tmp_path}",
    ]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith("imap: error: imap_layer names layer 9") and ended.stderr.count("\n") == 1
