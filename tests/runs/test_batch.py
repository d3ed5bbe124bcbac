"""A list of samples resumes, goes on after a failure, and loses no result."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imap.runs.batch
from imap import ImapError, Maps
from imap.atomic import check_writable
from imap.config.samples import Sample, numbered
from imap.jobs.output import Output
from imap.map_files import read_meta
from imap.media.clips import read_clip
from imap.runs.batch import Tally, Task, run_tasks, versions
from imap.runs.failures import ERRORS, record_failure
from imap.runs.request import log_found, look_up, request

SETTINGS = {"seed": 42, "height": 16, "method": {"imap_layer": [0, 1]}, "model": {"name": "tiny_wan"}}


def samples(*prompts: str) -> list[tuple[str, Sample]]:
    return list(numbered([Sample(prompt, ("ball",), ("rolls",)) for prompt in prompts]))


def made(sample: Sample) -> Output:
    """Output of a sample; its values depend on the prompt."""
    value = float(sum(sample.prompt.encode()))
    maps = Maps({"imap": np.full((2, 1, 1, 1), value, np.float32)}, sample.concepts + sample.motions)
    return Output(np.zeros((5, 16, 32, 3), np.uint8), maps, {"video": "sampled", "seconds": {"denoise": 1.0}})


class Work:
    """Lists the prompts that it was called with, and fails for prompts with `bad`."""

    def __init__(self, bad: str = "bad", error: BaseException | None = None) -> None:
        self.bad, self.error, self.done = bad, error or RuntimeError("out of\nmemory"), []

    def __call__(self, sample: Sample) -> Output:
        self.done.append(sample.prompt)
        if self.bad in sample.prompt:
            raise self.error
        return made(sample)


def run(folder: Path, todo: list, work: Any, settings: dict = SETTINGS) -> Tally:
    """Runs the samples that are not finished."""
    check_writable(folder)
    tasks = [Task(name, sample, request(sample, settings)) for name, sample in todo]
    found = {task.name: look_up(folder / task.name, task.request) for task in tasks}
    log_found(found)
    finished = [name for name, one in found.items() if one.is_finished]
    tally = Tally(skipped=finished)
    left = [replace(x, replaces=bool(found[x.name].changed)) for x in tasks if x.name not in finished]
    run_tasks(left, folder, work, tally, {"fps": 8, "device": "cpu"})
    return tally


def visible(folder: Path) -> list[str]:
    """Everything in the folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_every_sample_gets_a_folder_with_video_arrays_and_record(tmp_path: Path):
    tally = run(tmp_path, samples("a", "b"), Work())
    assert tally == Tally(["000-a", "001-b"], [], []) and visible(tmp_path) == ["000-a", "001-b"]
    assert read_clip(tmp_path / "001-b" / "output.mp4").shape == (5, 16, 32, 3)
    assert np.load(tmp_path / "001-b" / "npy" / "imap.npy", allow_pickle=False)[0, 0, 0, 0] == ord("b")
    meta = read_meta(tmp_path / "001-b")
    assert meta["request"] == request(Sample("b", ("ball",), ("rolls",)), SETTINGS)
    assert meta["versions"] == versions() and {"python", "torch", "diffusers"} <= set(meta["versions"])
    assert set(meta["seconds"]) == {"denoise", "write"} and meta["video"] == "sampled"
    assert (meta["fps"], meta["device"]) == (8, "cpu")


def test_finished_samples_are_skipped_and_new_ones_done(tmp_path: Path):
    run(tmp_path, samples("a", "b"), Work())
    before = (tmp_path / "000-a" / "meta.json").stat().st_mtime_ns
    work = Work()
    tally = run(tmp_path, samples("a", "b", "c"), work)
    assert work.done == ["c"] and tally == Tally(["002-c"], ["000-a", "001-b"], [])
    assert (tmp_path / "000-a" / "meta.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "changed",
    [{"seed": 43}, {"method": {"imap_layer": [1, 0]}}, {"model": {"name": "tiny_cogvideox"}}, {"a_new_setting": 1}],
)
def test_a_changed_setting_redoes_the_sample_and_is_logged(changed: dict, tmp_path: Path, caplog):
    run(tmp_path, samples("a"), Work())
    caplog.set_level(logging.INFO, logger="imap")
    work = Work()
    assert run(tmp_path, samples("a"), work, SETTINGS | changed).done == ["000-a"] and work.done == ["a"]
    name = next(iter(changed))
    assert any(f"000-a: settings have changed ({name}" in message for message in caplog.messages)
    assert run(tmp_path, samples("a"), Work(), SETTINGS | changed).skipped == ["000-a"]


