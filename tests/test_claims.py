"""A claim excludes other processes, ends with its process, and leaves no file."""

import errno
import logging
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

import imap.claims
from imap.claims import claim, each_claimed, lock_of

HOLDER = """
import sys, time
from pathlib import Path
from imap.claims import claim
with claim(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float = 60) -> Popen:
    """A process that has claimed the path."""
    process = Popen([sys.executable, "-c", HOLDER, str(path), str(seconds)], stdout=PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    return process


def test_a_claim_of_a_live_process_holds_and_that_of_a_killed_one_does_not(tmp_path: Path):
    process = holder(tmp_path / "000-a")
    with claim(tmp_path / "000-a") as mine, claim(tmp_path / "001-b") as other:
        assert (mine, other) == (False, True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lock_of(tmp_path / "000-a").exists()
    with claim(tmp_path / "000-a") as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


def test_waiting_ends_with_the_other_process(tmp_path: Path):
    process, start = holder(tmp_path / "a", 0.3), time.monotonic()
    with claim(tmp_path / "a", wait=True) as mine:
        assert mine and time.monotonic() - start > 0.1
    assert process.wait() == 0 and list(tmp_path.iterdir()) == []


def test_only_one_at_a_time_has_a_claim_although_its_file_comes_and_goes(tmp_path: Path):
    inside, most, total = [], [], []

    def work():
        for _ in range(100):
            with claim(tmp_path / "a", wait=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()
                total.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(total) == 400 and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_items_of_other_processes_come_last(tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    process = holder(tmp_path / "b", 0.5)
    assert list(each_claimed("abc", tmp_path.joinpath)) == ["a", "c", "b"]
    assert process.wait() == 0 and caplog.messages == ["waiting for 1 that another process works on: b"]
    assert list(tmp_path.iterdir()) == []


def test_an_item_is_claimed_while_it_is_worked_on_and_after_a_failure_it_is_not(tmp_path: Path):
    with pytest.raises(KeyError), closing(each_claimed("ab", tmp_path.joinpath)) as items:
        for item in items:
            with claim(tmp_path / item) as mine:
                assert not mine
            raise KeyError(item)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_once_and_work_goes_on(code: int, tmp_path: Path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(imap.claims.fcntl, "flock", flock)
    assert list(each_claimed("abc", tmp_path.joinpath)) == ["a", "b", "c"]
    assert len(caplog.messages) == 1 and "cannot be locked" in caplog.text and list(tmp_path.iterdir()) == []


def test_another_error_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError), claim(tmp_path / "none" / "a"):
        pass
