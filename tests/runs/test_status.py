"""imap status: counts, rate and remaining time of planted runs."""

import json
import os
import shutil
from pathlib import Path

import pytest

from imap import ImapError
from imap.cli.main import main
from imap.runs.failures import ERRORS, record_failure
from imap.runs.folders import RUN
from imap.runs.listing import LIST, write_list
from imap.runs.request import request
from imap.runs.status import duration, print_status, rate_of, status_of, together
from tests.runs.test_batch import SETTINGS, Work, run, samples
from tests.test_claims import holder

NOW = 1_000_000.0


def planted(folder: Path, finished: slice, settings: dict = SETTINGS) -> list:
    """A run of five samples, of which some are finished, one per 30 s until 10 s ago."""
    todo = samples("a", "b", "c", "d", "e")
    run(folder, todo[finished], Work())
    write_list(folder, {name: request(sample, settings) for name, sample in todo})
    for age, path in enumerate(sorted(folder.glob("0*/meta.json"), reverse=True)):
        os.utime(path, (0, NOW - 10 - 30 * age))
    return todo


def test_samples_of_the_list_are_counted(tmp_path: Path):
    todo = planted(tmp_path, slice(0, 3))
    record_failure(tmp_path, "003-d", "check", ImapError("a broken clip"))
    record_failure(tmp_path, "003-d", "maps", ImapError("a broken clip"))
    record_failure(tmp_path, "000-a", "maps", ImapError("made since"))
    run(tmp_path, samples("of another list"), Work())
    process = holder(tmp_path / todo[4][0])
    try:
        before = sorted(path.name for path in tmp_path.iterdir())
        said = str(status_of(tmp_path, NOW))
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    finally:
        process.kill()
        process.wait()
    lines = [
        "3 of 5 done, 1 failed (maps 1), 1 in work, 0 left",
        "in work: 004-e",
        "2 samples a minute; about 30 s left",
    ]
    assert said.split("\n  ") == lines
    assert status_of(tmp_path, NOW).left == 1  # the lock's file of a killed process is nobody's


def test_results_of_other_settings_are_left_to_do(tmp_path: Path):
    planted(tmp_path, slice(0, 3), {**SETTINGS, "seed": 7})
    assert str(status_of(tmp_path, NOW)) == "0 of 5 done, 0 failed, 0 in work, 5 left"


def test_shards_with_a_folder_each_are_added_up(tmp_path: Path):
    planted(tmp_path / "a", slice(0, 3))
    planted(tmp_path / "b", slice(2, 4))
    record_failure(tmp_path / "b", "001-b", "maps", ImapError("made by the other"))
    both = together([status_of(tmp_path / name, NOW) for name in "ab"], NOW)
    assert str(both).splitlines()[0] == "4 of 5 done, 0 failed, 0 in work, 1 left"


def test_an_earlier_run_has_no_list(tmp_path: Path):
    planted(tmp_path, slice(0, 2))
    (tmp_path / LIST).unlink()
    assert str(status_of(tmp_path, NOW)).startswith("2 done, 0 failed, 0 in work, no list was stored")


def test_a_run_without_a_process_is_told(tmp_path: Path):
    planted(tmp_path, slice(0, 3))
    said = str(status_of(tmp_path, NOW + 7200))
    assert said.endswith("2 samples a minute; the last one 2 h 0 min ago, and no process seems to run")


def test_the_rate_is_that_since_the_last_pause():
    assert rate_of([0, 10, 20, 5000, 5030, 5060], pause=100) == 2
    assert rate_of([0, 10, 20], pause=5) is None and rate_of([0], 5) is None
    assert rate_of([float(i) for i in range(1000)] + [1000 + 2.0 * i for i in range(100)], 100) == pytest.approx(30)


def test_durations_are_read_easily():
    assert [duration(x) for x in (4.4, 75, 660, 9541, 200000)] == [
        "4 s",
        "1 min 15 s",
        "11 min",
        "2 h 39 min",
        "2 d 7 h",
    ]


