"""Drawing from Python: overlays, strips and moving pictures of maps in memory, and folders that `imap view` opens."""

from dataclasses import replace
from io import BytesIO

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import imap
from imap.media.video_io import read_video
from imap.view import quick
from imap.view.look import Look
from imap.view.normalization import normalize
from imap.view.overlay import coloured, overlay
from imap.view.pictures import write_pictures
from imap.view.sample import open_sample
from imap.view.upsampling import enlarge

FRAMES, HEIGHT, WIDTH = 13, 48, 64  # of the video; the maps have 4 latent frames


@pytest.fixture
def video():
    return np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8)


def test_an_overlay_is_the_views_at_the_videos_size(maps, video):
    x = normalize(maps.of("ball")[None]).values[0]
    expected = overlay(video[:1], enlarge(x[0], HEIGHT, WIDTH)[None])
    got = maps.overlay("ball", video)
    assert got.dtype == np.uint8 and got.shape == video.shape
    np.testing.assert_array_equal(got[:1], expected)


def test_without_a_video_an_overlay_is_the_map_in_colours(maps):
    got = maps.overlay("ball", colormap="magma")
    x = normalize(maps.of("ball")[None]).values[0]
    np.testing.assert_array_equal(got[0], coloured(enlarge(x[0], *got.shape[1:3]), "magma"))


@pytest.mark.parametrize(
    "convert",
    [
        lambda video: video,
        lambda video: video[None],
        lambda video: (video / 255).astype(np.float32),
        lambda video: [Image.fromarray(frame) for frame in video],
        lambda video: [[Image.fromarray(frame) for frame in video]],
        lambda video: torch.from_numpy(video / 255).permute(0, 3, 1, 2),
        lambda video: torch.from_numpy(video / 255).permute(0, 3, 1, 2)[None].bfloat16(),
    ],
    ids=["uint8", "batch", "float", "pil", "batch of pil", "tensor", "bfloat16 batch"],
)
def test_a_video_is_taken_as_diffusers_returns_it(maps, video, convert):
    frames = quick.as_frames(convert(video), maps)
    assert frames.dtype == np.uint8 and frames.shape == video.shape
    assert np.abs(frames.astype(int) - video).max() <= 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda video: video[:8], "8 frames, which do not fit maps of 4 latent frames; expected 13"),
        (lambda video: video[..., :2], "is not"),
        (lambda video: video.astype(np.float32), "must lie in"),
        (lambda video: "clip.mp4", "there is no file"),
    ],
)
def test_a_video_that_does_not_fit_is_refused(maps, video, make, said):
    with pytest.raises(imap.ImapError, match=said):
        maps.overlay("ball", make(video))


def test_a_path_is_read_as_its_video(maps, run):
    folder = next(run.iterdir())
    shown = maps.overlay("ball", folder / "output.mp4", opacity=0.0)
    np.testing.assert_array_equal(shown, read_video(folder / "output.mp4"))


@pytest.mark.parametrize("frames", [25, 29])
def test_maps_of_two_latent_frames_each_take_videos_with_and_without_padding(maps, frames):
    grid = {**maps.facts.get("grid", {}), "latent_frames_per_patch": 2}
    wide = replace(maps, facts={**maps.facts, "grid": grid})
    video = np.zeros((frames, 48, 64, 3), np.uint8)
    assert len(wide.overlay("ball", video)) == frames
    with pytest.raises(imap.ImapError, match="expected 29 or 25"):
        wide.overlay("ball", video[:13])


def test_unknown_words_keys_and_looks_are_named(maps, video):
    with pytest.raises(imap.ImapError, match="^no map of 'cat'; there are ball"):
        maps.overlay("cat", video)
    with pytest.raises(imap.ImapError, match="^no maps 'nothing'"):
        maps.overlay("ball", video, key="nothing")
    with pytest.raises(imap.ImapError, match="colormap='jet' is not known"):
        maps.overlay("ball", video, colormap="jet")


def test_a_key_may_be_named_by_its_label(maps, video):
    np.testing.assert_array_equal(maps.of("ball", "imap"), maps.of("ball", "sel_imap_layers"))
    np.testing.assert_array_equal(
        maps.overlay("ball", video, key="Cross Attention"),
        maps.overlay("ball", video, key="cross_attention_maps_layers"),
    )
    with pytest.raises(KeyError, match=r"IMAP is maps\['sel_imap_layers'\]"):
        maps["IMAP"]