def test_settings_that_json_changes_are_still_equal(tmp_path: Path):
    settings = {"range": (0, 3), "nothing": None, 1: 2, "number": 0.1 + 0.2}
    run(tmp_path, samples("a"), Work(), settings)
    assert run(tmp_path, samples("a"), Work(), settings).skipped == ["000-a"]


def test_another_clip_with_the_same_name_redoes_the_sample(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"one")
    todo = [("000-a", Sample("a", ("ball",), (), clip))]
    run(tmp_path / "out", todo, Work())
    assert run(tmp_path / "out", todo, Work()).skipped == ["000-a"]
    clip.touch()
    assert run(tmp_path / "out", todo, Work()).skipped == ["000-a"]  # the same bytes, whatever the date
    clip.write_bytes(b"two")
    assert run(tmp_path / "out", todo, Work()).done == ["000-a"]
    clip.unlink()
    assert not look_up(tmp_path / "out" / "000-a", request(todo[0][1], SETTINGS)).is_finished


def test_a_failure_does_not_stop_the_others_and_is_recorded_with_its_traceback(tmp_path: Path, caplog):
    tally = run(tmp_path, samples("a", "bad", "c"), Work())
    assert tally == Tally(["000-a", "002-c"], [], ["001-bad"])
    assert visible(tmp_path) == ["000-a", "002-c", ERRORS]
    assert "001-bad failed (maps): out of" in caplog.messages
    entry = json.loads((tmp_path / ERRORS).read_text(encoding="utf-8"))
    assert (entry["sample"], entry["stage"], entry["error"]) == ("001-bad", "maps", "RuntimeError: out of\nmemory")
    assert "Traceback (most recent call last)" in entry["traceback"] and "raise self.error" in entry["traceback"]


def test_a_run_stops_after_so_many_failures_and_keeps_what_is_finished(tmp_path: Path):
    tasks = [Task(name, one, request(one, SETTINGS)) for name, one in samples("good", "bad 1", "fine", "bad 2", "last")]
    work, tally = Work(), Tally()
    with pytest.raises(ImapError, match="2 samples have failed, and max_failures=2; the run stops"):
        run_tasks(tasks, tmp_path, work, tally, {"fps": 8, "device": "cpu"}, max_failures=2)
    assert work.done == ["good", "bad 1", "fine", "bad 2"]
    assert [name.partition("-")[2] for name in tally.done] == ["good", "fine"] and len(tally.failed) == 2


def test_the_next_run_redoes_only_failed_samples(tmp_path: Path):
    todo = samples("a", "bad", "c")
    run(tmp_path, todo, Work())
    work = Work(bad="nothing is")
    assert run(tmp_path, todo, work) == Tally(["001-bad"], ["000-a", "002-c"], []) and work.done == ["bad"]
    assert visible(tmp_path) == ["000-a", "001-bad", "002-c", ERRORS]


def test_a_failing_redo_leaves_the_finished_folder(tmp_path: Path):
    run(tmp_path, samples("bad"), Work(bad="nothing is"))
    assert run(tmp_path, samples("bad"), Work(), SETTINGS | {"seed": 1}).failed == ["000-bad"]
    assert read_meta(tmp_path / "000-bad")["request"]["settings"]["seed"] == 42
    assert (tmp_path / "000-bad" / "output.mp4").is_file() and visible(tmp_path) == ["000-bad", ERRORS]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [False, True])
def test_a_crash_after_the_arrays_leaves_no_partial_folder(error, before: bool, tmp_path: Path, monkeypatch):
    if before:
        run(tmp_path, samples("a"), Work())
    write = Maps.write

    def write_and_crash(self, folder: Path, facts: dict) -> None:
        write(self, folder, facts)
        assert (folder / "npy" / "imap.npy").is_file() and (folder / "output.mp4").is_file()
        raise error

    monkeypatch.setattr(Maps, "write", write_and_crash)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, samples("a"), Work(), SETTINGS | {"seed": 1})
    else:
        assert run(tmp_path, samples("a"), Work(), SETTINGS | {"seed": 1}).failed == ["000-a"]
    assert [name for name in visible(tmp_path) if name != ERRORS] == (["000-a"] if before else [])
    if before:
        assert read_meta(tmp_path / "000-a")["request"]["settings"]["seed"] == 42
    monkeypatch.undo()
    assert run(tmp_path, samples("a"), Work(), SETTINGS | {"seed": 1}).done == ["000-a"]