def test_the_command_prints_and_refuses(tmp_path: Path, capsys):
    planted(tmp_path / "a", slice(0, 5))
    main(["status", str(tmp_path / "a"), str(tmp_path / "a"), "--watch", "1"])  # ends, as all is done
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'a'}: 5 of 5 done, 0 failed, 0 in work, 0 left\n")
    (tmp_path / "empty").mkdir()
    wrong = [([tmp_path / "empty"], "holds no samples"), ([tmp_path / "no"], "there is no folder")]
    for arguments, message in [*wrong, ([tmp_path / "a", "--watch", "0"], "--watch 0 is not a number of seconds")]:
        with pytest.raises(SystemExit) as end:
            main(["status", *map(str, arguments)])
        assert message in str(end.value.code)


def test_what_a_new_run_tries_again_is_left_to_do(tmp_path: Path):
    planted(tmp_path, slice(0, 1))
    record_failure(tmp_path, "001-b", "maps", ImapError("of the run before"))
    assert status_of(tmp_path, NOW).left == 3
    (tmp_path / RUN).write_text('{"started": "3026-01-01T00:00:00+00:00", "config": {"shard": {}}}')
    assert status_of(tmp_path, NOW).left == 4


def test_a_shard_that_helps_nobody_is_done_with_its_part(tmp_path: Path):
    planted(tmp_path / "a", slice(0, 1))
    shard = {"index": 0, "count": 3, "helps": False}
    (tmp_path / "a" / RUN).write_text(json.dumps({"started": "2026", "config": {"shard": shard}}))
    record_failure(tmp_path / "a", "003-d", "maps", ImapError("broken"))
    assert str(status_of(tmp_path / "a", NOW)).startswith("1 of 2 done, 1 failed (maps 1), 0 in work, 0 left")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / RUN).write_text(json.dumps({"started": "2026", "config": {"shard": {**shard, "index": 1}}}))
    (tmp_path / "b" / ERRORS).unlink()
    both = together([status_of(tmp_path / name, NOW) for name in "ab"], NOW)
    assert str(both).startswith("1 of 4 done, 1 failed (maps 1), 0 in work, 2 left")


def test_different_runs_are_added_up(tmp_path: Path):
    planted(tmp_path / "a", slice(0, 3))
    planted(tmp_path / "b", slice(0, 2), {**SETTINGS, "seed": 7})
    for name in "ab":
        record_failure(tmp_path / name, "004-e", "maps", ImapError("broken"))
    both = together([status_of(tmp_path / name, NOW) for name in "ab"], NOW)
    assert str(both).startswith("3 of 10 done, 2 failed (maps 2), 0 in work, 5 left")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"samples": {"/": "a"}}', '{"samples": {"a": 1}}', '{"samples": []}'])
def test_a_damaged_list_is_none(text, tmp_path: Path):
    planted(tmp_path, slice(0, 1))
    (tmp_path / LIST).write_text(text)
    assert status_of(tmp_path, NOW).listed is None


@pytest.mark.parametrize("seconds", ["inf", "1e300", "0", "-1", "nan"])
def test_odd_times_of_watch_are_refused(seconds, tmp_path: Path):
    with pytest.raises(SystemExit, match="is not a number of seconds above 0, up to 86400"):
        main(["status", str(tmp_path), "--watch", seconds])


def test_foreign_records_are_no_samples(tmp_path: Path, capsys):
    planted(tmp_path, slice(0, 1))
    for name, one in (("007-x", {"prompt": "a ball"}), ("008-y", {"sample": None})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text(json.dumps({"layout": 1, "request": one}))
    meta = json.loads((tmp_path / "000-a" / "meta.json").read_text())
    (tmp_path / "000-a" / "meta.json").write_text(json.dumps({**meta, "seconds": [1, 2], "files": []}))
    print_status([tmp_path])
    assert capsys.readouterr().out.startswith(f"{tmp_path}: 1 of 5 done, 0 failed")
