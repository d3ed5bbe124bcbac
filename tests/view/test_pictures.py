"""Pictures show the right values in the right place and frame, say how they are scaled, and are the same twice."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import imageio.v3 as iio
import matplotlib
import numpy as np
import pytest
from PIL import Image

from imap import ImapError
from imap.view import __main__ as command
from imap.view.look import Look
from imap.view.moving import over
from imap.view.normalization import KINDS, normalize
from imap.view.overlay import DARKENED, coloured, overlay
from imap.view.overview import PANEL, WIDEST, overview
from imap.view.pictures import file_names, write_pictures
from imap.view.sample import open_sample, samples_in
from imap.view.strip import NAMES, Mark, _cells, columns_of, save, strip, strips
from imap.view.upsampling import enlarge, latent_frame, middle_frame
from imap.view.wrapping import wrapped, wrapped_caption

FRAMES, LATENT, HEIGHT, WIDTH = 13, 4, 48, 64  # of the run in conftest


@pytest.mark.parametrize(("frames", "latent"), [(49, 13), (25, 7), (13, 4), (1, 1)])
def test_the_first_latent_frame_is_one_frame_and_each_later_one_four(frames, latent):
    latents = [latent_frame(frame, latent, frames) for frame in range(frames)]
    assert latents == [0, *(1 + i // 4 for i in range(frames - 1))]
    for k in range(latent):
        assert latent_frame(middle_frame(k, latent, frames), latent, frames) == k


@pytest.mark.parametrize(("latents", "patch"), [(2, 1), (4, 1), (4, 2), (22, 2)])
def test_where_the_video_has_four_frames_for_every_latent_frame(latents, patch):
    shown = [latent_frame(frame, latents // patch, 4 * latents) for frame in range(4 * latents)]
    assert shown == [i // (4 * patch) for i in range(4 * latents)]


@pytest.mark.parametrize("in_video", [4, 5, 21, 22])
def test_with_patches_of_two_latent_frames_a_map_frame_covers_both(in_video):
    padded, frames = in_video % 2, 4 * (in_video - 1) + 1  # CogVideoX 1.5 puts a padding before an odd number
    own = [(latent + padded) // 2 for latent in range(in_video)]
    shown = [latent_frame(frame, max(own) + 1, frames) for frame in range(frames)]
    assert shown == [own[0], *(own[1 + i // 4] for i in range(frames - 1))]
    assert all(shown[middle_frame(k, max(own) + 1, frames)] == k for k in own)


def test_corners_of_an_enlarged_map_stay_corners(maps):
    x = normalize(maps["imap_layers"]).values[0]
    first, last = (enlarge(x[k], HEIGHT, WIDTH) for k in (0, -1))
    assert first.shape == (HEIGHT, WIDTH) and first.dtype == np.float32
    assert last[-1, -1] == 1 and first[0, 0] == 0
    assert (np.diff(first, axis=0) >= 0).all() and (np.diff(first, axis=1) >= 0).all()
    assert np.array_equal(enlarge(x[0], HEIGHT, WIDTH, "nearest")[::8, ::8], x[0])


def test_each_frame_gets_its_latent_frames_map(maps):
    frames, x = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8), normalize(maps["imap_layers"]).values[0]
    video = list(over(frames, x, Look(space="nearest", opacity=1.0)))
    assert len(video) == FRAMES and np.array_equal(video[1], video[4]) and not np.array_equal(video[4], video[5])
    expected = overlay(frames[5], enlarge(x[2], HEIGHT, WIDTH, "nearest"), opacity=1.0)
    assert np.array_equal(video[5], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_each_normalization_is_what_its_name_says_and_writes_its_limits_down(kind, maps):
    maps = maps["imap_layers"]
    found = normalize(maps, kind)
    assert found.values.min() >= 0 and found.values.max() <= 1
    low, high = found.limits[..., 0, None, None], found.limits[..., 1, None, None]
    np.testing.assert_allclose(found.values, ((maps - low) / (high - low)).clip(0, 1), atol=1e-6)
    text = maps[0]
    expected = {
        "median": [np.percentile(text, [50, 99.5])] * LATENT,
        "video": [[text.min(), text.max()]] * LATENT,
        "frame": [[frame.min(), frame.max()] for frame in text],
        "percentile": [np.percentile(text, [1, 99])] * LATENT,
        "shared": [[maps.min(), maps.max()]] * LATENT,
    }[kind]
    np.testing.assert_allclose(found.limits[0], expected, rtol=1e-6)
    recorded = found.recorded()
    assert recorded["normalization"] == kind and np.allclose(
        recorded["limits"][0], expected if kind == "frame" else expected[0]
    )


def test_a_map_that_is_bright_in_a_few_cells_only_is_scaled_to_them():
    x = np.zeros((1, 3, 20, 20), np.float32)
    x[0, 1, 4, 5] = 3
    found = normalize(x)
    assert found.values[0, 1, 4, 5] == 1 and found.values.sum() == 1 and found.limits[0, 0].tolist() == [0, 3]


def test_a_map_without_spread_is_dark_and_no_error():
    found = normalize(np.full((2, 3, 4, 4), 7.0))
    assert (found.values == 0).all() and (found.limits == 7).all()


def test_an_overlay_is_the_colour_at_one_and_the_darkened_video_at_zero():
    frames = np.full((1, 2, 2, 3), 200, np.uint8)
    x = np.array([[[0.0, 1.0], [0.5, 0.0]]], np.float32)
    found = overlay(frames, x, "viridis", opacity=1.0)
    assert found[0, 0, 0].tolist() == [round(200 * (1 - DARKENED))] * 3
    top = np.array(matplotlib.colormaps["viridis"](1.0)[:3]) * 255
    assert np.abs(found[0, 0, 1] - top).max() <= 1
    assert np.array_equal(overlay(frames, x, opacity=0.0), frames)
    assert coloured(x, "magma").shape == (1, 2, 2, 3)
    yellow = np.full((1, 2, 2, 3), (250, 200, 0), np.uint8)  # where a map is 0, things keep their colour
    assert overlay(yellow, np.zeros((1, 2, 2)), opacity=1.0)[0, 0, 0].tolist() == [112, 90, 0]


@pytest.fixture(scope="module")
def pictured(tmp_path_factory, write):
    """A sample's folder with all its pictures, to be looked at."""
    folder = write(tmp_path_factory.mktemp("pictured") / "000-sample")
    write_pictures(open_sample(folder), Look(gif=True))
    return folder


