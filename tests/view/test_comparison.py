"""Runs beside each other on one page."""

import json
import re

import pytest

from imap.view.__main__ import main
from imap.view.comparison import differing
from imap.view.sample import run_names


def settings(folder, **changed):
    meta = json.loads((folder / "meta.json").read_text())
    meta["request"]["settings"] |= changed
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.fixture
def runs(tmp_path, write):
    """Two runs of two prompts; the second one has another seed and chose other layers."""
    for run in ("a", "b"):
        for i, name in enumerate(("000-ball", "001-box")):
            settings(write(tmp_path / run / name, f"A {name[4:]}.", i), seed=42 + (run == "b"))
    settings(tmp_path / "b/000-ball", method={"imap_layer": [7]}, seed=43)
    return tmp_path / "a", tmp_path / "b"


def cards(page):
    found = re.findall(
        r'<script type="application/json" data-name="([^"]*)" data-caption="([^"]*)">(.*?)</script>', page
    )
    return [(name, caption, json.loads(text)["line"]) for name, caption, text in found]


def test_samples_of_the_same_name_are_beside_each_other_with_what_differs(runs, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, runs), "--no-pictures"])
    assert ended.value.code == 0
    page = runs[0] / "comparison.html"
    assert capsys.readouterr().out.split() == [str(page)]
    assert cards(page.read_text()) == [
        ("a/000-ball", "A ball.", "seed=42, method.imap_layer=[4, 7]"),
        ("b/000-ball", "A ball.", "seed=43, method.imap_layer=[7]"),
        ("a/001-box", "A box.", "seed=42, method.imap_layer=[4, 7]"),
        ("b/001-box", "A box.", "seed=43, method.imap_layer=[4, 7]"),
    ]
    assert not (runs[0] / "report.html").exists() and not (runs[0] / "000-ball/view").exists()


def test_single_samples_are_compared_in_the_given_order(runs, capsys):
    folders = [runs[1] / "000-ball", runs[0] / "001-box"]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, folders), "--no-pictures"])
    assert ended.value.code == 0
    page = folders[0] / "view/comparison.html"
    assert [name for name, *_ in cards(page.read_text())] == ["000-ball", "001-box"]


def test_the_same_folder_twice_is_one_run(runs, capsys):
    with pytest.raises(SystemExit):
        main([str(runs[0]), f"{runs[0]}/../a", "--no-pictures"])
    assert (runs[0] / "report.html").is_file() and not (runs[0] / "comparison.html").exists()


def test_a_sample_that_is_named_twice_is_shown_once(runs, capsys):
    with pytest.raises(SystemExit):
        main([str(runs[0]), str(runs[0] / "000-ball"), str(runs[1] / "001-box"), "--no-pictures"])
    assert [name for name, *_ in cards((runs[0] / "comparison.html").read_text())] == [
        "a/000-ball",
        "a/001-box",
        "001-box",
    ]


@pytest.mark.parametrize("option", ["--masks", "--gif", "--no-report"])
def test_runs_that_are_compared_are_not_drawn(runs, option):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, runs), option])
    assert "draw them one by one" in str(ended.value.code)


def test_a_folder_without_samples_is_named(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main([str(runs[0]), str(tmp_path / "empty"), "--no-pictures"])
    assert "empty holds no finished samples" in str(ended.value.code)


def test_many_differences_are_counted(runs):
    folders = [runs[0] / "000-ball", runs[1] / "000-ball"]
    for folder in folders:
        settings(folder, **{f"s{i}": f"{folder}{i}" for i in range(10)})
    assert all(line.endswith(" and 4 more") for line in differing(folders))
    assert differing(folders[:1]) == [""]


def test_a_setting_that_a_run_does_not_have_is_left_out_of_its_line(runs):
    settings(runs[1] / "001-box", seed=42, effect_step=3)
    assert differing([runs[0] / "001-box", runs[1] / "001-box"]) == ["", "effect_step=3"]


def test_titles_are_as_long_as_they_must_be(tmp_path):
    assert run_names([tmp_path / "x/a", tmp_path / "x/b"]) == ["a", "b"]
    assert run_names([tmp_path / "x/a", tmp_path / "y/a"]) == ["x/a", "y/a"]
