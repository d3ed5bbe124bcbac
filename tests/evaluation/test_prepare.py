"""imap score prepare: the frames, masks and times that are cut, what is recorded, and how it goes on after a stop."""

import json

import numpy as np
import pytest

from imap.evaluation import cutting
from imap.evaluation.__main__ import main
from imap.evaluation.commands import prepare
from imap.media.clip_file import open_clip
from imap.media.clips import read_clip
from imap.media.truth import Truth, read_truth, write_truth
from tests.evaluation import layouts

SIZE = ("--frames", "5", "--height", "32", "--width", "32")


def prepared(name, root, out, *arguments):
    """The list's lines, and the sidecar file of the first clip."""
    main(["prepare", name, str(root), str(out), *arguments])
    lines = json.loads((out / "list.json").read_text())
    return lines, json.loads((out / lines[0]["video_path"]).with_suffix(".json").read_text())


def files_of(out, name):
    return read_clip(out / "clips" / f"{name}.mp4"), read_truth(out / "clips" / f"truth-{name}.npz")


def test_frames_spread_evenly_and_masks_are_cropped_as_they_are(tmp_path):
    (line,), record = prepared("davis", layouts.davis(tmp_path / "in"), tmp_path / "out", *SIZE)
    frames, truth = files_of(tmp_path / "out", "bike-packing")
    taken = [0, 3, 6, 9, 12]
    assert record["taken"] == taken == layouts.numbers_of(frames)
    assert record["chosen"] == "even" and record["repeated"] == 0
    assert record["seconds"] == [round(i / 24, 6) for i in taken]
    assert record["fps"] == pytest.approx(4 / (12 / 24), abs=1e-5)
    assert open_clip(tmp_path / "out/clips/bike-packing.mp4").times[4] == pytest.approx(12 / 24, abs=1e-3)
    assert frames.shape == (5, 32, 32, 3)
    np.testing.assert_array_equal(truth.masks[0], layouts.square()[taken][..., 8:40])  # 48 columns, the middle 32
    np.testing.assert_array_equal(truth.masks[1], layouts.bar()[taken][..., 8:40])
    assert (frames[..., 0] > 205)[truth.masks[0]].mean() > 0.98 and (frames[..., 0] > 205)[
        ~truth.masks[0]
    ].mean() < 0.01
    assert line == {
        "caption": "A video of bike packing.",
        "concepts": ["bike packing"],
        "object": [],
        "video_path": "clips/bike-packing.mp4",
    }
    assert record["moving"] == "no words of motion" and not truth.moving.any()


def test_frames_are_taken_at_a_rate_from_the_first_on(tmp_path):
    root = layouts.davis(tmp_path / "in")
    _, record = prepared("davis", root, tmp_path / "out", *SIZE, "--fps", "12")
    assert record["taken"] == [0, 2, 4, 6, 8] and record["fps"] == 12 and record["chosen"] == "rate"
    frames, truth = files_of(tmp_path / "out", "bike-packing")
    assert layouts.numbers_of(frames) == [0, 2, 4, 6, 8]
    np.testing.assert_array_equal(truth.masks[0], layouts.square()[[0, 2, 4, 6, 8]][..., 8:40])


def test_a_clip_too_short_for_the_rate_is_spread_and_says_so(tmp_path, capsys):
    root = layouts.davis(tmp_path / "in")
    _, record = prepared(
        "davis", root, tmp_path / "out", *SIZE, "--fps", "7"
    )  # the last would be shown at 4/7 s, and the clip ends at 13/24 s
    assert record["taken"] == [0, 3, 6, 9, 12] and record["chosen"] == cutting.SHORT
    assert "1 clips are too short for --fps 7.0" in capsys.readouterr().out
    _, record = prepared("davis", root, tmp_path / "out", *SIZE, "--fps", "7.5")
    assert record["taken"] == [0, 3, 6, 10, 12] and record["chosen"] == "rate"


def test_a_clip_of_fewer_frames_repeats_some_and_says_so(tmp_path, capsys):
    size = ("--frames", "17", *SIZE[2:])
    _, record = prepared("davis", layouts.davis(tmp_path / "in"), tmp_path / "out", *size)
    assert record["repeated"] == 4 and len(record["taken"]) == 17
    assert "1 clips have fewer frames than are expected" in capsys.readouterr().out


def test_stretched_masks_follow_their_clip(tmp_path):
    size = ("--frames", "5", "--height", "64", "--width", "48", "--resize", "stretch")
    prepared("davis", layouts.davis(tmp_path / "in"), tmp_path / "out", *size)
    frames, truth = files_of(tmp_path / "out", "bike-packing")
    np.testing.assert_array_equal(truth.masks[0], layouts.square()[[0, 3, 6, 9, 12]].repeat(2, axis=1))
    seen = frames[..., 0] > 205
    assert (seen != truth.masks[0]).sum() < 0.1 * seen.sum()


