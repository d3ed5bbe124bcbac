"""Single values: what no file, no schedule and no list can hold is refused in one line."""

import json

import pytest

from imap import ImapError
from imap.config.checks import check_guidance, check_path, check_seed, check_steps, check_text
from imap.config.sample_lists import read_list
from imap.config.samples import make_sample


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("x" * 256, "too long"),
        ("é" * 128, "too long"),  # bytes count, not letters
        ("x/" * 2049, "too long"),
        ("a\0b.mp4", "NUL"),
        ("\ud83d", "half a character"),
    ],
)
def test_paths_that_no_file_can_have(path, reason):
    with pytest.raises(ImapError, match=reason) as error:
        check_path("video_path", path)
    assert len(str(error.value)) < 200 and str(error.value).isascii()


def test_long_paths_that_a_file_can_have():
    for path in ("x" * 255, "x/" * 2048):
        assert check_path("video_path", path) == path


@pytest.mark.parametrize("field", ["caption", "concepts", "object", "video_path"])
def test_half_a_character_in_a_list_is_refused_with_its_entry(field, tmp_path):
    entry = {"caption": "a ball jumps", "concepts": "ball", "object": "jumps", "video_path": "a.mp4"}
    (tmp_path / "list.json").write_text(json.dumps([entry, {**entry, field: "x \ud83d"}]))
    with pytest.raises(ImapError, match="entry 1: .*half a character"):
        read_list(tmp_path / "list.json", with_video=True)


@pytest.mark.parametrize(("text", "reason"), [("[" * 100_000, "nested"), ("[" + "9" * 5000 + "]", "not valid JSON")])
def test_lists_that_python_cannot_read(text, reason, tmp_path):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ImapError, match=reason) as error:
        read_list(tmp_path / "list.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("check", [check_guidance, check_seed, check_steps])
@pytest.mark.parametrize("value", [10**400, float("nan"), "1", None, [1], True])
def test_numbers_of_other_kinds(check, value):
    with pytest.raises(ImapError):
        check(value)


def test_a_key_that_comes_twice_in_an_entry_is_refused(tmp_path):
    (tmp_path / "list.json").write_text('[{"caption": "a ball", "concepts": "ball", "concepts": "kite"}]')
    with pytest.raises(ImapError, match="key 'concepts' comes twice"):
        read_list(tmp_path / "list.json")


def test_texts_stay_as_they_are():
    assert check_text("prompt", "馬 🐎 \\") == "馬 🐎 \\"
    assert make_sample(" 馬 ", "馬", "").prompt == "馬"
