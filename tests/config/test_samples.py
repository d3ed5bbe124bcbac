"""Samples: words in every notation, and input lists in the release's format."""

import json
import os
from pathlib import Path

import pytest

from imap import ImapError
from imap.config.sample_lists import read_list
from imap.config.samples import Sample, check_words, make_sample, numbered, split_texts

ENTRY = {"caption": "A dog runs.", "concepts": "dog, grass", "object": "running"}


@pytest.fixture
def written(tmp_path: Path):
    """Writes a list to a file, from entries or from raw text."""

    def write(content, name: str = "list.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (None, ()),
        ("", ()),
        ("  ", ()),
        ("[]", ()),
        ("ball", ("ball",)),
        ("ball,dog", ("ball", "dog")),
        (" ball ,  small   dog ", ("ball", "small dog")),
        ("[ball, dog]", ("ball", "dog")),
        ("'ball', \"dog\"", ("ball", "dog")),
        ("dog's ball", ("dog's ball",)),
        ('"ball, dog"', ("ball", "dog")),
        ("'[ball, dog]'", ("ball", "dog")),
        ("'ball, dog's ball'", ("'ball", "dog's ball'")),
        ("'", ("'",)),
        ("a=b, c:d", ("a=b", "c:d")),
        ("ball,,dog", ("ball", "", "dog")),
        ("ball,", ("ball", "")),
        ("日本, żółw", ("日本", "żółw")),
        (["ball", " small\ndog "], ("ball", "small dog")),
        (("a, b",), ("a, b",)),
    ],
)
def test_words_are_split_in_every_notation(typed, expected: tuple[str, ...]):
    assert split_texts(typed) == expected


@pytest.mark.parametrize("value", [["ball", 5], [None], [["ball"]], 5, 1.5, True, {"ball": 1}])
def test_a_value_that_is_not_a_word_is_an_error(value):
    with pytest.raises(ImapError, match="expected words"):
        split_texts(value)


@pytest.mark.parametrize(
    ("concepts", "motions", "message"),
    [
        ([], [], "no words to look for"),
        (["dog", ""], [], "is empty"),
        (["dog", "dog"], [], "'dog' is a duplicate"),
        (["Dog"], ["dog"], "a duplicate"),
    ],
)
def test_missing_empty_and_duplicate_words_are_errors(concepts: list[str], motions: list[str], message: str):
    with pytest.raises(ImapError, match=message):
        check_words(concepts, motions)


@pytest.mark.parametrize("prompt", ["", "  \n", None, 5])
def test_an_empty_prompt_is_an_error(prompt):
    with pytest.raises(ImapError, match="prompt is empty"):
        make_sample(prompt, "dog", None)


@pytest.mark.parametrize(
    ("option", "concepts", "motions"), [("s", ("dog",), ()), ("t", (), ("runs",)), ("st", ("dog",), ("runs",))]
)
def test_concept_option_uses_concepts_motions_or_both(option: str, concepts: tuple, motions: tuple):
    sample = make_sample(" a dog runs ", "dog", "runs", concept_option=option)
    assert sample == Sample("a dog runs", concepts, motions)


def test_concept_option_drops_duplicates_of_the_other_kind():
    assert make_sample("a dog", "dog", "dog", concept_option="s").motions == ()
    with pytest.raises(ImapError, match="no words to look for"):
        make_sample("a dog", "dog", None, concept_option="t")
    with pytest.raises(ImapError, match="concept_option='ts' is not known; it can be s "):
        make_sample("a dog", "dog", None, concept_option="ts")


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A red ball!", "a-red-ball"),
        ("Crème brûlée 2", "creme-brulee-2"),
        ("日本の犬", "sample"),
        ("../../etc/passwd", "etc-passwd"),
        ("...", "sample"),
        ("a\nb\tc", "a-b-c"),
        ("x" * 60, "x" * 48),
        ("a" * 47 + " b", "a" * 47),
    ],
)
def test_a_folder_name_is_short_ascii_without_separators(prompt: str, slug: str):
    assert Sample(prompt, ("dog",), ()).slug == slug


def test_folder_names_of_equal_prompts_differ_by_their_number():
    names = [name for name, _ in numbered([Sample("A dog", ("dog",), ())] * 1001)]
    assert names[:2] == ["000-a-dog", "001-a-dog"] and names[1000] == "1000-a-dog" and len(set(names)) == 1001