def test_words_of_vspw_are_the_classes_of_the_cut_frames(tmp_path):
    (line,), record = prepared("vspw", layouts.vspw(tmp_path / "in"), tmp_path / "out", *SIZE)
    truth = files_of(tmp_path / "out", "12_ab")[1]
    assert line["caption"] == "A video of door and traffic light." and line["concepts"] == ["door", "traffic light"]
    assert truth.void[:, -1].all() and "classes that the cut frames show" in record["words"]
    np.testing.assert_array_equal(truth.of("door"), layouts.bar()[record["taken"]][..., 8:40])


def test_a_class_that_is_cut_off_is_no_word(tmp_path):
    root = layouts.vspw(tmp_path / "in")
    numbers = layouts.labelled(21, 3)
    numbers[:, :, 40:] = 1  # wall, in the columns that are cut off
    for path, number in zip(sorted((root / "data/12_ab/mask").iterdir()), numbers, strict=True):
        layouts.Image.fromarray(number).save(path)
    (line,), _ = prepared("vspw", root, tmp_path / "out", *SIZE)
    assert line["concepts"] == ["door", "traffic light"]


@pytest.mark.slow
def test_motion_is_estimated_for_data_without_labels(tmp_path):
    pytest.importorskip("pycocotools")
    root = layouts.mevis(tmp_path / "in")
    lines, record = prepared("mevis", root, tmp_path / "out", *SIZE)
    assert [line["video_path"] for line in lines] == [f"clips/0a1b-{k}.mp4" for k in range(3)]
    assert lines[0]["object"] == ["A square moving right, then on"] and record["moving"].startswith("estimated")
    assert record["words"] == "the whole expression, as one motion" and record["fps"] == 8 and record["seconds"] is None
    truth = files_of(tmp_path / "out", "0a1b-1")[1]
    assert truth.moving[0].all() and not truth.moving[1].any()  # the square moves, the bar stays
    empty = files_of(tmp_path / "out", "0a1b-2")[1]
    assert not empty.of("a cat that jumps").any() and empty.masks.shape == (1, 5, 32, 32)
    _, record = prepared("mevis", root, tmp_path / "out", *SIZE, "--moving", "always")
    truth = files_of(tmp_path / "out", "0a1b-1")[1]
    assert record["moving"].startswith("always") and truth.moving.tolist() == [[True] * 5, [False] + [True] * 4]


def test_motion_of_the_data_set_is_kept(tmp_path):
    root, moving = layouts.folder(tmp_path / "in"), np.zeros((1, 13), bool)
    moving[0, [3, 4, 9]] = True
    write_truth(root / "truth-mine.npz", Truth(["box"], ["slides"], layouts.square()[None], moving))
    _, record = prepared("world", root, tmp_path / "out", *SIZE)
    truth = files_of(tmp_path / "out", "mine")[1]
    assert record["taken"] == [0, 3, 6, 9, 12] and record["moving"] == "from the data set"
    assert truth.moving.tolist() == [[False, True, False, True, False]]


def test_finished_clips_are_skipped_and_others_are_cut_again(tmp_path, monkeypatch):
    root, out = layouts.davis(tmp_path / "in"), tmp_path / "out"
    (root / "ImageSets/2017/val.txt").write_text("bike-packing\ngoat\n")
    lines, _ = prepared("davis", root, out, *SIZE)
    written = []
    monkeypatch.setattr(cutting, "write_video", lambda path, *_, **__: written.append(path.name) or path.touch())
    assert prepared("davis", root, out, *SIZE)[0] == lines and not written
    (out / "clips/truth-goat.npz").unlink()
    prepared("davis", root, out, *SIZE)
    assert written == ["goat.mp4"]
    prepared("davis", root, out, *SIZE, "--limit", "1", "--resize", "stretch")
    assert written == ["goat.mp4", "bike-packing.mp4"]
    assert len(json.loads((out / "list.json").read_text())) == 1


def test_a_clip_that_fails_leaves_nothing_and_no_list(tmp_path, monkeypatch):
    def fails(*_):
        raise KeyboardInterrupt

    root, out = layouts.davis(tmp_path / "in"), tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cutting, "write_truth", fails)
        prepared("davis", root, out, *SIZE)
    assert [path.name for path in out.rglob("*")] == ["clips"]
    assert prepared("davis", root, out, *SIZE)[0]


