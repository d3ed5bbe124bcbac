"""Faults, injected one by one into whole commands: each has its named outcome, and what is finished stays.

Others are tested elsewhere: a full disk in test_batch.py, a live holder of a lock in test_together.py, memory that runs
out in test_less_memory.py.
"""

# ruff: noqa: F401, F811  (fixtures of another module)

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import imap.runs.batch
import imap.runs.runner
from imap.backbones import backbone_of
from imap.claims import lock_of
from imap.runs.failures import ERRORS
from tests.runs.test_runner import arrays, command, listed, loads, moving_square, visible

ONE_STEP = "num_inference_steps=1"
NAMES = ["000-a-ball", "001-a-dog", "002-a-cat"]
OTHERS = [NAMES[0], NAMES[2]]


def errors(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / ERRORS).read_text().splitlines()]


@pytest.fixture
def request_of_three(tmp_path) -> list[str]:
    return [listed(tmp_path, "a ball", "a dog", "a cat"), ONE_STEP]


@pytest.fixture
def second(monkeypatch):
    """Calls a function while the second of three samples is made, with its pipeline."""

    def during(fault) -> None:
        sample, count = imap.runs.runner.sample_video, []

        def faulty(pipe, *args, **prepared):
            count.append(1)
            undo = fault(pipe) if len(count) == 2 else None
            try:
                return sample(pipe, *args, **prepared)
            finally:
                if undo is not None:
                    undo()

        monkeypatch.setattr(imap.runs.runner, "sample_video", faulty)

    return during


@pytest.mark.slow
def test_nan_in_one_layer_stops_that_sample_and_is_named(command, loads, second, request_of_three, tmp_path):
    def fault(pipe):
        norm = backbone_of(pipe).hooked_modules(backbone_of(pipe).blocks[2])["v"]
        return norm.register_forward_hook(lambda module, args, out: out * float("nan")).remove

    second(fault)
    status, said = command("sampling", *request_of_three)
    assert status == 1 and "2 done, 0 already finished, 1 failed (001-a-dog)" in said
    (entry,) = errors(tmp_path / "out")
    assert entry["sample"] == "001-a-dog" and "are not finite, first at step 0, layer 2: the model" in entry["error"]
    assert visible(tmp_path / "out") == [*OTHERS, ERRORS]
    assert all(np.isfinite(x).all() for name in OTHERS for x in arrays(tmp_path / "out" / name).values())


def test_an_exception_in_a_hook_fails_that_sample(command, loads, pipes, second, request_of_three, tmp_path):
    def fault(pipe):
        def stop(module, args):
            raise ArithmeticError("in a hook")

        return backbone_of(pipe).blocks[1].register_forward_pre_hook(stop).remove

    second(fault)
    status, said = command("sampling", *request_of_three)
    assert (
        status == 1 and "001-a-dog failed (maps): in a hook" in said and visible(tmp_path / "out") == [*OTHERS, ERRORS]
    )
    modules = pipes("cogvideox").transformer.modules()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_an_exception_in_the_writer_fails_that_sample_and_leaves_no_part_of_it(
    command,
    loads,
    request_of_three,
    tmp_path,
    monkeypatch,
):
    write, count = imap.runs.batch.write_video, []

    def faulty(*args):
        write(*args)
        count.append(1)
        if len(count) == 2:
            raise ValueError("in the writer")

    monkeypatch.setattr(imap.runs.batch, "write_video", faulty)
    status, said = command("sampling", *request_of_three)
    assert status == 1 and "001-a-dog failed (write): in the writer" in said
    assert visible(tmp_path / "out") == [*OTHERS, ERRORS] and errors(tmp_path / "out")[0]["stage"] == "write"