def test_plain_names_give_the_maps_over_the_chosen_layers(maps):
    np.testing.assert_array_equal(maps.imap, maps["sel_imap_layers"])
    np.testing.assert_array_equal(maps.gramcol, maps["imap_layers"])
    np.testing.assert_array_equal(maps.cross_attention, maps["cross_attention_maps_layers"])
    np.testing.assert_array_equal(maps.concept_attention, maps["concept_attention_maps_layers"])


def test_a_plot_has_a_row_per_word_and_one_for_the_video(maps, video):
    figure, alone = maps.plot(video, caption="A ball rises."), maps.plot()
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert isinstance(figure, Figure) and {"video", "ball", "box", "IMAP", "GramCol"} <= set(words)
    assert figure.texts[0].get_text() == "A ball rises."
    assert "video" not in [text.get_text() for axes in alone.axes for text in axes.texts]


@pytest.mark.slow
def test_a_script_without_a_screen_gets_a_gif(maps, video, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quick, "_has_window", lambda: False)
    path = maps.show("ball", video, fps=10)
    assert path is not None and path.name == "imap-ball.gif" and capsys.readouterr().out == "imap-ball.gif\n"
    with Image.open(path) as gif:
        assert gif.n_frames == FRAMES and gif.info["duration"] == 100 and gif.size == (836, 388)


