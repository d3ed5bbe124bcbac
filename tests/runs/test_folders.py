"""The content of a folder decides which sample it belongs to; names never collide."""

import json
import logging
from pathlib import Path

import pytest

from imap.config.samples import Sample, numbered
from imap.runs.folders import earlier_requests, is_replaced_by, log_others, placed, repeated
from imap.runs.request import request

SETTINGS = {"seed": 42}


def wanted(*prompts: str, words: tuple[str, ...] = ("ball",), clip: Path | None = None, **settings) -> tuple:
    """Names and requests of a list."""
    samples = [Sample(prompt, words, (), clip) for prompt in prompts]
    return [name for name, _ in numbered(samples)], [request(sample, SETTINGS | settings) for sample in samples]


def run(folders: dict, names: list, requests: list) -> list[str]:
    """Places a list, and lets its samples finish."""
    got = placed(names, requests, folders)
    assert len(set(got)) == len(got)
    folders.update(zip(got, requests, strict=True))
    return got


@pytest.mark.parametrize("settings", [{}, {"seed": 1}])
def test_samples_keep_their_folders_in_another_list(settings: dict):
    folders = {}
    assert run(folders, *wanted("a", "b")) == ["000-a", "001-b"]
    assert run(folders, *wanted("c", "a", "b", **settings)) == ["000-c", "000-a", "001-b"]
    assert run(folders, *wanted("b", "c", **settings)) == ["001-b", "000-c"]


@pytest.mark.parametrize("pair", [("a ball!", "A ball?"), ("...", "!!!")])
def test_another_prompt_of_the_same_name_gets_a_digest(pair: tuple):
    folders = {}
    (first,) = run(folders, *wanted(pair[0]))
    (second,) = run(folders, *wanted(pair[1]))
    assert second.startswith(f"{first}-") and len(second) == len(first) + 9
    assert run(folders, *wanted(pair[0])) == [first] and run(folders, *wanted(pair[1])) == [second]
    assert run(folders, *wanted(*pair)) == [first, second]


@pytest.mark.parametrize(
    "pair", [("日本", "中国"), ("x" * 48 + " dawn", "x" * 48 + " dusk"), ("a 日本 ball", "a ball")]
)
def test_names_that_lose_letters_differ_from_the_start(pair: tuple):
    one, other = (wanted(prompt)[0] for prompt in pair)
    assert one != other


def test_an_earlier_folder_keeps_the_name_that_its_version_gave():
    _, (one,) = wanted("日本")
    assert placed(*wanted("日本"), {"000-sample": one}) == ["000-sample"]


def test_other_words_or_settings_of_a_prompt_replace_its_result():
    folders = {}
    run(folders, *wanted("a", "b"))
    assert run(folders, *wanted("a", "b", words=("dog",), seed=7)) == ["000-a", "001-b"] and len(folders) == 2


def test_the_same_prompt_with_other_words_in_one_list_has_two_folders():
    names, one = wanted("a")
    _, other = wanted("a", words=("dog",))
    assert placed([*names, "001-a"], [*one, *other], {}) == ["000-a", "001-a"]
    assert placed([*names, "001-a"], [*other, *one], {"000-a": one[0], "001-a": other[0]}) == ["001-a", "000-a"]


def test_another_clip_of_the_same_prompt_gets_its_own_folder(tmp_path: Path):
    clips = [tmp_path / name for name in ("one.mp4", "two.mp4", "moved.mp4")]
    for clip, text in zip(clips, ("one", "two", "one"), strict=True):
        clip.write_text(text)
    folders = {}
    (first,) = run(folders, *wanted("a", clip=clips[0]))
    (second,) = run(folders, *wanted("a", clip=clips[1]))
    assert first != second and run(folders, *wanted("a", clip=clips[2])) == [first]
    clips[1].write_text("changed")
    assert run(folders, *wanted("a", clip=clips[1])) == [second] and len(folders) == 2


def test_clips_that_cannot_be_read_are_not_the_same(tmp_path: Path):
    (one,), (other,) = (wanted("a", clip=tmp_path / name)[1] for name in ("one.mp4", "two.mp4"))
    assert not is_replaced_by(one, other) and is_replaced_by(one, one)


def test_repeated_samples_are_found():
    assert repeated(wanted("a", "b", "a", "a")[1]) == [2, 3] and repeated(wanted("a", "A")[1]) == []


def test_folders_without_a_readable_request_do_not_count(tmp_path: Path):
    _, (one,) = wanted("a")
    for name, meta in (
        ("000-a", {"layout": 1, "request": one}),
        ("001-b", {"layout": 1}),
        ("002-c", {"layout": 1, "request": [1]}),
        ("003-d", {"layout": 9, "request": one}),
        (".004-e.old", {"layout": 1, "request": one}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text(json.dumps(meta))
    assert earlier_requests(tmp_path) == {"000-a": one}


def test_samples_of_other_lists_are_one_line_with_their_settings(caplog):
    caplog.set_level(logging.INFO)
    _, (a, b) = wanted("a", "b")
    _, (c,) = wanted("c", seed=7)
    log_others(Path("out"), {"000-a": a, "001-b": b}, ["000-a", "000-c"], a)
    log_others(Path("out"), {"000-a": a, "001-b": b}, ["000-c"], c)
    log_others(Path("out"), {"000-c": c}, ["000-c"], c)
    assert caplog.messages == [
        "out also holds 1 of other lists; they stay, and the report leaves them out: 001-b",
        "out also holds 2 of other lists, with other settings (seed); they stay, and the report leaves them out: "
        "000-a, 001-b",
    ]
