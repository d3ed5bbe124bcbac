"""errors.jsonl holds the failures of samples that are not finished, one whole line each."""

import json
import sys
from pathlib import Path
from subprocess import Popen

from imap.runs.failures import ERRORS, forget_failures, record_failure

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