@pytest.mark.slow
def test_a_notebook_shows_the_moving_picture_inline(maps, video, monkeypatch):
    displayed = []
    monkeypatch.setattr(quick, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", displayed.append)
    assert maps.show("ball", video, fps=10) is None and maps.show(video=video) is None
    for picture, size in zip(displayed, ((596, 298), (620, 194)), strict=True):
        assert picture.format == "png" and picture.data[:4] == b"\x89PNG"
        with Image.open(BytesIO(picture.data)) as moving:
            assert moving.n_frames == FRAMES and moving.size == size and moving.info["loop"] == 0
    with Image.open(BytesIO(displayed[0].data)) as moving:
        assert moving.info["duration"] == 100


@pytest.mark.slow
def test_a_saved_folder_with_a_video_is_drawn(maps, video, tmp_path):
    shown = open_sample(maps.save(tmp_path / "saved", video=video, fps=12))
    assert shown.times[12] == 1 and shown.has_video and shown.frames.shape == video.shape
    view = write_pictures(shown, Look())
    assert {"ball.mp4", "overview.mp4", "strip.png", "view.json"} <= {path.name for path in view.iterdir()}


@pytest.mark.slow
def test_a_saved_folder_without_a_video_is_drawn_as_maps_alone(maps, tmp_path):
    folder = maps.save(tmp_path / "saved")
    shown = open_sample(folder)
    assert not shown.has_video and (shown.frames == 0).all() and len(shown.frames) == FRAMES
    view = write_pictures(shown, Look())
    names = {path.name for path in view.iterdir()}
    assert {"ball.mp4", "overview.gif", "strip.png"} <= names
    maps.save(folder)  # its pictures are of the old maps
    assert not (folder / "view").exists()


def test_a_video_that_does_not_fit_leaves_no_folder(maps, video, tmp_path):
    with pytest.raises(imap.ImapError, match="do not fit"):
        maps.save(tmp_path / "saved", video=video[:7])
    assert list(tmp_path.iterdir()) == []


def test_a_users_map_is_named_in_pictures_and_report(maps, video, tmp_path):
    arrays = {**maps.arrays, "soft_layers": 3 * maps["imap_layers"]}
    with_soft = imap.Maps(
        arrays, maps.texts, maps.motions, maps.heads, maps.scores, labels={"soft_layers": "soft GramCol"}
    )
    shown = open_sample(with_soft.save(tmp_path / "saved", video=video))
    assert shown.maps.names["soft_layers"] == "soft GramCol" and list(shown.maps.names)[-1] == "soft_layers"
    figure = with_soft.plot(video, key="soft GramCol")
    assert "soft GramCol" in [text.get_text().replace("\n", " ") for text in figure.texts]


@pytest.mark.slow
def test_a_moving_picture_is_written_as_gif_or_mp4(maps, video, tmp_path):
    path = maps.show("ball", video, path=tmp_path / "made/ball.mp4")
    assert read_video(path).shape == (FRAMES, 388, 836, 3)
    with pytest.raises(imap.ImapError, match=r"ends in '.webm'; expected .gif or .mp4"):
        maps.show("ball", video, path=tmp_path / "ball.webm")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.slow
def test_show_makes_the_pictures_of_imap_view(maps, video, tmp_path):
    prompted = replace(maps, facts={**maps.facts, "prompt": "A ball rises."})
    view = write_pictures(open_sample(prompted.save(tmp_path / "saved", video=video, fps=12)), Look(gif=True))
    frames = open_sample(tmp_path / "saved").frames  # as they are after the mp4
    for text, name in ((None, "overview"), ("ball", "ball")):
        made = prompted.show(text, frames, fps=12, path=tmp_path / f"{name}.gif")
        assert made.read_bytes() == view.joinpath(f"{name}.gif").read_bytes()
    some = prompted.show(["box", "ball"], frames, path=tmp_path / "some.gif")
    with Image.open(some) as gif:
        assert gif.width == 12 + 3 * 212


def test_several_words_name_the_file_and_a_key_is_that_of_all(maps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quick, "_has_window", lambda: False)
    assert [str(maps.show(*given)) for given in ((), (["ball", "box"],))] == ["imap-overview.gif", "imap-ball-box.gif"]
    assert str(maps.show(key="GramCol")) == "imap-overview-imap_layers.gif"


@pytest.mark.parametrize("wrong", [np.zeros((13, 4, 4, 3), np.uint8), [], [np.zeros((4, 4, 3))], 3])
def test_show_without_a_word_first_says_how_to_give_the_video(maps, wrong):
    with pytest.raises(imap.ImapError, match=r"show takes a word, a list of words, or None .* give frames as video="):
        maps.show(wrong)


def test_a_shared_scale_is_that_of_all_words(maps, video):
    x = normalize(maps["imap_layers"], "shared").values[0]
    expected = overlay(video[:1], enlarge(x[0], HEIGHT, WIDTH)[None])
    np.testing.assert_array_equal(maps.overlay("ball", video, normalization="shared")[:1], expected)


@pytest.mark.slow
def test_the_colours_of_a_gif_are_near_and_its_ground_is_white(maps, video, tmp_path):
    path = maps.show("ball", video // 4, path=tmp_path / "ball.gif")
    exact = np.stack(list(iio.imread(maps.show("ball", video // 4, path=tmp_path / "ball.mp4"), plugin="pyav")))
    with Image.open(path) as gif:
        frame = np.asarray(gif.convert("RGB")).astype(int)
    assert (frame[:, :12] == 255).all() and (frame[:, 412:424] == 255).all()
    assert np.abs(frame - exact[0]).mean() < 3
    scale = frame[375:381, 680:790]  # of the colours: as the colormap has it
    expected = coloured(np.linspace(0, 1, 110), "inferno").astype(int)
    assert np.abs(scale - expected).max(axis=(0, 2)).mean() < 5


def test_a_model_without_concept_attention_says_so(maps):
    arrays = {key: x for key, x in maps.arrays.items() if not key.startswith("concept_attention")}
    without = imap.Maps(arrays, maps.texts, maps.motions)
    assert not hasattr(without, "concept_attention") and without.imap.shape == maps.imap.shape
    with pytest.raises(AttributeError, match="models with cross attention have none; there are sel_imap_layers, "):
        without.concept_attention  # noqa: B018


def test_integers_of_torch_and_wrong_values_are_told(maps, video):
    tensor = torch.from_numpy(video).movedim(-1, 1)
    np.testing.assert_array_equal(maps.overlay("ball", tensor), maps.overlay("ball", video))
    broken = video / 255.0
    broken[0, 0, 0, 0] = np.nan
    for wrong, reason in ((broken, "without NaN"), (video[:0], "no pixels"), ([], "no frames")):
        with pytest.raises(imap.ImapError, match=reason):
            maps.overlay("ball", wrong)
    for look, reason in (({"colour": "red"}, "is not a setting"), ({"opacity": "much"}, "opacity='much' is not")):
        with pytest.raises(imap.ImapError, match=reason):
            maps.overlay("ball", video, **look)
