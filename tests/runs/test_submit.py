"""imap submit: checked before anything starts, tasks that go on after a requeue, and a result as of one process."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from benchmarks.kills import compare, files_of
from imap.cli.commands import run_samples
from imap.errors import ImapError
from imap.runs import submit, waiting
from tests.runs.test_runner import ROOT
from tests.shared import composed

TINY = ["backbone=tiny_wan", "height=32", "width=48", "num_frames=5", "num_inference_steps=1"]
LARGER = ["backbone=tiny_wan", "height=64", "width=96", "num_frames=9", "num_inference_steps=1"]


def write_list(folder: Path, count: int) -> str:
    """A list of prompts that differ. Returns the setting that selects it."""
    captions = [f"a red ball rolls {number} times" for number in range(count)]
    entries = [{"caption": caption, "concepts": "ball", "object": "rolls"} for caption in captions]
    (folder / "list.json").write_text(json.dumps(entries))
    return f"input_json={folder / 'list.json'}"


def imap(*arguments: str, **options) -> subprocess.Popen[str]:
    """The command in its own process."""
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "imap", *arguments], **options)


def undisturbed(folder: Path, *settings: str) -> dict[str, bytes]:
    """Files of one process that does the whole list."""
    out = folder / "undisturbed"
    process = imap("sample", *settings, "pictures=false", f"output_dir={out}")
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return files_of(out)


def submitted(capsys, *arguments: str) -> tuple[int, str]:
    """Exit status and log of the command, in this process."""
    with pytest.raises(SystemExit) as stop:
        submit.main(arguments)
    code = stop.value.code
    said = capsys.readouterr().err
    return (1, f"{said}{code}") if isinstance(code, str) else (code, said)


def wait_for(ready, seconds: float = 300):
    """The first true value of `ready()`."""
    end = time.monotonic() + seconds
    while not (value := ready()):
        assert time.monotonic() < end, "time is up"
        time.sleep(0.05)
    return value


@pytest.mark.slow
def test_two_local_tasks_one_of_which_is_requeued_make_what_one_process_makes(capsys, monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(waiting, "LOOK", 0.2)
    out, listed = tmp_path / "out", write_list(tmp_path, 6)

    def stop_one() -> None:
        """As a cluster does before it takes a node away."""
        wait_for(lambda: list(out.glob("*/meta.json")))
        below = psutil.Process().children(recursive=True)
        next(one for one in below if "submitit.core._submit" in one.cmdline()).send_signal(signal.SIGUSR2)

    with ThreadPoolExecutor(1) as thread:
        stopped = thread.submit(stop_one)
        where = ["--tasks", "2", "--cluster", "local", "--gpus", "0", "--wait"]
        status, said = submitted(capsys, "sample", *where, *LARGER, listed, f"output_dir={out}")
        stopped.result()
    assert status == 0 and "6 of 6 finished" in said
    logs = "".join(path.read_text() for path in (tmp_path / "out.logs").glob("*_log.out"))
    assert logs.count("Requeued job") == logs.count("imap: interrupted") == 1
    wanted = tmp_path / "undisturbed"
    run_samples(composed("sampling", *LARGER, listed, "pictures=false", f"output_dir={wanted}"), renoising=False)
    wanted = files_of(wanted)
    assert len(wanted) > 6 * 3 and not any(compare(out, wanted).values()), compare(out, wanted)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["prompt=a ball", "concepts=ball", "height=33"], "height=33"),
        (["prompt=a ball", "concepts=ball", "heigth=32"], "unknown setting 'heigth'; did you mean height?"),
        (["prompt=a ball", "concepts=ball", "shard.index=1"], "imap submit sets it for each task"),
        (["prompt=a ball", "concepts=ball", "dry_run=true"], "imap submit sets it for each task"),
        (["input_json=missing.json"], "missing.json"),
    ],
)
def test_bad_input_is_one_line_and_submits_nothing(capsys, monkeypatch, tmp_path, arguments, reason):
    monkeypatch.setattr(submit, "start", lambda *_: pytest.fail("it was submitted"))
    out = tmp_path / "out"
    status, said = submitted(
        capsys, "sample", "--tasks", "2", "--cluster", "local", *TINY, f"output_dir={out}", *arguments
    )
    assert status == 1 and reason in said and said.count("\n") == 0, said
    assert not (tmp_path / "out.logs").exists()


def test_a_dry_run_says_what_would_run_and_needs_no_cluster(capsys, tmp_path):
    arguments = ["--tasks", "64", "--time", "1-02:00:30", "--mem", "64G", "--cpus", "4", "--slurm", "cpu-bind=none"]
    listed = [write_list(tmp_path, 3), f"output_dir={tmp_path / 'out'}"]
    status, said = submitted(capsys, "sample", *TINY, *arguments, *listed, "--dry-run", "--slurm", "exclusive")
    assert status == 0 and "3 samples, of which 3 are left to do, as 3 tasks" in said
    assert "imap sample pictures=false backbone=tiny_wan" in said and "shard.index=0 shard.count=3" in said
    assert "time=1561" in said and "gpus_per_node=1" in said and "mem=64G" in said and "--cpus-per-task=4" in said
    assert "'requeue': True, 'cpu_bind': 'none', 'exclusive': True" in said
    assert not (tmp_path / "out.logs").exists()


def test_a_dry_run_names_problems_and_writes_nothing(capsys, tmp_path):
    entries = [{"caption": f"a ball {i}", "concepts": "ball", "video_path": f"{i}.mp4"} for i in range(2)]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    where = [f"input_json={tmp_path / 'list.json'}", f"output_dir={tmp_path / 'out'}", "renoise_timestep=0"]
    status, said = submitted(capsys, "renoise", "--tasks", "2", "--dry-run", *TINY[:-1], *where)
    assert status == 1 and said.count("failed (check): video_path: there is no") == 2
    assert not (tmp_path / "out" / "errors.jsonl").exists()


def test_tasks_of_several_gpus_are_checked_on_a_node_without_any(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    where = ["--tasks", "2", "--dry-run", *TINY, write_list(tmp_path, 3), f"output_dir={tmp_path / 'out'}"]
    status, said = submitted(capsys, "sample", *where, "--gpus", "2", "devices=[0,1]")
    assert status == 0 and "as 2 tasks" in said and "'devices=[0,1]'" in said
    status, said = submitted(capsys, "sample", *where, "--gpus", "2", "devices=[0,2]")
    assert status == 1 and "devices=[0, 2], and a task has 2 GPUs; set --gpus 3" in said
    assert submitted(capsys, "sample", *where, "--slurm", "gres=gpu:4", "devices=[0,3]")[0] == 0


@pytest.mark.parametrize("option", [["--cpus", "2"], ["--mem", "4G"], ["--partition", "x"], ["--slurm", "qos=long"]])
def test_options_of_sbatch_are_refused_for_this_machine(option, capsys, tmp_path):
    where = ["--tasks", "2", "--cluster", "local", *TINY, write_list(tmp_path, 3), f"output_dir={tmp_path / 'out'}"]
    status, said = submitted(capsys, "sample", *where, *option)
    assert status == 1 and f"{option[0]} is for sbatch, and --cluster local does not use it" in said


def test_logs_that_cannot_be_written_are_one_line(capsys, tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "file").write_text("")
    where = ["--tasks", "2", "--cluster", "local", *TINY, write_list(tmp_path, 3), f"output_dir={tmp_path / 'out'}"]
    status, said = submitted(capsys, "sample", *where, "--folder", str(tmp_path / "file" / "logs"))
    assert status == 1 and said.splitlines()[-1].endswith("name a folder for the logs with --folder"), said


def test_all_tasks_of_an_array_may_run_at_once(monkeypatch, tmp_path):
    submitit, given = pytest.importorskip("submitit"), {}

    class Executor:
        def __init__(self, folder, max_num_timeout):
            given.update(folder=folder, requeues=max_num_timeout)

        def update_parameters(self, **parameters):
            given.update(parameters)

        def submit_array(self, tasks):
            return list(tasks)

    monkeypatch.setattr(submitit, "SlurmExecutor", Executor)
    options = submit._parser("imap submit").parse_args(["sample", "--tasks", "300", "--gpus", "2"])
    tasks = [submit.ClusterTask(["sample"])] * 300
    assert submit.start(tasks, options, tmp_path) == tasks
    assert given["array_parallelism"] == 300 and given["gpus_per_node"] == 2 and given["requeues"] == submit.REQUEUES


def test_a_login_node_checks_with_the_precision_of_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    backbone = {"device": "cuda", "offload": "model", "dtype": "auto", "vae_dtype": "auto"}
    assert submit.on_a_gpu(backbone) == backbone | {"device": "cpu", "offload": "auto", "dtype": "bfloat16"}
    assert submit.on_a_gpu(backbone | {"dtype": "float16"})["dtype"] == "float16"
    assert submit.on_a_gpu(backbone | {"device": "cpu"}) == backbone | {"device": "cpu"}


@pytest.mark.parametrize(("text", "minutes"), [("90", 90), ("8:00:00", 480), ("0:10:01", 11), ("2-12:30:00", 3630)])
def test_times_are_those_of_sbatch(text, minutes):
    assert submit._minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "-5", "8h", "1:5", "0:00:00", "1-2"])
def test_other_times_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="time"):
        submit._minutes(text)


def test_what_a_machine_lacks_is_named(monkeypatch):
    options = submit._parser("imap submit").parse_intermixed_args(["sample", "--tasks", "2"])
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setitem(sys.modules, "submitit", type(sys)("submitit"))
    with pytest.raises(ImapError, match="no sbatch, srun or squeue here.*--cluster local"):
        submit._check_cluster(options)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImapError, match=r"pip install \"imap-video\[cluster\]\""):
        submit._check_cluster(options)


@pytest.mark.parametrize(
    ("script", "states"),
    [
        ("echo RUNNING; echo PENDING", ["running", "pending"]),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", []),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", ["unknown"]),
    ],
)
def test_an_array_has_ended_only_where_slurm_says_so(monkeypatch, tmp_path, script, states):
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert waiting.slurm_states("7") == states