@pytest.fixture
def pictured_copy(pictured, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(pictured, tmp_path / pictured.name)


def test_a_sample_gets_its_videos_its_strip_and_the_scale(pictured):
    view = pictured / "view"
    names = {path.name for path in view.iterdir()}
    slugs = ("ball", "box", "rises-----script--falls")
    expected = {f"{slug}{end}" for slug in (*slugs, "overview") for end in (".mp4", ".gif")}
    assert names == expected | {"strip.png", "strip.pdf", "view.json"}
    video, both = (iio.imread(view / f"{name}.mp4", plugin="pyav") for name in ("ball", "overview"))
    assert len(video) == len(both) == FRAMES and both.shape[2] > video.shape[2] > 2 * 400
    # the ramp: the last frame is bright at the end and dark at the start of the video
    right = video[:, :, video.shape[2] // 2 :]
    assert right[-1].mean() > right[0].mean() + 40
    facts = json.loads((view / "view.json").read_text())
    assert facts["texts"]["ball"]["key"] == "imap_layers"
    assert facts["texts"]["ball"]["limits"] == [[357.0, 712.09]]
    assert facts["texts"]["ball"]["files"] == ["ball.mp4", "ball.gif"]
    assert facts["texts"]["rises & </script> falls"]["key"] == "sel_imap_layers"
    assert Image.open(view / "strip.png").size[0] > 800


@pytest.mark.slow
def test_the_same_data_gives_the_same_bytes(pictured_copy):
    def digests(view):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in view.iterdir()}

    first = digests(pictured_copy / "view")
    assert digests(write_pictures(open_sample(pictured_copy), Look(gif=True))) == first


@pytest.mark.slow
def test_other_looks_give_other_pictures_and_replace_the_old_ones(pictured_copy):
    first = (pictured_copy / "view/strip.png").read_bytes()
    view = write_pictures(
        open_sample(pictured_copy), Look("cross_attention_maps_layers", "frame", "viridis", space="nearest")
    )
    assert view.joinpath("strip.png").read_bytes() != first and [x.name for x in view.glob("*.gif")] == ["overview.gif"]


def test_many_latent_frames_are_thinned_to_a_readable_strip():
    assert columns_of(7) == list(range(7)) and columns_of(13) == [0, 2, 3, 5, 6, 8, 9, 11, 12]
    assert columns_of(21)[0] == 0 and columns_of(21)[-1] == 20 and len(columns_of(21)) == 9
    assert columns_of(13, 13) == list(range(13)) and columns_of(13, 1) == [0] and columns_of(1) == [0]


def test_a_sample_with_pictures_is_written_again_like_any_other(pictured_copy, write):
    write(pictured_copy, seed=3)
    assert not (pictured_copy / "view").exists() and open_sample(pictured_copy).frames.shape == (
        FRAMES,
        HEIGHT,
        WIDTH,
        3,
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"normalization": "max"},
            "normalization='max' is not known; it can be median, video, frame, percentile",
        ),
        ({"colormap": "jet"}, "colormap='jet' is not known; it can be inferno"),
        ({"space": "cubic"}, "space='cubic' is not known"),
        ({"opacity": 1.5}, "opacity=1.5 is not between 0 and 1"),
        ({"columns": 0}, "columns=0 is not a number of frames"),
    ],
)
def test_a_look_that_is_not_known_is_refused(given, said):
    with pytest.raises(ImapError, match=said):
        Look(**given)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_shown(earlier, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["view", str(earlier)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    (folder,) = samples_in(earlier)
    assert ended.value.code == 0 and capsys.readouterr().out.split() == [
        str(folder / "view"),
        str(earlier / "report.html"),
    ]
    texts = json.loads((folder / "view/view.json").read_text())["texts"]
    assert [(text, facts["key"]) for text, facts in texts.items()] == [
        ("ball", "imap_layers"),
        ("dog", "imap_layers"),
        ("rolls", "sel_imap_layers"),
    ]
    shown = open_sample(folder)
    assert shown.caption == "A red ball rolls past a small dog on the grass." and shown.times[8] == 1
    assert shown.frames.shape == (9, 48, 64, 3) and shown.maps["imap_layers"].shape == (3, 3, 3, 4)


def test_folders_that_cannot_be_shown_say_why(run, tmp_path):
    with pytest.raises(ImapError, match="holds no finished samples; give the output_dir of a run"):
        samples_in(tmp_path)
    with pytest.raises(ImapError, match=f"there is no folder {tmp_path / 'nowhere'}; give the output_dir of a run"):
        samples_in(tmp_path / "nowhere")
    folder = samples_in(run)[0]
    with pytest.raises(ImapError, match=r"no maps 'nothing'; there are sel_imap_layers, imap_layers"):
        write_pictures(open_sample(folder), Look(key="nothing"))
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "layout": 99}))
    with pytest.raises(ImapError, match="of layout 99, and this version shows layout 1"):
        open_sample(folder)
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / "output.mp4").unlink()
    with pytest.raises(ImapError, match=r"has no output\.mp4"):
        open_sample(folder)


