"""The run folder: what is written reads back, whole or not at all, and a finished one is not lost."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

import imap.atomic
import imap.map_files
from imap import ImapError, Maps
from imap.atomic import HOST, check_writable, restore, write_folder
from imap.map_files import LAYOUT, read_meta
from imap.runs.request import difference

KEYS = ("imap", "sel_imap", "imap_layers", "sel_imap_layers")


BLACK = np.zeros((5, 16, 20, 3), np.uint8)


def some_maps(seed: int = 0, tokens: bool = False) -> Maps:
    rng = np.random.default_rng(seed)
    arrays = {key: rng.standard_normal((3, 2, 4, 5)).astype(np.float32) for key in KEYS}
    return Maps(
        arrays,
        ("ball", "żółw, mały", "rolls"),
        frozenset({"rolls"}),
        {1: {0: [2, 0], 10: [1]}, 12: {0: [], 10: [5]}},
        {1: {0: [0.5, 1.25], 10: [2.0, 3.0]}, 12: {0: [1.0], 10: [1.5]}},
        {"family": "wan", "grid": {"frames": 2, "height": 4, "width": 5}, "steps": [0, 10], "notes": ["a note"]},
        {"imap": rng.standard_normal((2, 2, 4, 5)).astype(np.float32)} if tokens else {},
        ("▁a", "</s>") if tokens else (),
    )


@pytest.mark.parametrize("tokens", [False, True])
def test_maps_come_back_as_they_were(tokens: bool, tmp_path: Path):
    maps = some_maps(tokens=tokens)
    back = Maps.load(maps.save(tmp_path / "a"))
    assert list(back) == list(maps) and all(np.array_equal(back[key], maps[key]) for key in maps)
    assert (back.texts, back.motions, back.tokens) == (maps.texts, maps.motions, maps.tokens)
    assert (back.heads, back.scores, back.facts) == (maps.heads, maps.scores, maps.facts)
    assert {key: x.tolist() for key, x in back.token_arrays.items()} == {
        key: x.tolist() for key, x in maps.token_arrays.items()
    }


def test_arrays_are_plain_float32_files_under_the_releases_names(tmp_path: Path):
    some_maps(tokens=True).save(tmp_path / "a")
    files = sorted(path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*.npy"))
    assert files == sorted([*(f"npy/{key}.npy" for key in KEYS), "npy/prompt_tokens/imap.npy"])
    for file in files:
        array = np.load(tmp_path / "a" / file, allow_pickle=False)
        assert array.dtype == np.float32 and array.flags.c_contiguous


def test_a_transposed_or_wider_array_is_written_plain(tmp_path: Path):
    array = np.arange(24, dtype=np.float64).reshape(4, 3, 2, 1).T
    Maps({"imap": array}, ("a",)).save(tmp_path / "a")
    back = np.load(tmp_path / "a" / "npy" / "imap.npy", allow_pickle=False)
    assert back.dtype == np.float32 and back.flags.c_contiguous and np.array_equal(back, array)


def test_meta_is_readable_text_with_more_beside(tmp_path: Path):
    some_maps().save(tmp_path / "a", {"seconds": {"denoise": 1.5}})
    text = (tmp_path / "a" / "meta.json").read_text(encoding="utf-8")
    meta = json.loads(text)
    assert "żółw" in text and meta["texts"] == ["ball", "żółw, mały", "rolls"] and meta["motions"] == ["rolls"]
    assert meta["seconds"] == {"denoise": 1.5} and meta["keys"] == list(KEYS)


def test_a_motion_word_shows_its_imap_and_a_noun_its_gramcol():
    maps = some_maps()
    assert np.array_equal(maps.of("rolls"), maps["sel_imap_layers"][2])
    assert np.array_equal(maps.of("ball"), maps["imap_layers"][0])
    assert np.array_equal(maps.of("ball", "sel_imap"), maps["sel_imap"][0])


def test_an_unknown_name_is_refused_with_the_known_ones():
    maps = some_maps()
    with pytest.raises(KeyError, match="no map of 'cat'; there are ball, żółw, mały, rolls"):
        maps.of("cat")
    with pytest.raises(KeyError, match="no maps 'imaps'; there are imap, sel_imap"):
        maps["imaps"]
    with pytest.raises(ImapError, match="^no map of 'cat'; there are ball"):
        maps.show("cat")
    assert maps.get("imaps") is None
    assert len(maps) == 4 and "imap" in maps and "imaps" not in maps


@pytest.mark.parametrize("meta", [None, "", "{", "[]", "{}", '{"layout": 99}', '{"layout": "1"}'])
def test_a_folder_without_a_readable_meta_of_this_layout_holds_no_maps(meta: str | None, tmp_path: Path):
    if meta is not None:
        (tmp_path / "meta.json").write_text(meta)
    assert read_meta(tmp_path) is None
    with pytest.raises(ImapError, match=f"{tmp_path.name} holds no maps: .*meta.json of layout {LAYOUT}"):
        Maps.load(tmp_path)


def test_a_folder_without_one_of_its_arrays_is_refused(tmp_path: Path):
    some_maps().save(tmp_path / "a")
    (tmp_path / "a" / "npy" / "imap.npy").unlink()
    with pytest.raises((ImapError, FileNotFoundError), match=r"imap\.npy"):
        Maps.load(tmp_path / "a")


def test_a_new_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path):
    some_maps(0, tokens=True).save(tmp_path / "a")
    some_maps(1).save(tmp_path / "a")
    assert np.array_equal(Maps.load(tmp_path / "a")["imap"], some_maps(1)["imap"])
    assert not (tmp_path / "a" / "npy" / "prompt_tokens").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("before", [False, True])
def test_a_crash_while_writing_leaves_the_old_folder_or_none(error: BaseException, before: bool, tmp_path: Path):
    if before:
        some_maps().save(tmp_path / "a")

    def write(partial: Path) -> None:
        (partial / "half.npy").write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_folder(tmp_path / "a", write, ("meta.json", "npy"))
    assert [path.name for path in tmp_path.iterdir()] == (["a"] if before else [])
    if before:
        assert np.array_equal(Maps.load(tmp_path / "a")["imap"], some_maps()["imap"])


def test_a_crash_between_two_files_of_a_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save, calls = np.save, []

    def fails_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "no space left")
        save(*args)

    monkeypatch.setattr(imap.map_files.np, "save", fails_at_the_third)
    with pytest.raises(OSError, match="no space left"):
        some_maps().save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_between_the_two_moves_gives_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    some_maps(0).save(tmp_path / "a")
    replace = os.replace

    def fails_for_the_new_one(source, target):
        if ".partial" in Path(source).name:
            raise OSError(errno.EIO, "input/output error")
        replace(source, target)

    monkeypatch.setattr(imap.atomic.os, "replace", fails_for_the_new_one)
    with pytest.raises(OSError, match="input/output error"):
        some_maps(1).save(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert np.array_equal(Maps.load(tmp_path / "a")["imap"], some_maps(0)["imap"])


@pytest.mark.parametrize("new_is_there", [False, True])
def test_a_kill_between_the_two_moves_loses_nothing(new_is_there: bool, tmp_path: Path, dead: int):
    some_maps(0).save(tmp_path / "a")
    os.replace(tmp_path / "a", tmp_path / f".a.old-{dead}-{HOST}")  # as a killed process leaves it
    if new_is_there:
        some_maps(1).save(tmp_path / "b")
        os.replace(tmp_path / "b", tmp_path / "a")
    restore(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert np.array_equal(Maps.load(tmp_path / "a")["imap"], some_maps(int(new_is_there))["imap"])
    restore(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_partial_folders_of_a_killed_process_are_removed(tmp_path: Path, dead: int):
    names = [f".a.partial-{dead}-{HOST}", f".a.partial-{os.getppid()}-{HOST}", f".a.partial-{dead}", ".a.old"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "stale.npy").write_text("stale")
    some_maps().save(tmp_path / "a")
    assert not list((tmp_path / "a").rglob("stale.npy"))
    # of a live process, and of somebody else
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], "a"}


def test_a_folder_with_a_video_is_not_replaced_by_maps_alone(tmp_path: Path):
    some_maps().save(tmp_path / "a")
    (tmp_path / "a" / "output.mp4").write_text("a video")
    with pytest.raises(ImapError, match="output.mp4"):
        some_maps().save(tmp_path / "a")
    assert (tmp_path / "a" / "output.mp4").read_text() == "a video"


def test_saving_over_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("precious")
    with pytest.raises(ImapError, match="photos"):
        some_maps().save(tmp_path / "photos")
    assert (tmp_path / "photos" / "me.jpg").read_text() == "precious"


def test_an_empty_folder_may_be_saved_into(tmp_path: Path):
    (tmp_path / "new").mkdir()
    assert len(Maps.load(some_maps().save(tmp_path / "new"))) == 4


def test_folders_are_made_on_the_way(tmp_path: Path):
    assert Maps.load(some_maps().save(str(tmp_path / "a" / "b" / "c"))).texts[0] == "ball"


@pytest.mark.parametrize("folder", ["file", "file/below", "long" * 100])
def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(folder: str, tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ImapError, match=r"^output_dir: cannot write to .*; choose another folder$"):
        check_writable(tmp_path / folder)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 1, "c": [1, 2]}}, []),
        ({"a": {"b": 1}, "d": 0}, {"a": {"b": 2}, "d": 0}, ["a.b"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": {"b": 1}}, {"a": None}, ["a"]),
        (None, {"a": 1}, [""]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ({"a": None}, {}, []),
    ],
)
def test_the_settings_that_differ_are_named(one, other, names: list[str]):
    assert difference(one, other) == names


def test_new_maps_without_a_video_replace_old_pictures(tmp_path: Path):
    folder = some_maps().save(tmp_path / "a")
    (folder / "view").mkdir()
    (folder / "view" / "strip.png").write_bytes(b"of the old maps")
    some_maps(seed=1).save(folder)
    assert not (folder / "view").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"more": {"texts": []}}, "is an entry that imap writes itself"),
        ({"more": BLACK}, "more= is a ndarray; expected entries of meta.json, and frames as video="),
        ({"more": {"loss": float("nan")}}, "more= cannot be written as JSON"),
        ({"video": BLACK[:, 1:]}, "a video of 15x20: an mp4 needs an even height and width"),
        ({"video": BLACK, "fps": [0, 0.1, 0.2, 0.3, 0.4, 1e5]}, "each by at most 3600 s"),
        ({"video": BLACK, "fps": 0}, "fps=0 is not a number of frames per second from 0.01 to 1000"),
        ({"video": BLACK, "fps": "8"}, "fps='8' is not a number of frames per second"),
        ({"video": BLACK, "fps": [0.0, 0.1]}, "fps holds 2 times, and 5 frames need 6 that rise"),
        ({"video": BLACK, "fps": [0.0, 0.1, 0.1, 0.2, 0.3, 0.4]}, "fps holds 6 times, and 5 frames need 6 that rise"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_no_folder(settings, reason, tmp_path: Path):
    with pytest.raises(ImapError, match=reason):
        some_maps().save(tmp_path / "a", **settings)
    assert not (tmp_path / "a").exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path):
    folder = some_maps().save(tmp_path / "a")
    (tmp_path / "link").symlink_to(folder)
    some_maps(seed=1).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and np.array_equal(Maps.load(folder)["imap"], some_maps(seed=1)["imap"])


def test_the_working_folder_with_other_files_is_kept(tmp_path: Path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    for folder in ("", "."):
        with pytest.raises(ImapError, match="holds other files"):
            some_maps().save(folder)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_meta_is_told_in_one_line(tmp_path: Path):
    folder = some_maps().save(tmp_path / "a")
    meta = json.loads((folder / "meta.json").read_text())
    for name, value in (("heads", 3), ("texts", 7), ("scores", {"x": {"0": []}})):
        (folder / "meta.json").write_text(json.dumps({**meta, name: value}))
        with pytest.raises(ImapError, match="is damaged"):
            Maps.load(folder)
