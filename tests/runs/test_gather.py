"""imap gather: shards of separate folders become one run, all or nothing, also repeatedly."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from imap import ImapError
from imap.cli.main import main
from imap.runs.failures import ERRORS, record_failure
from imap.runs.gather import gather
from imap.runs.listing import LIST, read_list, write_list
from imap.runs.request import request
from tests.runs.test_batch import SETTINGS, Work, run, samples
from tests.runs.test_together import cards

LISTED = samples("a", "b", "c", "d")


def shard(folder: Path, places: list[int], settings: dict = SETTINGS) -> Path:
    run(folder, [LISTED[i] for i in places], Work(), settings)
    write_list(folder, {name: request(sample, settings) for name, sample in LISTED})
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shards_are_joined_and_later_samples_are_added(tmp_path: Path, capsys):
    a, b, out = shard(tmp_path / "a", [0, 2]), shard(tmp_path / "b", [1]), tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        main(["gather", str(out), str(a), str(b)])
    assert end.value.code == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: 3 of 4 done, 0 failed, 0 in work, 1 left")
    assert "3 new from 2 folders" in said.err
    assert cards(out) == ["000-a", "001-b", "002-c"] and read_list(out) == read_list(a)
    one = files(out / "000-a")
    assert one == files(a / "000-a") and os.path.samefile(out / "000-a/meta.json", a / "000-a/meta.json")
    before = (out / "report.html").stat().st_mtime_ns
    gather(out, [a, b])
    assert (out / "report.html").stat().st_mtime_ns == before
    shard(b, [1, 3])
    gather(out, [a, b])
    assert cards(out) == ["000-a", "001-b", "002-c", "003-d"]
    assert sorted(x.name for x in out.iterdir()) == [LIST, "000-a", "001-b", "002-c", "003-d", "report.html"]


def test_files_are_copied_where_they_cannot_be_linked(tmp_path: Path, monkeypatch):
    def refused(*paths: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refused)
    a = shard(tmp_path / "a", [0])
    gather(tmp_path / "out", [a])
    copied, made = tmp_path / "out/000-a", a / "000-a"
    assert files(copied) == files(made) and not os.path.samefile(copied / "meta.json", made / "meta.json")
    assert (copied / "meta.json").stat().st_mtime_ns == (made / "meta.json").stat().st_mtime_ns  # of the rate


def test_different_results_of_one_name_are_refused_before_anything_is_written(tmp_path: Path):
    a, b = shard(tmp_path / "a", [0, 2]), shard(tmp_path / "b", [0], {**SETTINGS, "seed": 7})
    with pytest.raises(ImapError, match=r"a/000-a and \S+b/000-a are different results \(settings.seed\); gather"):
        gather(tmp_path / "out", [a, b])
    c = shard(tmp_path / "c", [1], {**SETTINGS, "seed": 7})  # its own part alone
    with pytest.raises(ImapError, match="the list of .*c has another sample or other settings for 000-a"):
        gather(tmp_path / "out", [a, c])
    assert not (tmp_path / "out").exists()


def test_pictures_that_are_drawn_later_are_added(tmp_path: Path):
    a = shard(tmp_path / "a", [0])
    gather(tmp_path / "out", [a])
    (a / "000-a/view").mkdir()
    (a / "000-a/view/view.json").write_text("{}")
    gather(tmp_path / "out", [a])
    assert files(tmp_path / "out/000-a") == files(a / "000-a")


def test_failures_are_joined_and_dropped_when_the_sample_is_there(tmp_path: Path):
    a, b, out = shard(tmp_path / "a", [0]), shard(tmp_path / "b", [1]), tmp_path / "out"
    record_failure(a, "001-b", "maps", RuntimeError("done by the other"))
    record_failure(a, "002-c", "maps", RuntimeError("broken"))
    record_failure(b, "003-d", "check", RuntimeError("broken"))
    for _ in range(2):
        gather(out, [a, b])
        names = [json.loads(line)["sample"] for line in (out / ERRORS).read_text().splitlines()]
        assert names == ["002-c", "003-d"]
    shard(a, [0, 2])
    shard(b, [1, 3])
    gather(out, [a, b])
    assert not (out / ERRORS).exists()


def test_a_sample_that_is_not_whole_is_left_for_later(tmp_path: Path, caplog):
    a = shard(tmp_path / "a", [0, 1])
    (a / "000-a/npy/imap.npy").write_bytes(b"half")
    gather(tmp_path / "out", [a])
    assert "000-a: files are missing or damaged, or it is being written" in caplog.text
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == [LIST, "001-b", "report.html"]


def test_other_folders_are_refused(tmp_path: Path):
    a = shard(tmp_path / "a", [0])
    (tmp_path / "empty").mkdir()
    for out, run_folder, message in [
        (a, a, "is the folder to gather in, and one of the runs"),
        (tmp_path / "out", tmp_path / "no", "there is no folder"),
        (tmp_path / "out", tmp_path / "empty", "holds no samples and no list of them"),
    ]:
        with pytest.raises(ImapError, match=message):
            gather(out, [run_folder])


def test_new_pictures_leave_the_other_files_of_a_sample(tmp_path: Path):
    """Truth that was put beside the maps in the gathered folder is not the shard's."""
    (a, out), todo = (tmp_path / "a", tmp_path / "out"), samples("a")
    run(a, todo, Work())
    gather(out, [a])
    (out / "000-a" / "truth.npz").write_bytes(b"truth")
    (a / "000-a" / "view").mkdir()
    (a / "000-a" / "view" / "view.json").write_text("{}")
    gather(out, [a])
    assert (out / "000-a" / "truth.npz").read_bytes() == b"truth"
    assert (out / "000-a" / "view" / "view.json").read_text() == "{}"


def test_a_folder_with_foreign_files_is_left_and_the_others_are_gathered(tmp_path: Path, caplog):
    (a, out), todo = (tmp_path / "a", tmp_path / "out"), samples("a", "b")
    run(a, todo, Work())
    gather(out, [a])
    (out / "000-a" / "notes.txt").write_text("mine")
    (out / "000-a" / "output.mp4").unlink()
    shutil.rmtree(out / "001-b")
    assert gather(out, [a]) is False
    assert "000-a was not gathered" in caplog.text and "notes.txt" in caplog.text
    assert (out / "001-b" / "meta.json").is_file() and (out / "000-a" / "notes.txt").is_file()
    assert gather(tmp_path / "new", [a]) is True