def test_a_wrong_setting_of_the_command_is_one_line(run):
    with pytest.raises(SystemExit, match="imap: error: opacity=7"):
        command.main([str(run), "--opacity", "7"])


@pytest.mark.slow
def test_the_command_shows_all_samples_of_a_run(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["view", str(run), "--normalization", "percentile"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.count("view") == 2 and (run / "report.html").is_file()


@pytest.mark.slow
def test_a_bad_sample_does_not_stop_the_others_and_the_status_says_so(run, write, monkeypatch, capsys, caplog):
    old, bad, good = samples_in(run)[0], run / "001-sample", write(run / "002-sample")
    meta = json.loads((old / "meta.json").read_text())
    (old / "meta.json").write_text(json.dumps({**meta, "layout": 0}))
    (bad / "output.mp4").write_bytes(b"no video")
    monkeypatch.setattr(sys, "argv", ["view", str(run)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.split() == [str(good / "view"), str(run / "report.html")]
    assert "000-sample: no pictures: " in caplog.text and "is of layout 0" in caplog.text
    assert "001-sample: no pictures: " in caplog.text and "Traceback" not in caplog.text and len(caplog.records) == 2


@pytest.mark.slow
def test_one_samples_report_lies_in_its_view_and_the_sample_is_written_again_like_any_other(run, write, monkeypatch):
    folder = samples_in(run)[0]
    for flag in ("--no-pictures", "--space=nearest"):  # alone, and replaced with the pictures
        monkeypatch.setattr(sys, "argv", ["view", str(folder), flag])
        with pytest.raises(SystemExit) as ended:
            command.main()
        assert ended.value.code == 0 and (folder / "view/report.html").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "npy", "output.mp4", "view"]
    (folder / "view/report.part").touch()  # killed while a report was written
    write_pictures(open_sample(folder), Look())
    write(folder, seed=3)


@pytest.mark.slow
def test_what_killed_pictures_left_in_a_sample_is_cleared_away(pictured_copy, write, dead: int):
    folder, view = pictured_copy, pictured_copy / "view"
    (folder / f".view.partial-{dead}/half").mkdir(parents=True)
    write_pictures(open_sample(folder), Look())
    assert not (folder / f".view.partial-{dead}").exists()
    (folder / f".view.partial-{dead}").mkdir()
    os.replace(view, folder / ".view.old")
    write(folder, seed=3)
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "npy", "output.mp4"]


def test_similar_texts_have_different_files():
    assert file_names(["t shirt", "t-shirt", "c", "C++", "++"]) == ["t-shirt", "t-shirt-2", "c", "c-2", "text"]
    long = "a dog that runs over the field and jumps into the river and "
    assert len(set(file_names([long + "sinks", long + "swims"]))) == 2
    assert file_names(["ball", "overview", "ball-2", "ball!"]) == ["ball", "overview-2", "ball-2", "ball-3"]


def test_limits_of_small_maps_are_written_down(maps):
    recorded = normalize(maps["imap_layers"] * np.float32(1e-7)).recorded()
    np.testing.assert_allclose(recorded["limits"][0], [357e-7, 712.09e-7], rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "$^$",
        "a $5 and $10 bill",
        "the small dog that runs over the field and then jumps into the river while the sun sets behind the hills",
        "Donaudampfschifffahrtsgesellschaftskapitaensmuetzenhersteller" * 2,
    ],
)
def test_any_text_stands_as_it_is_beside_its_row_of_a_strip(text, run, tmp_path):
    shown = open_sample(samples_in(run)[0])
    figure = strip(shown, [(text, text, shown.maps["imap_layers"][0], None)], "inferno", 0.8, "bilinear")
    save(figure, tmp_path / "strip.png")
    labels = [label for label in figure.axes[0].texts if label.get_ha() == "right" and label.get_text() != "video"]
    assert len(labels) == 1
    for label in labels:
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= NAMES * figure.dpi and label.get_fontsize() > 5.5
        # letters that no math has swallowed; what three lines cannot hold is cut
        assert text.replace(" ", "").startswith("".join(label.get_text().split()).rstrip("…"))


def test_a_text_is_wrapped_between_words_where_it_can_be():
    assert wrapped("a red ball rolls", 2) == "a red ball\nrolls" and wrapped("ball", 3) == "ball"
    assert wrapped("unbreakable", 2) == "unbreakable" and wrapped("abcdef", 2, between_words=False) == "abc\ndef"


def test_large_videos_are_averaged_and_not_thinned_out_in_strips():
    checks = np.indices((480, 720)).sum(axis=0)[None, ..., None] % 2 * np.full(3, 255)
    small = _cells(checks.astype(np.uint8))
    assert small.shape == (1, 160, 240, 3) and 110 < small.min() <= small.max() < 145


def test_the_overview_shows_the_video_and_every_word_with_names_and_the_time(run):
    shown = open_sample(samples_in(run)[0])
    words = [(text, "imap_layers", normalize(shown.maps.of(text)[None]).values[0]) for text in shown.maps.texts]
    frames = list(overview(shown, words, Look(opacity=1.0)))
    height, width, _ = frames[0].shape
    assert len(frames) == FRAMES and height % 2 == width % 2 == 0 and 4 * PANEL < width <= WIDEST
    video = np.asarray(Image.fromarray(shown.frames[5]).resize((PANEL, 150), Image.Resampling.BILINEAR))
    top = next(y for y in range(height) if np.array_equal(frames[5][y : y + 150, 12 : 12 + PANEL], video))
    for number, (_, _, x) in enumerate(words, 1):
        left = 12 + number * (PANEL + 12)
        expected = overlay(video, enlarge(x[2], 150, PANEL), opacity=1.0)
        assert np.array_equal(frames[5][top : top + 150, left : left + PANEL], expected)
    assert not np.array_equal(frames[5][-26:, :80], frames[6][-26:, :80])  # the time
    assert np.array_equal(frames[5][: top - 1], frames[6][: top - 1]) and (frames[5][: top - 1] < 100).any()  # names
    narrow = next(iter(overview(shown, words * 3, Look())))
    assert narrow.shape[1] <= WIDEST and narrow.shape[0] > 1.7 * height


def test_a_strip_has_its_caption_and_beside_each_map_its_colours_in_full_and_what_they_show(run):
    shown = open_sample(samples_in(run)[0])
    x = shown.maps["imap_layers"][0]
    rows = [("ball", "imap_layers", x, (0.0, 714.0)), ("ball", "imap", x, None), ("ball", "layer 5", x, None)]
    figure = strips([(shown, rows), (shown, rows[:1])], "viridis", 0.3, "bilinear")
    assert [text.get_text() for text in figure.texts] == ["A ball rises.", "A ball rises.", "GramCol"]
    bars = [axes for axes in figure.axes if len(axes.texts) == 2]
    assert [[text.get_text() for text in bar.texts] for bar in bars] == [
        ["low\n0", "high\n714"],
        ["low", "high"],
        ["low", "high"],
        ["low\n0", "high\n714"],
    ]
    for bar in bars:
        assert np.array_equal(bar.images[0].get_array()[[0, -1], 0], coloured(np.array([1.0, 0.0]), "viridis"))
    names = [text.get_text() for text in figure.axes[0].texts]
    assert "GramCol" in names and "GramCol, all layers" in names and "imap" not in names


def test_marks_are_in_the_strip_whose_row_they_name(run):
    shown = open_sample(samples_in(run)[0])
    rows = [("ball", "imap_layers", shown.maps["imap_layers"][0], None)]
    figure = strips([(shown, rows)] * 2, "viridis", 0.8, "bilinear", marks=[Mark(3, 1, 0.5, 0.5)])
    marked = [axes for axes in figure.axes if axes.lines]
    assert len(marked) == 1 and marked[0] is [axes for axes in figure.axes if len(axes.texts) > 3][1]


def test_a_long_caption_is_cut_to_two_lines():
    caption = wrapped_caption("a $5 bill that flies " * 30, 6.0)
    assert caption.count("\n") == 1 and caption.endswith(" …") and wrapped_caption("a ball", 6.0) == "a ball"


def test_a_strip_has_at_most_the_given_number_of_columns(run):
    shown = open_sample(samples_in(run)[0])
    rows = [("ball", "imap_layers", shown.maps["imap_layers"][0], None)]
    two, four = (strip(shown, rows, "inferno", 0.8, "bilinear", most) for most in (2, 4))
    assert two.get_figwidth() < four.get_figwidth() - 2


@pytest.mark.slow
def test_a_bar_is_shown_on_terminals_while_videos_are_made(run, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    write_pictures(open_sample(samples_in(run)[0]), Look())
    assert "pictures of 000-sample" in capsys.readouterr().err


DAMAGE = {
    "no texts": (
        "meta.json",
        r"meta\.json is damaged, as it has no texts; remove the sample's folder and run it again",
    ),
    "junk": ("output.mp4", r"output\.mp4 cannot be decoded as a video \(.*\); remove the sample's folder"),
    "deleted": ("npy/imap_layers.npy", r"imap_layers\.npy is missing; remove the sample's folder"),
    "truncated": ("npy/imap_layers.npy", r"imap_layers\.npy is damaged \(.*\); remove the sample's folder"),
    "empty": ("npy/imap_layers.npy", r"imap_layers\.npy is damaged \(.*\); remove the sample's folder"),
    "of one text": ("npy/imap_layers.npy", r"maps of 3 texts were expected, and it is \(1, 4, 6, 8\); remove"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_sample_is_logged_once_in_one_line(damage, run, monkeypatch, caplog):
    name, said = DAMAGE[damage]
    path = run / "000-sample" / name
    if damage == "no texts":
        path.write_text(json.dumps({key: x for key, x in json.loads(path.read_text()).items() if key != "texts"}))
    elif damage == "of one text":
        np.save(path, np.load(path)[:1])
    elif damage == "deleted":
        path.unlink()
    else:
        path.write_bytes({"junk": b"junk", "truncated": path.read_bytes()[:300], "empty": b""}[damage])
    monkeypatch.setattr(sys, "argv", ["view", str(run / "000-sample")])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith("000-sample: no pictures: ") and "\n" not in line and re.search(said, line), line


@pytest.mark.slow
def test_view_loads_no_model_code():
    models = ("torch", "diffusers", "transformers", "hydra")
    code = f"import sys, imap.view.__main__; print([x for x in {models} if x in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
