"""A real SLURM of one node: an array whose tasks are requeued, signalled and killed makes what one process makes."""

import os
import re
import signal
import sys

import psutil
import pytest

from benchmarks.kills import compare
from tests.runs.test_submit import LARGER, ROOT, imap, undisturbed, wait_for, write_list
from tests.slurm import Slurm, missing

pytestmark = pytest.mark.slow
SAMPLES, TASKS = 40, 4


@pytest.fixture
def slurm(tmp_path):
    absent = missing()
    if absent and os.environ.get("IMAP_SLURM") != "required":
        pytest.skip(f"SLURM is not installed here ({', '.join(absent)}); on Debian: apt-get install slurm-wlm munge")
    cluster = Slurm(tmp_path / "slurm")
    yield cluster
    cluster.close()


def number_of(said: str) -> str:
    """Of the array that was submitted."""
    return re.search(r"(?m)^(?:submitted: |Submitted batch job )(\d+)", said)[1]


def command_of(array: str, task: int) -> psutil.Process | None:
    """The process of a task's `imap sample`."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        given, around = process.info["cmdline"] or [], process.info["environ"] or {}
        ours = around.get("SLURM_ARRAY_JOB_ID") == array and f"shard.index={task}" in given
        if ours and process.ppid() != 1 and given[1:3] == ["-m", "imap"]:
            return process
    return None


def test_an_array_of_four_tasks_survives_a_requeue_a_signal_and_a_kill(slurm, tmp_path):
    pytest.importorskip("submitit")
    out, listed, log = tmp_path / "out", write_list(tmp_path, SAMPLES), tmp_path / "submit.log"
    settings = [*LARGER, "backbone.device=cpu", listed]  # the cluster's GPUs do not compute
    asked = ["submit", "sample", *settings, f"output_dir={out}", "--cpus", "1", "--wait"]
    with log.open("w") as file:
        process = imap(*asked, "--tasks", str(TASKS), env=slurm.environment, stdout=file)
    try:
        wait_for(lambda: "submitted: " in log.read_text() or process.poll() is not None)
        array = number_of(log.read_text())

        def works(task: int) -> bool:
            path = tmp_path / "out.logs" / f"{array}_{task}_0_log.out"
            return path.exists() and "[2/" in path.read_text()

        wait_for(lambda: all(works(task) for task in (1, 2, 3)))
        commands = [command_of(array, task) for task in range(TASKS)]
        assert sorted(one.environ()["CUDA_VISIBLE_DEVICES"] for one in commands) == ["0", "1", "2", "3"]
        slurm.said("scontrol", "requeue", f"{array}_1")
        slurm.said("scancel", "--signal=USR2", f"{array}_2")
        commands[3].send_signal(signal.SIGKILL)
        finished = len(list(out.glob("*/meta.json")))
        assert process.wait(600) == 0, log.read_text()
    finally:
        process.kill()
    assert TASKS - 1 <= finished < SAMPLES and f"{SAMPLES} of {SAMPLES} finished" in log.read_text()
    shown = [slurm.said("scontrol", "show", "job", f"{array}_{task}") for task in range(TASKS)]
    assert [re.search(r"Restarts=(\d)", text)[1] for text in shown] == ["0", "1", "1", "0"]
    assert [re.search(r"JobState=(\w+)", text)[1] for text in shown] == ["COMPLETED"] * 3 + ["FAILED"]
    wanted = undisturbed(tmp_path, *settings)
    assert len(wanted) > SAMPLES * 3 and not any(compare(out, wanted).values()), compare(out, wanted)


def test_the_script_for_sbatch_goes_on_after_a_requeue(slurm, tmp_path):
    program = tmp_path / "bin" / "imap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imap "$@"\n')
    program.chmod(0o755)
    slurm.environment["PATH"] = f"{program.parent}{os.pathsep}{slurm.environment['PATH']}"
    out, script = tmp_path / "out", str(ROOT / "scripts/slurm/array.sh")
    settings = [*LARGER, "backbone.device=cpu", write_list(tmp_path, 12)]
    options = ["--array=0-1", f"--output={tmp_path}/%a.log", "--chdir", str(ROOT)]
    array = number_of(slurm.said("sbatch", *options, script, "sample", *settings, f"output_dir={out}"))
    log = tmp_path / "1.log"
    wait_for(lambda: log.exists() and "[2/" in log.read_text())
    slurm.said("scancel", "--signal=USR1", "--batch", f"{array}_1")  # as SLURM does when the time is almost over
    wait_for(lambda: not slurm.said("squeue", "--noheader", f"--jobs={array}"), 600)
    assert "Restarts=1" in slurm.said("scontrol", "show", "job", f"{array}_1")
    assert log.read_text().count("imap: interrupted") == 1
    wanted = undisturbed(tmp_path, *settings)
    assert not any(compare(out, wanted).values()), compare(out, wanted)
