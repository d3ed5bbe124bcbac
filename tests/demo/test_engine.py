"""The engine does what the commands do, one job at a time, and can be stopped at each step."""

import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import imap
from imap import ImapError, Maps
from imap.demo import engine as engines
from imap.demo.engine import Engine, Form
from imap.demo.job import Job, Stopped
from imap.demo.settings import configurations
from imap.map_files import read_meta
from imap.runs.runner import run_command
from tests.shared import composed

CLIP = Path(imap.demo_model("wan")).parents[1] / "clips/001-a-box-jumps-while-a-ring-flashes.mp4"
SMALL = ["backbone=tiny_wan", "height=32", "width=48", "num_frames=9", "renoise_timestep=[1,2]"]
FORM = Form(False, "a red ball rolls", "ball", "rolls", seed=3, steps=3, read="both")
OF_CLIP = replace(FORM, renoising=True, clip=str(CLIP), resize="crop", frames="uniform")
TYPED = ["prompt=a red ball rolls", "concepts=ball", "motions=rolls", "seed=3"]


def nobody(*place):
    pass


@pytest.fixture(scope="module")
def engine():
    made = Engine(configurations(SMALL))
    yield made
    made.close()


@pytest.fixture
def undrawn(monkeypatch):
    """Jobs without their pictures, which take most of the time."""
    monkeypatch.setattr(engines, "_draw", lambda folder, todo: None)


@pytest.mark.slow
@pytest.mark.parametrize("form", [FORM, OF_CLIP], ids=["prompt", "clip"])
def test_a_job_writes_what_the_command_writes(engine, form, tmp_path):
    result = engine.run(form, nobody)
    command = "renoising" if form.renoising else "sampling"
    own = ["num_inference_steps=3", "read=both"]
    if form.renoising:
        own = [f"video_path={CLIP}", "video.resize=crop", "video.frames=uniform"]
    small = [x for x in SMALL if form.renoising or not x.startswith("renoise")]
    run_command(composed(command, *small, *TYPED, *own, f"output_dir={tmp_path}"), form.renoising)
    (other,) = (path.parent for path in tmp_path.glob("*/meta.json"))
    assert result.folder.name == other.name
    assert {x.relative_to(other) for x in other.rglob("*")} <= {
        x.relative_to(result.folder) for x in result.folder.rglob("*")
    }
    maps, others = Maps.load(result.folder), Maps.load(other)
    assert list(maps) == list(others) and len(maps) > 8
    for key in maps:
        np.testing.assert_array_equal(maps[key], others[key])
    assert read_meta(result.folder)["request"] == read_meta(other)["request"]
    assert result.overview.is_file() and result.report.startswith("<!doctype html>")
    packed = zipfile.ZipFile(result.archive).namelist()
    assert f"{other.name}/npy/sel_imap_layers.npy" in packed and f"{other.name}/view/overview.mp4" in packed


@pytest.mark.slow
def test_each_step_is_told(engine, undrawn):
    seen = []
    engine.run(FORM, lambda *place: seen.append(place))
    steps = [("denoise", i, 3) for i in range(4)]
    after = seen.index(("read_after", 0, 0))
    assert [x for x in seen[:after] if x[0] == "denoise"] == steps and ("decode", 0, 0) in seen[:after]
    read = [x for x in seen[after:] if x[0] == "denoise"]
    assert sorted(set(read)) == [("denoise", i, read[0][2]) for i in range(read[0][2] + 1)]
    assert seen[0] == ("check", 0, 0) and [x[0] for x in seen[-3:]] == ["write", "pictures", "archive"]


@pytest.mark.slow
@pytest.mark.parametrize("form", [FORM, OF_CLIP], ids=["prompt", "clip"])
def test_a_job_that_is_stopped_leaves_nothing(engine, undrawn, form):
    modules = [x for x in engine.pipe.components.values() if hasattr(x, "modules")]
    left = sum(len(x._forward_hooks) + len(x._forward_pre_hooks) for module in modules for x in module.modules())
    parts = {name: set(vars(part)) for name, part in engine.pipe.components.items() if hasattr(part, "__dict__")}
    before = Maps.load(engine.run(form, nobody).folder)
    folders = set(engine.folder.iterdir())
    for place in (("denoise", 1, 2 if form.renoising else 3), ("write", 0, 0)):

        def stop(*at, place=place):
            if at == place:
                raise Stopped

        with pytest.raises(Stopped):
            engine.run(form, stop)
    assert set(engine.folder.iterdir()) == folders
    assert left == sum(
        len(x._forward_hooks) + len(x._forward_pre_hooks) for module in modules for x in module.modules()
    )
    assert parts == {name: set(vars(engine.pipe.components[name])) for name in parts}
    after = Maps.load(engine.run(form, nobody).folder)
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])


