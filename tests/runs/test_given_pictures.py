"""Pictures of image-to-video models in commands and lists: checked first, recorded, and part of the request."""

import json

import numpy as np
import pytest
from PIL import Image

from imap.cli.main import main
from imap.errors import ImapError
from imap.map_files import read_meta
from imap.media.pictures import fit_pictures, read_picture
from imap.testing import tiny
from tests.shared import PROMPT

SETTINGS = ["imap_layer=[0,1]", "imap_sep_topk=2", "num_inference_steps=2", "pictures=false"]
RNG = np.random.default_rng(0)


def settings(family="wan_i2v", preset="wan2_1_i2v_14b", size=("height=32", "width=48", "num_frames=9")):
    return [f"backbone={preset}", f"backbone.path={tiny.folder(family)}", *size, *SETTINGS]


def picture(path, height=32, width=48):
    Image.fromarray(RNG.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def entries(folder, *named):
    path = folder / "list.json"
    path.write_text(json.dumps([{"caption": PROMPT, "concepts": "ball", "image": name} for name in named]))
    return path


def run(*arguments):
    main(["sample", *arguments])


@pytest.fixture
def no_model(monkeypatch):
    def start():
        monkeypatch.setattr("imap.runs.runner.load", lambda *_: pytest.fail("a model was loaded"))

    return start


@pytest.mark.slow
def test_a_list_of_pictures_is_sampled_and_only_a_changed_one_is_made_again(tmp_path, monkeypatch, no_model):
    (tmp_path / "lists").mkdir()
    for name in ("a.png", "b.png"):
        picture(tmp_path / "lists" / name)
    command = [
        *settings(),
        f"input_json={entries(tmp_path / 'lists', 'a.png', 'b.png')}",
        f"output_dir={tmp_path / 'out'}",
    ]
    run(*command)
    folders = sorted(path for path in (tmp_path / "out").iterdir() if path.is_dir())
    metas = [read_meta(folder) for folder in folders]
    assert len(folders) == 2
    assert [meta["request"]["sample"]["image"] for meta in metas] == [
        str(tmp_path / "lists" / x) for x in ("a.png", "b.png")
    ]
    assert metas[0]["request"]["sample"]["image_sha256"] != metas[1]["request"]["sample"]["image_sha256"]
    assert metas[0]["pictures"]["image"] == {"source": "given", "height": 32, "width": 48}
    assert not np.array_equal(*(np.load(folder / "npy" / "imap.npy") for folder in folders))
    times = [(folder / "meta.json").stat().st_mtime_ns for folder in folders]
    picture(tmp_path / "lists" / "b.png")
    run(*command)
    again = [(folder / "meta.json").stat().st_mtime_ns for folder in folders]
    assert again[0] == times[0] and again[1] > times[1]
    no_model()
    run(*command)


def test_pictures_are_checked_before_a_model_is_loaded(tmp_path, no_model, capsys):
    no_model()
    good, text = picture(tmp_path / "a.png"), tmp_path / "b.png"
    text.write_text("no picture")
    Image.new("RGB", (48, 32)).save(
        tmp_path / "c.gif", save_all=True, append_images=[Image.new("RGB", (48, 32), "red")]
    )
    words = [f"prompt={PROMPT}", "concepts=ball", f"output_dir={tmp_path / 'out'}"]
    plain = ["backbone=tiny_wan", *SETTINGS[:2], *words]
    for command, said in (
        ([*settings(), *words], "wan_i2v makes videos from pictures: set image to a picture"),
        ([*settings(), *words, f"image={tmp_path}/none.png"], "none.png does not exist"),
        ([*settings(), *words, f"image={text}"], "cannot be read as a picture"),
        ([*settings(), *words, f"image={tmp_path}/c.gif"], "holds 2 pictures; give one"),
        (
            [*settings(), *words, f"image={good}", f"last_image={good}"],
            "last_image is set, and wan_i2v takes no last_image",
        ),
        ([*settings("wan_flf2v", "wan2_1_flf2v_14b"), *words, f"image={good}"], "set last_image to a picture"),
        ([*plain, f"image={good}"], "image is set, and wan takes no image: it makes videos from text alone"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(*command)
        assert said in f"{capsys.readouterr().err}{stop.value}", command
    assert not any((tmp_path / "out").iterdir())


def test_a_picture_of_another_shape_is_cut_and_said():
    wide = RNG.integers(0, 255, (20, 60, 3), dtype=np.uint8)
    fitted = fit_pictures({"image": wide}, 20, 20)
    assert np.array_equal(np.asarray(fitted.arguments["image"]), wide[:, 20:40])
    assert fitted.notes == ("image of 20x60 was cut to the video's shape, 20x20 (height x width)",)
    larger = fit_pictures({"image": wide}, 40, 120)
    assert larger.arguments["image"].size == (120, 40) and not larger.notes
    clip = RNG.integers(0, 255, (5, 20, 60, 3), dtype=np.uint8)
    ends = fit_pictures({"image": None, "last_image": None}, 20, 60, clip).arguments
    assert np.array_equal(np.asarray(ends["image"]), clip[0]) and np.array_equal(
        np.asarray(ends["last_image"]), clip[4]
    )


def test_a_photograph_lies_as_its_camera_was_held(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_picture("image", tmp_path / "a.jpg")
    assert found.shape == (32, 16, 3) and found[:14].mean() > 250 and found[18:].mean() < 5


def test_depths_and_turns_of_pictures(tmp_path):
    ramp = np.tile(np.arange(0, 255, 5, dtype=np.uint8), (8, 1))
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read_picture("image", tmp_path / "deep.png")[..., 0], ramp)
    Image.fromarray(ramp.astype(np.float32) / 255).save(tmp_path / "float.tif")
    with pytest.raises(ImapError, match=r"32 bits \(mode F\), of unknown range; save it with 8 bits"):
        read_picture("image", tmp_path / "float.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = read_picture("image", tmp_path / "a.jpg")
    assert turned.shape == (51, 8, 3) and np.array_equal(turned, read_picture("image", Image.open(tmp_path / "a.jpg")))


@pytest.mark.parametrize("bad", [5, None, np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ImapError, match="image is a .*; expected a picture file, a PIL image or uint8"):
        read_picture("image", bad)
