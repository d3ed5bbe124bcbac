"""Whole commands: lists that change, samples that repeat, several processes on one folder, and signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imap.claims import claim
from imap.map_files import read_meta
from imap.media.video_io import write_video
from tests.runs.test_runner import ROOT, command, failing, listed, loads, visible  # noqa: F401

QUICK = ["num_inference_steps=1", "num_frames=5"]
SMALL = ["backbone=tiny_cogvideox", "height=32", "width=48", *QUICK]


def cards(out: Path) -> list[str]:
    return re.findall('data-name="([^"]*)"', (out / "report.html").read_text(encoding="utf-8"))


def start(out: Path, name: str, *settings: str) -> subprocess.Popen[str]:
    """The command in its own process."""
    arguments = [sys.executable, "-m", "imap", name, *SMALL, f"output_dir={out}", *settings]
    return subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ})


@pytest.mark.slow
def test_the_report_shows_this_list_in_its_order_and_nothing_is_made_again(command, loads, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    assert command("sampling", listed(tmp_path, "a ball", "a dog"), *QUICK, "pictures=true")[0] == 0
    status, said = command("sampling", listed(tmp_path, "a cat", "a ball", "a dog"), *QUICK, "pictures=true")
    assert status == 0 and "1 done, 2 already finished" in said
    assert cards(out) == ["000-a-cat", "000-a-ball", "001-a-dog"]
    status, said = command("sampling", listed(tmp_path, "a dog"), *QUICK, "pictures=true")
    assert "out also holds 2 of other lists; they stay" in said and "0 done, 1 already" in said
    assert cards(out) == ["001-a-dog"] and len(visible(out)) == 4
    before = (out / "report.html").stat().st_mtime_ns
    command("sampling", listed(tmp_path, "a dog"), *QUICK, "pictures=true")
    assert (out / "report.html").stat().st_mtime_ns == before
    os.utime(out / "001-a-dog" / "meta.json")  # as a killed process leaves it, which made it again after the report
    command("sampling", listed(tmp_path, "a dog"), *QUICK, "pictures=true")
    assert (out / "report.html").stat().st_mtime_ns > before


@pytest.mark.slow
def test_prompts_of_one_name_keep_their_results(command, loads, tmp_path):  # noqa: F811
    for prompt in ("日本", "中国", "a ball!", "a ball?"):
        assert command("sampling", f"prompt={prompt}", "concepts=ball", *QUICK)[0] == 0
    prompts = [read_meta(path)["request"]["sample"]["prompt"] for path in (tmp_path / "out").glob("0*")]
    assert sorted(prompts) == sorted(["日本", "中国", "a ball!", "a ball?"])


def test_repeated_samples_are_told(command, loads, tmp_path):  # noqa: F811
    _, said = command("sampling", listed(tmp_path, "a ball", "a dog", "a ball"), *QUICK)
    assert said.count("1 of the list are the same as ones before them, and are made again: 002-a-ball") == 1
    _, said = command("sampling", listed(tmp_path, "a ball", "a dog", "a ball"), *QUICK)
    assert "0 done, 3 already finished" in said and "the same" not in said


@pytest.mark.slow
def test_other_settings_of_a_list_are_told_in_one_line(command, loads, tmp_path):  # noqa: F811
    command("sampling", listed(tmp_path, "a ball", "a dog"), *QUICK)
    _, said = command("sampling", listed(tmp_path, "a ball", "a dog"), *QUICK, "seed=7")
    assert said.count("settings have changed") == 1 and "2 samples: settings have changed (seed)" in said


def test_only_failures_of_other_samples_are_kept(command, loads, failing, tmp_path):  # noqa: F811
    request = [listed(tmp_path, "a bad ball", "a bad dog"), *QUICK]
    failing("bad", RuntimeError("broken"))
    command("sampling", *request)
    failing("dog", RuntimeError("broken"))
    assert command("sampling", *request)[0] == 1
    lines = (tmp_path / "out" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["sample"] for line in lines] == ["001-a-bad-dog"] * 2


def test_leftovers_inside_a_sample_are_cleared(command, loads, tmp_path, dead):  # noqa: F811
    command("sampling", listed(tmp_path, "a ball"), *QUICK)
    sample = tmp_path / "out" / "000-a-ball"
    for left in (f".view.partial-{dead}", f".view.partial-{os.getppid()}"):
        (sample / left).mkdir()
    command("sampling", listed(tmp_path, "a ball"), *QUICK)
    assert [x for x in visible(sample) if x.startswith(".")] == [f".view.partial-{os.getppid()}"]


@pytest.mark.slow
def test_a_sample_of_a_live_process_comes_last(command, loads, tmp_path):  # noqa: F811
    (tmp_path / "out").mkdir()
    holder = f"import time, pathlib\nfrom imap.claims import claim\nwith claim(pathlib.Path({str(tmp_path)!r}, 'out', "
    holder += "'000-a-ball')): print(flush=True); time.sleep(1)"
    other = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE)
    other.stdout.readline()
    status, said = command("sampling", listed(tmp_path, "a ball", "a dog"), *QUICK)
    assert status == 0 and "2 done" in said and visible(tmp_path / "out") == ["000-a-ball", "001-a-dog"]
    order = [said.index(x) for x in ("] 001-a-dog", "waiting for 1 that another process", "] 000-a-ball")]
    assert order == sorted(order) and other.wait() == 0


def test_a_sample_that_another_process_finishes_is_not_made_again(command, loads, tmp_path, monkeypatch):  # noqa: F811
    """It is finished between the plan and its turn."""
    command("sampling", listed(tmp_path, "a ball", "a dog"), *QUICK)
    out = tmp_path / "out"
    (out / "001-a-dog").rename(tmp_path / "away")
    import imap.runs.runner

    load = imap.runs.runner.load

    def slow_load(*arguments):
        (tmp_path / "away").rename(out / "001-a-dog")
        return load(*arguments)

    monkeypatch.setattr(imap.runs.runner, "load", slow_load)
    status, said = command("sampling", listed(tmp_path, "a ball", "a dog"), *QUICK)
    assert status == 0 and "0 done, 2 already finished" in said and "made by other processes meanwhile: 1" in said


def test_results_of_another_process_with_other_settings_are_not_replaced(command, loads, tmp_path, monkeypatch):  # noqa: F811
    """It makes both samples between the plan and their turn."""
    import imap.runs.runner

    request, out = [listed(tmp_path, "a ball", "a dog"), *QUICK], tmp_path / "out"
    command("sampling", *request, "seed=7")
    out.rename(tmp_path / "away")
    load = imap.runs.runner.load

    def slow_load(*arguments):
        for sample in (tmp_path / "away").iterdir():
            sample.rename(out / sample.name)
        return load(*arguments)

    monkeypatch.setattr(imap.runs.runner, "load", slow_load)
    status, _ = command("sampling", *request)
    assert "other settings (settings.seed), and has made 000-a-ball; nothing of it was replaced" in str(status)
    assert [(read_meta(out / name) or {})["request"]["settings"]["seed"] for name in visible(out)[:2]] == [7, 7]


@pytest.mark.slow
def test_view_tells_of_runs_with_different_settings(command, loads, tmp_path, capsys):  # noqa: F811
    from imap.view.__main__ import main

    command("sampling", "prompt=a ball", "concepts=ball", *QUICK)
    for seed, line in (("42", ""), ("7", "out holds samples of 2 runs with different settings\n")):
        command("sampling", "prompt=a dog", "concepts=dog", *QUICK, f"seed={seed}")
        with pytest.raises(SystemExit):
            main([str(tmp_path / "out"), "--no-pictures"])
        assert capsys.readouterr().err.endswith(line)
        assert cards(tmp_path / "out") == ["000-a-ball", "000-a-dog"]


@pytest.mark.slow
def test_pictures_of_the_working_folder_are_drawn(command, loads, tmp_path, monkeypatch):  # noqa: F811
    from imap.view.__main__ import main

    command("sampling", "prompt=a ball", "concepts=ball", *QUICK)
    monkeypatch.chdir(tmp_path / "out" / "000-a-ball")
    with pytest.raises(SystemExit) as end:
        main([".", "--no-report"])
    assert end.value.code == 0 and visible(tmp_path / "out") == ["000-a-ball"]


@pytest.mark.slow
def test_two_processes_share_a_list(tmp_path):
    request = [listed(tmp_path, "a ball", "a dog", "a cat", "a box", "a kite"), "pictures=true"]
    processes = [start(tmp_path / "out", "sample", *request) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    counts = [re.search(r"(\d+) done, (\d+) already finished, 0 failed", text) for text in said]
    assert sum(int(x[1]) for x in counts) == 5 and all(int(x[1]) + int(x[2]) == 5 for x in counts)
    names = ["000-a-ball", "001-a-dog", "002-a-cat", "003-a-box", "004-a-kite"]
    assert visible(tmp_path / "out") == [*names, "report.html"] and cards(tmp_path / "out") == names
    assert "no pictures" not in "".join(said)
    assert all((tmp_path / "out" / name / "view" / "view.json").is_file() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"),
    [("", signal.SIGINT), ("", signal.SIGTERM), ("loading", signal.SIGINT), ("[1/200]", signal.SIGTERM)],
)
def test_a_signal_ends_a_run_and_what_is_finished_is_told(moment: str, number: int, tmp_path):
    """ "" is while libraries are imported."""
    clip = tmp_path / "clip.mp4"
    write_video(clip, np.zeros((5, 32, 48, 3), np.uint8), 8)
    prompts = [f"a ball {n}" for n in range(200)]
    request = listed(tmp_path, *prompts, clips=[clip] * 200)
    process = start(tmp_path / "out", "renoise", request, "pictures=false", "renoise_timestep=0")
    said = ""
    if moment:
        for line in process.stderr:
            said += line
            if moment in line:
                break
    else:
        time.sleep(1.5)
    process.send_signal(number)
    said += process.communicate(timeout=20)[1]
    assert process.returncode == 128 + number, said
    assert said.splitlines()[-1] == "imap: interrupted; run the same command again to continue", said
    assert "Traceback" not in said and (not moment or " already finished, 0 failed" in said)
    out = visible(tmp_path / "out") if (tmp_path / "out").exists() else []
    assert not [name for name in out if name.startswith(".")]


@pytest.mark.slow
def test_a_run_that_waits_for_a_process_can_be_interrupted(tmp_path):
    (tmp_path / "out").mkdir()
    with claim(tmp_path / "out" / "000-a-ball"):
        process = start(tmp_path / "out", "sample", listed(tmp_path, "a ball"), "pictures=false")
        for line in process.stderr:
            if "waiting for 1" in line:
                break
        process.send_signal(signal.SIGINT)
        assert "0 done, 0 already finished" in process.communicate(timeout=20)[1] and process.returncode == 130