REFUSED = {  # of a form: the same on the command line
    "the prompt is empty": ({"prompt": ""}, ["prompt="]),
    "'ball' is a duplicate": ({"concepts": "ball, ball"}, ["concepts=ball, ball"]),
    "no words to look for": ({"concepts": "", "motions": ""}, ["concepts=", "motions="]),
    "seed=None": ({"seed": None}, ["seed=null"]),
    "num_inference_steps=0": ({"steps": 0}, ["num_inference_steps=0"]),
    "effect: not in the prompt: cat": ({"concepts": "cat", "effect": True}, ["concepts=cat", "effect=true"]),
    "video_path is missing": ({"renoising": True}, []),
    "cannot be decoded": ({"renoising": True, "clip": __file__}, [f"video_path={__file__}"]),
    "64x64": ({"renoising": True, "clip": str(CLIP)}, [f"video_path={CLIP}"]),
}


@pytest.mark.parametrize("start", REFUSED)
def test_what_the_command_refuses_is_refused_with_the_same_words(engine, start, tmp_path):
    changed, typed = REFUSED[start]
    form, folders = replace(FORM, **changed), set(engine.folder.iterdir())
    own = SMALL if form.renoising else [*SMALL[:-1], "num_inference_steps=3", "read=both"]
    words = [x for x in TYPED if x.partition("=")[0] not in {y.partition("=")[0] for y in typed}]
    command = composed("renoising" if form.renoising else "sampling", *own, *words, *typed, f"output_dir={tmp_path}")
    with pytest.raises(ImapError) as of_command:
        run_command(command, form.renoising)
    with pytest.raises(ImapError) as error:
        engine.run(form, nobody)
    hint = str(of_command.value).removeprefix(str(error.value))
    assert hint == "" or hint.startswith(", or leave out")  # the built-in example, which the page fills in
    assert start in str(error.value) and set(engine.folder.iterdir()) == folders


@pytest.mark.slow
def test_only_the_last_results_are_kept(engine, undrawn, monkeypatch):
    monkeypatch.setattr(engines, "KEPT", 2)
    results = [engine.run(replace(FORM, read="during", steps=2), nobody) for _ in range(3)]
    assert [result.folder.exists() for result in results] == [False, True, True]
    assert len(list(engine.folder.glob("job-*"))) == 2


def test_notes_are_those_of_the_sample(engine, undrawn):
    result = engine.run(replace(FORM, concepts="ball, dog", read="during", steps=2), nobody)
    assert result.notes == read_meta(result.folder)["notes"] and any("dog" in note for note in result.notes)


@pytest.mark.slow
def test_one_job_runs_at_a_time_and_one_that_is_stopped_while_it_waits_does_not_begin(engine, undrawn):
    at_step, go_on, seen = threading.Event(), threading.Event(), []

    def hold(progress):
        def holding(*place):
            progress(*place)
            if place == ("denoise", 1, 3):
                at_step.set()
                assert go_on.wait(20)

        return engine.run(FORM, holding)

    def second(progress):
        return engine.run(FORM, lambda *place: (progress(*place), seen.append(place)))

    first = Job(hold)
    assert at_step.wait(20)
    waiting, stopped = Job(second), Job(second)
    stopped.stop()
    assert stopped.ended(20) and isinstance(stopped.error, Stopped) and stopped.result is None
    assert not waiting.ended(0.2) and set(seen) == {("wait", 0, 0)} and waiting.place == ("wait", 0, 0)
    go_on.set()
    assert first.ended(20) and waiting.ended(20)
    assert first.result.folder != waiting.result.folder and len([x for x in seen if x == ("check", 0, 0)]) == 1


@pytest.mark.slow
def test_settings_that_the_model_cannot_run_with_are_refused_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(engines, "load_model", lambda *arguments: pytest.fail("loaded"))
    with pytest.raises(ImapError, match="imap_layer names layer 99"):
        Engine(configurations([*SMALL, "imap_layer=[99]"]))
    with pytest.raises(ImapError, match="maps_timesteps"):  # of a new video alone
        Engine(configurations([*SMALL, "read=during", "maps_timesteps=[0,99]"]))
    with pytest.raises(ImapError, match="num_frames=10"):
        Engine(configurations([*SMALL, "num_frames=10"]))


def test_results_are_gone_after_the_end():
    made = Engine(configurations(SMALL))
    (made.folder / "file").touch()
    made.close()
    assert not made.folder.exists()
