"""Several devices of one machine: two processes make what one makes, and the log names their ends."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.kills import compare, files_of
from imap.runs.devices import THREADS, environment, names_of
from tests.runs.test_runner import listed, moving_square
from tests.runs.test_together import start

WORDS = ("a ball", "a dog", "a cat", "a box", "a kite")
SETTINGS = ("backbone=tiny_wan", "renoise_timestep=0")


def clips_of(folder: Path, missing: bool = False) -> str:
    """A list of clips, of which one may be missing."""
    clips = [moving_square(folder / f"{i}.mp4", 5, 32, 48, 200 + i) for i in range(len(WORDS))]
    if missing:
        clips[2].unlink()
    return listed(folder, *WORDS, clips=clips)


def children(process: subprocess.Popen) -> list[int]:
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return [int(x) for x in said.split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_process_sees_one_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment(3, 4)["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7a")  # of a scheduler
    assert [environment(i, 2)["CUDA_VISIBLE_DEVICES"] for i in range(2)] == ["4", "GPU-7a"]
    assert names_of((2, 0)) == ["GPU 2", "GPU 0"] and names_of(("cpu", "cpu")) == ["CPU 0", "CPU 1"]


def test_processes_on_the_cpu_share_its_threads(monkeypatch):
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(7)), raising=False)
    assert [environment("cpu", count)[THREADS] for count in (1, 2, 8)] == ["7", "3", "1"]
    monkeypatch.setenv(THREADS, "5")
    assert environment("cpu", 2)[THREADS] == "5"


@pytest.mark.slow
def test_two_processes_make_what_one_makes(tmp_path: Path):
    """Byte by byte, with the report and the failure of a missing clip, which the log names once."""
    request = [*SETTINGS, clips_of(tmp_path, missing=True), "pictures=true"]
    said, runs = {}, {"one": "devices=null", "two": "devices=[cpu,cpu]"}
    for name, devices in runs.items():
        (tmp_path / name).mkdir()
        process = start(tmp_path / name / "out", "renoise", *request, devices)
        said[name] = process.communicate()[1]
        assert process.returncode == 1, said[name]
    assert not any(compare(tmp_path / "two/out", files_of(tmp_path / "one/out")).values())
    assert said["two"].count("002-a-cat failed (check)") == 1
    assert len((tmp_path / "two/out/errors.jsonl").read_text().splitlines()) == 1
    counts = re.findall(r"(?m)^\[CPU \d\] (\d+) done, \d+ already finished, 0 failed$", said["two"])
    assert len(counts) == 2 and sum(map(int, counts)) == 4, said["two"]
    assert said["two"].splitlines()[-1].endswith("out: 4 done, 0 already finished, 1 failed (002-a-cat)")
    assert said["two"].count("report.html") == 1


@pytest.mark.slow
def test_the_others_do_the_part_of_a_process_that_is_killed(tmp_path: Path):
    process = start(tmp_path / "out", "renoise", *SETTINGS, clips_of(tmp_path), "pictures=false", "devices=[cpu,cpu]")
    said = ""
    for line in process.stderr:
        said += line
        if "loading" in line:
            os.kill(children(process)[0], signal.SIGKILL)
            break
    said += process.communicate()[1]
    assert process.returncode == 0 and "[CPU 0] its process has ended with status -9; the others go on" in said, said
    assert "[CPU 1] 5 done, 0 already finished, 0 failed" in said and "out: 5 done" in said


@pytest.mark.slow
def test_a_run_whose_processes_have_all_ended_has_failed(tmp_path: Path):
    process = start(tmp_path / "out", "renoise", *SETTINGS, clips_of(tmp_path), "pictures=false", "devices=[cpu,cpu]")
    while len(children(process)) < 2:
        time.sleep(0.05)
    for pid in children(process):
        os.kill(pid, signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == 1 and "5 samples are not done, as processes have ended early" in said, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("[CPU 1] loading", signal.SIGINT),
        ("[1/200]", signal.SIGKILL),
    ],
)
def test_a_signal_ends_all_processes(moment: str, number: int, tmp_path: Path):
    clip = moving_square(tmp_path / "clip.mp4", 5, 32, 48)
    request = listed(tmp_path, *(f"a ball {n}" for n in range(200)), clips=[clip] * 200)
    process = start(tmp_path / "out", "renoise", *SETTINGS, request, "pictures=false", "devices=[cpu,cpu]")
    said = ""
    for line in process.stderr:
        said += line
        if moment in line:
            break
    while len(pids := children(process)) < 2:
        time.sleep(0.01)
    process.send_signal(number)
    said += process.communicate(timeout=60)[1]
    if number == signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 128 + number, said
        assert said.splitlines()[-1] == "imap: interrupted; run the same command again to continue", said
        assert "Traceback" not in said and " already finished, 0 failed" in said
    end = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))
    done = list((tmp_path / "out").glob("0*"))
    assert all(json.loads((path / "meta.json").read_text())["layout"] for path in done)
