"""What killed runs leave is cleared, nobody else's files are, and several processes may write one folder."""

import os
import sys
import time
from pathlib import Path
from subprocess import Popen

import pytest

from imap.atomic import HOST, check_writable, clear_leftovers, replaced, write_folder

OTHER_HOST = "00000000"
WRITER = """
import json, sys, time
from pathlib import Path
from imap.atomic import replaced, write_folder
folder, value, end = Path(sys.argv[1]), sys.argv[2], time.time() + float(sys.argv[3])
def write(partial):
    for name in ("one", "two"):
        (partial / name).write_text(value * 1000)
while time.time() < end:
    write_folder(folder / "000-a", write, ("one", "two"))
    with replaced(folder / "report.html") as part:
        part.write_text(value * 1000)
"""


def left_in(folder: Path, *names: str) -> list[Path]:
    """Folders with a file, all long ago."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "file").touch()
        os.utime(folder / name, (0, 0))
    return [folder / name for name in names]


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path: Path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_only_the_projects_own_leftovers_are_removed(tmp_path: Path, dead: int):
    kept = left_in(tmp_path, ".photos.partial-2019", ".photos.old", f"000-a/.photos.partial-{dead}", ".000.partial-1x")
    gone = left_in(
        tmp_path,
        f".000-a-ball.partial-{dead}",  # as earlier versions called it
        f".1000-a-ball.partial-{dead}-{HOST}",
        f".000-a.old-{dead}-{HOST}",
        f"000-a/.view.partial-{dead}",
        f"000-a/.view.partial-{dead}-{HOST}",
        f"000-a/view/.report.html.partial-{dead}-{HOST}",
    )
    (tmp_path / f".report.html.partial-{dead}-{HOST}").touch()
    (tmp_path / ".000-a.lock").touch()
    (tmp_path / ".gimp.lock").touch()
    check_writable(tmp_path)
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)
    assert not (tmp_path / ".000-a.lock").exists() and (tmp_path / ".gimp.lock").exists()
    assert not list(tmp_path.glob(".report*"))


def test_leftovers_of_a_live_process_stay(tmp_path: Path):
    names = [f"000-a/.view.partial-{os.getppid()}{host}" for host in ("", f"-{HOST}")]
    kept = left_in(tmp_path, *names, f".000-a.old-{os.getppid()}-{HOST}")
    clear_leftovers(tmp_path)
    assert all(path.exists() for path in kept)


def test_a_process_on_another_computer_counts_as_alive_for_a_day(tmp_path: Path, dead: int):
    old, young = left_in(tmp_path, f".000-a.partial-{dead}-{OTHER_HOST}", f".001-a.partial-{dead}-{OTHER_HOST}")
    os.utime(young)
    clear_leftovers(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("name", [".000-a.old-{}-{}", ".000-a.old"])
def test_a_result_that_a_killed_process_had_moved_away_comes_back(name: str, tmp_path: Path, dead: int):
    left_in(tmp_path, name.format(dead, HOST))
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["000-a"] and (tmp_path / "000-a" / "file").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_file_is_replaced_whole_or_not_at_all(error, tmp_path: Path):
    with replaced(tmp_path / "a.json") as part:
        part.write_text("one")
    with pytest.raises(error), replaced(tmp_path / "a.json") as part:
        part.write_text("half")
        raise error
    assert (tmp_path / "a.json").read_text() == "one" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_another_process_puts_in_between_is_replaced(tmp_path: Path):
    """The other one comes after this process has moved the old folder away, which a race rarely hits."""
    calls, move = [], os.replace

    def replace(source, target):
        if ".a.partial-" in str(source) and not calls:
            calls.append(left_in(tmp_path, "a"))
        move(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        write_folder(tmp_path / "a", lambda partial: (partial / "new").touch(), ("file", "new"))
    assert calls and [x.name for x in tmp_path.rglob("*")] == ["a", "new"]


def test_two_processes_write_one_folder_and_one_file(tmp_path: Path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    processes = [Popen([*command, value, "1"]) for value in "ab"]
    torn = 0
    while any(process.poll() is None for process in processes):
        page = tmp_path / "report.html"
        torn += page.exists() and page.read_text() not in ("a" * 1000, "b" * 1000)
        time.sleep(0.002)
    assert [process.returncode for process in processes] == [0, 0] and not torn
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000-a", "report.html"]
    texts = {(tmp_path / "000-a" / name).read_text() for name in ("one", "two")}
    assert texts in ({"a" * 1000}, {"b" * 1000})