@pytest.mark.slow
def test_an_output_folder_that_is_removed_loses_what_was_in_it_and_the_rest_is_made(
    command,
    loads,
    second,
    request_of_three,
    tmp_path,
):
    second(lambda pipe: shutil.rmtree(tmp_path / "out"))
    status, said = command("sampling", *request_of_three)
    assert "1 samples that were finished are gone" in str(status) and NAMES[0] in str(status)
    assert "Traceback" not in said and visible(tmp_path / "out") == NAMES[1:]
    status, said = command("sampling", *request_of_three)
    assert status == 0 and "1 done, 2 already finished" in said and visible(tmp_path / "out") == NAMES


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into every folder")
def test_a_read_only_folder_is_refused_before_a_model_is_loaded(command, loads, request_of_three, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    status, _ = command("sampling", *request_of_three)
    assert "output_dir: cannot write to" in str(status) and loads == []


def test_a_folder_on_a_read_only_device_is_refused_before_a_model_is_loaded(
    command,
    loads,
    request_of_three,
    monkeypatch,
):
    def refused(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.touch", refused)
    status, said = command("sampling", *request_of_three)
    assert status and "Read-only file system; choose another folder" in f"{status} {said}" and loads == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_broken_clips_at_random_places_fail_alone(seed, command, loads, tmp_path):
    draw = np.random.default_rng(seed)
    broken = sorted(draw.choice(6, size=3, replace=False).tolist())
    clips = []
    for n in range(6):
        clips.append(moving_square(tmp_path / f"{n}.mp4", 9, 32, 48, level=100 + n))
        if n in broken:
            whole = clips[-1].read_bytes()
            clips[-1].write_bytes(whole[: int(draw.integers(0, len(whole) * 9 // 10))])
    prompts = [f"a ball {n}" for n in range(6)]
    status, said = command("renoising", listed(tmp_path, *prompts, clips=clips), ONE_STEP, "renoise_timestep=0")
    assert status == 1 and "3 done, 0 already finished, 3 failed" in said and "Traceback" not in said
    named = [f"{n:03}-a-ball-{n}" for n in range(6)]
    assert [entry["sample"] for entry in errors(tmp_path / "out")] == [named[n] for n in broken]
    assert visible(tmp_path / "out") == [*(name for n, name in enumerate(named) if n not in broken), ERRORS]


@pytest.mark.parametrize("clock", ["time", "perf_counter"])
@pytest.mark.slow
def test_a_clock_that_jumps_back_changes_no_result(
    clock, command, loads, second, request_of_three, tmp_path, monkeypatch
):
    command("sampling", *request_of_three, f"output_dir={tmp_path / 'undisturbed'}")
    now = getattr(time, clock)

    def fault(pipe):
        monkeypatch.setattr(time, clock, lambda: now() - 86400)

    second(fault)
    status, said = command("sampling", *request_of_three)
    assert status == 0 and "3 done, 0 already finished, 0 failed" in said and visible(tmp_path / "out") == NAMES
    for name in NAMES:
        one, other = arrays(tmp_path / "out" / name), arrays(tmp_path / "undisturbed" / name)
        assert all(np.array_equal(one[key], other[key]) for key in other)
    assert "0 done, 3 already finished" in command("sampling", *request_of_three)[1]


@pytest.mark.slow
def test_the_lock_of_a_killed_process_holds_nothing_up(command, loads, request_of_three, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    holder = f"import pathlib, time\nfrom imap.claims import claim\nwith claim(pathlib.Path({str(out / NAMES[1])!r})): "
    process = subprocess.Popen([sys.executable, "-c", holder + "print(flush=True); time.sleep(99)"], stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    assert lock_of(out / NAMES[1]).is_file()
    status, said = command("sampling", *request_of_three)
    assert status == 0 and "3 done" in said and "waiting for" not in said and visible(out) == NAMES


@pytest.mark.slow
def test_memory_that_runs_out_fails_that_sample_with_advice(command, loads, second, request_of_three, tmp_path):
    def fault(pipe):
        def stop(module, args):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

        return backbone_of(pipe).blocks[1].register_forward_pre_hook(stop).remove

    second(fault)
    status, said = command("sampling", *request_of_three)
    assert status == 1 and "001-a-dog failed (maps): out of memory on cpu: CUDA out of memory.; set a smaller" in said
    assert visible(tmp_path / "out") == [*OTHERS, ERRORS]
