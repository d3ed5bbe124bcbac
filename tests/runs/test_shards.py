"""Shards do their part of a list first, and nothing else where files cannot be locked."""

import errno
import logging
from pathlib import Path

import pytest

import imap.claims
import imap.runs.sample_checks
from imap.config.scale import Scale
from imap.runs.batch import Task
from imap.runs.shards import own_part, shard_of, shard_order, share_of
from tests.runs.test_batch import samples
from tests.runs.test_runner import command, listed, loads, moving_square, visible  # noqa: F401

NAMES = [f"{i}" for i in range(13)]
TASKS = [Task(name, samples(name)[0][1], {}) for name in NAMES]
QUICK = ["num_inference_steps=1", "num_frames=5"]


def named(tasks: list[Task]) -> list[str]:
    return [task.name for task in tasks]


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refused(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(imap.claims.fcntl, "flock", refused)
    imap.claims._warn.cache_clear()


def test_shards_begin_with_their_part_of_the_whole_list_and_help_with_the_rest():
    tasks = [task for task in TASKS[:7] if task.name not in ("1", "2")]  # these are finished
    order = [named(shard_order(tasks, NAMES[:7], index, 3)) for index in range(3)]
    assert order == [["0", "3", "6", "4", "5"], ["4", "5", "0", "3", "6"], ["5", "0", "3", "6", "4"]]
    assert shard_order(tasks, NAMES[:7], 0, 1) == tasks


@pytest.mark.slow
def test_a_shard_decodes_its_clips_and_the_first_good_one(command, loads, tmp_path, monkeypatch):  # noqa: F811
    """A clip of another part that is broken fails when its turn comes."""
    clips = [moving_square(tmp_path / f"{i}.mp4", 5, 32, 48, 200 + i) for i in range(6)]
    clips[0].write_bytes(b"broken")
    clips[4].write_bytes(b"broken too")
    decoded, decode = [], imap.runs.sample_checks.as_clip
    monkeypatch.setattr(imap.runs.sample_checks, "as_clip", lambda path: decoded.append(path) or decode(path))
    request = ["backbone=tiny_wan", listed(tmp_path, *"abcdef", clips=clips), "renoise_timestep=0", "num_frames=5"]
    status, said = command("renoising", *request, "shard.index=2", "shard.count=3")
    assert [path.name for path in decoded] == ["0.mp4", "1.mp4", "2.mp4", "5.mp4"]
    assert status == 1 and "000-a failed (check)" in said and "004-e failed (maps)" in said and "4 done" in said
    decoded.clear()
    elsewhere = f"output_dir={tmp_path / 'planned'}"
    command("renoising", *request, "shard.index=2", "shard.count=3", "dry_run=true", elsewhere)
    assert len(decoded) == 6


def test_a_shard_with_a_folder_of_its_own_helps_nobody(tmp_path: Path):
    parts = [named(shard_of(TASKS, NAMES, Scale(index=i, count=3, helps=False), tmp_path)) for i in range(3)]
    assert parts == [NAMES[i::3] for i in range(3)]


def test_devices_of_all_shards_begin_with_different_samples(tmp_path: Path):
    """Two machines of three GPUs: six parts."""
    shares = []
    for index in range(2):
        scale = Scale(index=index, count=2, devices=(0, 1, 2))
        tasks = shard_of(TASKS, NAMES, scale, tmp_path)
        shares += [named(share_of(tasks, NAMES, scale, place, tmp_path)) for place in range(3)]
    assert [share[0] for share in shares] == ["0", "2", "4", "1", "3", "5"]
    assert all(sorted(share) == sorted(NAMES) for share in shares)


def test_without_locks_devices_do_their_parts_alone(no_locks, tmp_path: Path, caplog):
    shares = []
    for index in range(2):
        scale = Scale(index=index, count=2, devices=(0, 1, 2))
        tasks = shard_of(TASKS, NAMES, scale, tmp_path)
        shares += [named(share_of(tasks, NAMES, scale, place, tmp_path)) for place in range(3)]
    assert shares[0] == ["0", "6", "12"] and sorted(x for share in shares for x in share) == sorted(NAMES)
    assert len(caplog.messages) == 2 and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_locks_a_shard_says_once_that_it_does_its_part_alone(no_locks, command, loads, tmp_path: Path):  # noqa: F811
    settings = [listed(tmp_path, "a ball", "a dog", "a cat"), *QUICK, "shard.count=2"]
    status, said = command("sampling", *settings, "shard.index=1")
    assert status == 0 and visible(tmp_path / "out") == ["001-a-dog"] and "1 done, 0 already" in said
    assert said.count("files cannot be locked here; each process does its own part of the list") == 1
    status, said = command("sampling", *settings, "shard.index=0")
    assert "2 done, 1 already" in said and visible(tmp_path / "out") == ["000-a-ball", "001-a-dog", "002-a-cat"]


def test_one_process_needs_no_locks(no_locks, tmp_path: Path, caplog):
    with caplog.at_level(logging.INFO, "imap"):
        assert shard_of(TASKS, NAMES, Scale(), tmp_path) == TASKS
    assert caplog.messages == [] and own_part(TASKS, NAMES, Scale()) == TASKS