def test_a_kill_while_a_folder_is_replaced_keeps_the_finished_sample(tmp_path: Path):
    run(tmp_path, samples("a"), Work())
    (tmp_path / "000-a").rename(tmp_path / ".000-a.old")  # as a killed redo leaves it
    assert run(tmp_path, samples("a"), Work()).skipped == ["000-a"] and visible(tmp_path) == ["000-a"]


def test_a_video_that_cannot_be_written_leaves_no_folder(tmp_path: Path, monkeypatch):
    def fails(*args: Any) -> None:
        raise OSError("no encoder")

    monkeypatch.setattr(imap.runs.batch, "write_video", fails)
    assert run(tmp_path, samples("a"), Work()).failed == ["000-a"] and visible(tmp_path) == [ERRORS]
    assert json.loads((tmp_path / ERRORS).read_text())["stage"] == "write"


def test_an_interrupt_stops_the_run_and_keeps_finished_samples(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, samples("a", "bad", "c"), Work(error=KeyboardInterrupt()))
    assert visible(tmp_path) == ["000-a"]


def test_each_failure_adds_a_line(tmp_path: Path):
    for error in (ValueError("é\nsecond line"), ValueError(""), KeyError("a")):
        record_failure(tmp_path, "000-a", "maps", error)
    lines = (tmp_path / ERRORS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["error"] for line in lines] == [
        "ValueError: é\nsecond line",
        "ValueError: ",
        "KeyError: 'a'",
    ]


def test_a_failure_without_a_message_is_logged_with_its_class(tmp_path: Path, caplog):
    record_failure(tmp_path, "000-a", "maps", MemoryError())
    assert caplog.messages == ["000-a failed (maps): MemoryError"]


def test_the_tally_counts_samples_and_lists_the_first_failures():
    assert str(Tally(["a"], ["b", "c"], [])) == "1 done, 2 already finished, 0 failed"
    assert str(Tally([], [], ["x", "y"])) == "0 done, 0 already finished, 2 failed (x, y)"
    assert str(Tally([], [], list("wxyz"))) == "0 done, 0 already finished, 4 failed (w, x, y ...)"


@pytest.mark.parametrize("damage", ["{", '{"layout": 1}', "", None])
def test_a_folder_with_a_damaged_record_is_redone(damage: str | None, tmp_path: Path):
    run(tmp_path, samples("a"), Work())
    meta = tmp_path / "000-a" / "meta.json"
    meta.unlink() if damage is None else meta.write_text(damage)
    assert run(tmp_path, samples("a"), Work()).done == ["000-a"]
    assert read_meta(tmp_path / "000-a")["texts"] == ["ball", "rolls"]


@pytest.mark.parametrize("damage", ["emptied", "removed"])
@pytest.mark.parametrize("name", ["npy/imap.npy", "output.mp4"])
def test_a_damaged_sample_is_made_again(damage, name, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    todo = samples("one", "two")
    run(tmp_path / "out", todo, made)
    path = tmp_path / "out" / todo[0][0] / name
    whole = path.read_bytes()
    path.write_bytes(b"") if damage == "emptied" else path.unlink()
    again = Work()
    assert run(tmp_path / "out", todo, again).skipped == [todo[1][0]]
    assert again.done == ["one"] and f"{name} missing or damaged" in caplog.text and path.read_bytes() == whole


def test_a_full_disk_ends_the_run_with_one_line(tmp_path, monkeypatch):
    todo, written = samples("one", "two", "three", "four"), []
    write = imap.runs.batch.write_video

    def full(path, *args, **kwargs):
        written.append(path)
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        write(path, *args, **kwargs)

    monkeypatch.setattr(imap.runs.batch, "write_video", full)
    work = Work()
    with pytest.raises(imap.ImapError, match="no space left on the device"):
        run(tmp_path / "out", todo, work)
    assert work.done == ["one", "two"]  # nothing is made that would be lost
    monkeypatch.setattr(imap.runs.batch, "write_video", write)
    assert run(tmp_path / "out", todo, work).skipped == [todo[0][0]] and work.done[2:] == ["two", "three", "four"]


def test_a_record_of_errors_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "out" / ERRORS).mkdir(parents=True)
    tally = run(tmp_path / "out", samples("bad", "good"), Work())
    assert len(tally.failed) == 1 and len(tally.done) == 1 and "the run goes on" in caplog.text


def test_files_of_file_managers_do_not_count(tmp_path):
    todo = samples("one")
    run(tmp_path / "out", todo, made)
    (tmp_path / "out" / todo[0][0] / ".DS_Store").touch()
    assert run(tmp_path / "out", todo, made, {**SETTINGS, "seed": 1}).failed == []
