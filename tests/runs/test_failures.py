"""errors.jsonl holds the failures of samples that are not finished, one whole line each."""

import json
import sys
from pathlib import Path
from subprocess import Popen

from imap.runs.failures import ERRORS, failures_of, forget_failures, record_checks, record_failure

RECORDER = """
import sys
from pathlib import Path
from imap.runs.failures import forget_failures, record_failure
for n in range(60):
    record_failure(Path(sys.argv[1]), f"{sys.argv[2]}{n}", "maps", ValueError("x" * 20000))
    forget_failures(Path(sys.argv[1]), [f"{sys.argv[2]}{n - 1}"] if n % 2 else ["none"])
"""


def names(folder: Path) -> list[str]:
    return [json.loads(line)["sample"] for line in (folder / ERRORS).read_text(encoding="utf-8").split("\n") if line]


def test_entries_of_finished_samples_are_dropped_and_others_stay(tmp_path: Path):
    for name, text in (("000-a", "one\u2028line\x85"), ("001-b", "two"), ("000-a", "three")):
        record_failure(tmp_path, name, "maps", ValueError(text))
    with (tmp_path / ERRORS).open("a") as file:
        file.write("not ours\n")
    forget_failures(tmp_path, ["001-b", "002-c"])
    lines = (tmp_path / ERRORS).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["sample"] for line in lines[:2]] == ["000-a", "000-a"] and lines[2:] == ["not ours", ""]


def test_a_file_without_entries_is_removed(tmp_path: Path):
    forget_failures(tmp_path, ["000-a"])
    record_failure(tmp_path, "000-a", "maps", ValueError("x"))
    forget_failures(tmp_path, ["000-a"])
    assert list(tmp_path.iterdir()) == []


def test_half_a_line_of_a_killed_process_spoils_no_other(tmp_path: Path):
    (tmp_path / ERRORS).write_text('{"sample": "000-')
    record_failure(tmp_path, "001-b", "maps", ValueError("x"))
    assert json.loads((tmp_path / ERRORS).read_text().split("\n")[1])["sample"] == "001-b"


def test_two_processes_lose_no_line(tmp_path: Path):
    processes = [Popen([sys.executable, "-c", RECORDER, str(tmp_path), name], stderr=-3) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(names(tmp_path)) == sorted(f"{name}{n}" for name in "ab" for n in range(60) if n % 2)
    assert [path.name for path in tmp_path.iterdir()] == [ERRORS]


def test_a_check_replaces_what_earlier_checks_of_the_same_samples_found(tmp_path: Path):
    record_failure(tmp_path, "000-a", "maps", ValueError("full"))
    for _ in range(2):
        record_checks(tmp_path, ["000-a", "001-b", "002-c"], {"001-b": ValueError("gone"), "002-c": ValueError("cut")})
    assert names(tmp_path) == ["000-a", "001-b", "002-c"]
    record_checks(tmp_path, ["001-b"], {})
    assert names(tmp_path) == ["000-a", "002-c"]  # another shard checks 002-c
    record_checks(tmp_path, ["000-a", "002-c"], {"000-a": ValueError("gone")})
    assert failures_of(tmp_path) == {"000-a": "check"} and names(tmp_path) == ["000-a", "000-a"]


def test_failures_before_a_time_are_left_out_but_for_those_of_the_check(tmp_path: Path):
    earlier = {"stage": "maps", "time": "2026-01-01T00:00:00+00:00", "error": "x"}
    lines = [{**earlier, "sample": "000-a"}, {**earlier, "sample": "001-b", "stage": "check"}]
    lines += [{"sample": "002-c", "stage": "maps"}]  # of an earlier version, without a time
    (tmp_path / ERRORS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    record_failure(tmp_path, "003-d", "write", ValueError("x"))
    assert failures_of(tmp_path, since="2026-02-01T00:00:00+00:00") == {"001-b": "check", "003-d": "write"}
    assert set(failures_of(tmp_path)) == {"000-a", "001-b", "002-c", "003-d"}