def test_a_truth_that_is_gone_is_taken_away(tmp_path):
    root = layouts.ref_youtube_vos(tmp_path / "in")
    prepared("ref-youtube-vos", root, tmp_path / "out", *SIZE)
    assert (tmp_path / "out/clips/truth-003-0.npz").is_file()
    _, record = prepared("ref-youtube-vos", root, tmp_path / "out", *SIZE, "--split", "valid")
    assert record["moving"] is None and not (tmp_path / "out/clips/truth-003-0.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--frames", "6"), "num_frames=6 is not 4k+1"),
        (("--height", "40"), "height=40 is not a multiple of 16"),
        (("--limit", "0"), "--limit 0: expected 1 or more"),
        (("--fps", "0"), "fps=0.0 is not a number of frames per second"),
        (("--words", "gone.csv"), "--words: there is no file gone.csv"),
        (("--split", "dev"), "has no split dev; found train, val"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(arguments, message, tmp_path, capsys):
    layouts.davis(tmp_path / "in")
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "davis", str(tmp_path / "in"), str(tmp_path / "out"), *SIZE, *arguments])
    assert message in str(stopped.value) and not (tmp_path / "out").exists()


def test_a_rate_needs_the_time_of_the_pictures(tmp_path):
    pytest.importorskip("pycocotools")
    root = layouts.mevis(tmp_path / "in")
    with pytest.raises(SystemExit, match="states no frame rate, which --fps needs; set --source-fps too"):
        prepared("mevis", root, tmp_path / "out", *SIZE, "--fps", "3")
    _, record = prepared("mevis", root, tmp_path / "out", *SIZE, "--fps", "3", "--source-fps", "6")
    assert record["taken"] == [0, 2, 4, 6, 8]


def test_two_clips_of_one_name_are_refused(tmp_path):
    root = layouts.folder(tmp_path / "in")
    (entry,) = json.loads((root / "clips.json").read_text())
    (root / "clips.json").write_text(json.dumps([entry, entry]))
    with pytest.raises(SystemExit, match="two entries of the name mine"):
        prepared("folder", root, tmp_path / "out", *SIZE)


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(SystemExit, match="'cats' is not known; choose mevis, vspw, davis"):
        prepared("cats", tmp_path, tmp_path / "out")


def test_prompts_with_times_become_a_list_for_sampling(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text('prompt,verb,f0,f1,f2\nA dog.,jumps,0,1,1\n"A dog.",sits,1,0,0\nA cat.,runs,1,1,0\n')
    main(["prepare", prepare.TIMING, str(path), str(tmp_path / "out")])
    lines = json.loads((tmp_path / "out/list.json").read_text())
    assert lines == [
        {"caption": "A dog.", "concepts": [], "object": ["jumps", "sits"]},
        {"caption": "A cat.", "concepts": [], "object": ["runs"]},
    ]
    times = json.loads((tmp_path / "out/timing.json").read_text())
    assert times[1] == {"caption": "A dog.", "verb": "sits", "frames": [True, False, False]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,verb\na,b\n", "has the columns prompt, verb; expected prompt, verb, and a 0 or a 1"),
        ("prompt,verb,0\na,b,2\n", "line 2 is"),
        ("prompt,verb,0,1\na,b,0,1\na,c,1\n", "line 3: 1 frames, and 2 in an earlier row"),
        ("prompt,verb,0\n", "has no rows"),
    ],
)
def test_faulty_times_are_refused(text, message, tmp_path):
    path = tmp_path / "times.csv"
    path.write_text(text)
    with pytest.raises(SystemExit, match=message):
        main(["prepare", "timing", str(path), str(tmp_path / "out")])


@pytest.mark.slow
def test_the_list_goes_through_renoising_with_its_truth(tmp_path):
    from imap.cli.main import main as imap
    from imap.config.sample_lists import read_list

    root = layouts.ref_davis(tmp_path / "in")
    prepared("ref-davis", root, tmp_path / "out", "--frames", "9", "--height", "32", "--width", "48")
    path = tmp_path / "out/list.json"
    assert read_list(path, with_video=True)[0].concepts == ("a square, moving",)
    sizes = ("height=32", "width=48", "num_frames=9", "num_inference_steps=2", "renoise_timestep=1")
    imap(["renoise", "backbone=tiny_wan", f"input_json={path}", f"output_dir={tmp_path / 'run'}", *sizes])
    folder = next((tmp_path / "run").glob("000-*"))
    taken = json.loads((tmp_path / "out/clips/bike-packing-1-1.json").read_text())["taken"]
    np.testing.assert_array_equal(read_truth(folder / "truth.npz").of("a square, moving"), layouts.square()[taken])