def test_a_list_of_the_release_is_read(written):
    full = {**ENTRY, "camera": "static", "motion_idx": -1, "video_path": "somewhere.mp4"}
    samples = read_list(written([ENTRY, full]))
    assert samples == [Sample("A dog runs.", ("dog", "grass"), ("running",))] * 2
    assert read_list(written([full]), with_video=True)[0].video_path == Path("somewhere.mp4")
    assert read_list(written([ENTRY]), "t")[0].concepts == ()


def test_a_list_may_hold_any_alphabet(written):
    text = json.dumps([{"caption": "日本の犬 “🎈”", "concepts": ["żółw, mały"], "object": None}], ensure_ascii=False)
    assert read_list(written(text)) == [Sample("日本の犬 “🎈”", ("żółw, mały",), ())]


def test_a_relative_clip_is_in_the_working_folder_or_beside_the_list(written, tmp_path, monkeypatch):
    path = written([{**ENTRY, "video_path": "clip.mp4"}], "lists/list.json")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    beside = tmp_path / "lists" / "clip.mp4"
    beside.touch()
    assert read_list(path, with_video=True)[0].video_path == beside
    (here / "clip.mp4").touch()
    assert read_list(path, with_video=True)[0].video_path == Path("clip.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not valid JSON"),
        ("", "is not valid JSON"),
        ({"caption": "a"}, "must be a list"),
        ([], "must be a list of at least one entry"),
        ('"text"', "must be a list"),
        (["text"], "entry 0: expected an object with caption, concepts, object, got str"),
        (
            [ENTRY, {**ENTRY, "concept": "a"}],
            "entry 1: unknown key 'concept'; choose from caption, concepts, object, video",
        ),
        ([{"concepts": "a"}], "entry 0: the prompt is empty"),
        ([{"caption": "", "concepts": "a"}], "entry 0: the prompt is empty"),
        ([{"caption": "a"}], "entry 0: no words to look for"),
        ([{"caption": "a", "concepts": "a, A"}], "entry 0: 'A' is a duplicate"),
        ([{"caption": "a", "concepts": 5}], "entry 0: expected words, got 5"),
        ([{"caption": "a", "concepts": {"a": 1}}], "entry 0: expected words"),
        ([{"caption": "a", "concepts": ["a", 5]}], "entry 0: expected words"),
        ([{"caption": "a", "object": True}], "entry 0: expected words"),
    ],
)
def test_a_faulty_list_is_an_error_with_its_file_and_entry(content, message: str, written):
    path = written(content)
    with pytest.raises(ImapError) as error:
        read_list(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("video_path", [None, "", 5, ["a.mp4"]])
def test_renoising_needs_a_clip_for_every_entry(video_path, written):
    with pytest.raises(ImapError, match=r"entry 0: .*video_path"):
        read_list(written([{**ENTRY, "video_path": video_path}]), with_video=True)


def test_all_faulty_entries_are_in_one_error(written):
    with pytest.raises(ImapError) as error:
        read_list(written([ENTRY, {"caption": "a"}, ENTRY, {**ENTRY, "x": 1}]))
    assert "entry 1:" in str(error.value) and "entry 3:" in str(error.value)
    with pytest.raises(ImapError, match=r"entry 4: .*; and 2 more$"):
        read_list(written([{}] * 7))


@pytest.mark.parametrize(("name", "message"), [("none.json", "there is no file"), (".", "cannot read")])
def test_a_list_that_cannot_be_opened_is_an_error(name: str, message: str, tmp_path: Path):
    with pytest.raises(ImapError, match=f"input_json: {message}"):
        read_list(tmp_path / name)


def test_a_list_in_another_encoding_is_an_error(tmp_path: Path):
    (tmp_path / "list.json").write_bytes('[{"caption": "é"}]'.encode("latin-1"))
    with pytest.raises(ImapError, match="is not valid JSON"):
        read_list(tmp_path / "list.json")


@pytest.mark.parametrize(("name", "count"), [("mevis_504_part1.json", 51), ("mtbench_100_prompts.json", 100)])
def test_the_real_lists_are_read(name: str, count: int):
    folder = os.environ.get("IMAP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("IMAP_DATA names no folder")
    mevis = name.startswith("mevis")
    samples = read_list(Path(folder) / name, with_video=mevis)
    assert len(samples) == count and all(sample.concepts and sample.motions for sample in samples)
    assert all((sample.video_path is not None) == mevis for sample in samples)
    assert len({folder for folder, _ in numbered(samples)}) == count
