"""Masks: the pixels that a map's rule says, in the right frame, at the video's size; files that COCO's tools read."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imap import ImapError, Maps
from imap.view import __main__ as command
from imap.view.coco import rle
from imap.view.look import Look
from imap.view.normalization import normalize
from imap.view.pictures import write_pictures
from imap.view.sample import open_sample
from imap.view.threshold import check_threshold, lowest_of_top, otsu
from imap.view.upsampling import enlarge, latent_frame

FRAMES, LATENT, HEIGHT, WIDTH = 13, 4, 48, 64  # of the run in conftest; a cell of its maps is 8x8 pixels
SIZE = (HEIGHT, WIDTH)


def cells(mask):
    """Masks (frames, h, w) of whole cells as (frames, 6, 8)."""
    return mask[:, ::8, ::8]


def otsu_by_definition(x):
    """Every split into two classes, its variance between classes by the definition."""
    best = (-1.0, None)
    for split in np.unique(x)[1:]:
        low, high = x[x < split], x[x >= split]
        weights = len(low) / x.size, len(high) / x.size
        between = sum(w * (part.mean() - x.mean()) ** 2 for w, part in zip(weights, (low, high), strict=True))
        best = max(best, (between, split), key=lambda pair: pair[0])
    return best[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("draw", ["normal", "two hills", "few values"])
def test_otsu_is_the_split_of_largest_variance_between_its_classes(draw, seed):
    rng = np.random.default_rng(seed)
    x = {
        "normal": lambda: rng.normal(size=(3, 5, 7)),
        "two hills": lambda: np.r_[rng.normal(0, 1, 90), rng.normal(9, 2, 15)],
        "few values": lambda: rng.integers(0, 5, 60).astype(float) ** 2,
    }[draw]().astype(np.float32)
    assert otsu(x) == pytest.approx(otsu_by_definition(x.astype(np.float64)))


def test_otsu_of_two_hills_lies_between_them():
    x = np.r_[np.linspace(0, 1, 50), np.linspace(8, 9, 10)]
    assert otsu(x) == 8


def test_a_number_is_on_the_scale_of_the_pictures(maps):
    x = normalize(maps.of("ball")[None]).values[0]
    got = maps.mask("ball", 0.25, size=SIZE, space="nearest")
    assert got.dtype == bool and got.shape == (FRAMES, HEIGHT, WIDTH)
    expected = np.stack([x[latent_frame(i, LATENT, FRAMES)] >= 0.25 for i in range(FRAMES)])
    assert np.array_equal(cells(got), expected) and 0 < expected.mean() < 0.5
    assert np.array_equal(maps.mask("ball", size=SIZE), maps.mask("ball", 0.5, size=SIZE))


def test_the_map_is_enlarged_before_it_is_cut(maps):
    got, blocks = (maps.mask("ball", 0.25, size=SIZE, space=space) for space in ("bilinear", "nearest"))
    assert not np.array_equal(got, blocks) and (got != blocks).mean() < 0.2
    x = normalize(maps.of("ball")[None]).values[0]
    assert np.array_equal(got[5], enlarge(x[2], *SIZE) >= np.float32(0.25))
    edges = np.diff(got[5].astype(int), axis=0).nonzero()[0] + 1
    assert (edges % 8).any()  # not of cells


def test_the_first_video_frame_has_the_first_latent_frame_and_the_next_four_the_second(maps):
    steps = np.zeros((3, LATENT, 6, 8), np.float32)
    for latent in range(LATENT):
        steps[:, latent, : latent + 1, 0] = 1
    got = replace(maps, arrays={"imap_layers": steps}).mask("ball", 0.5, size=SIZE, space="nearest")
    assert [int(x.sum()) // 64 for x in got] == [1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]


def test_a_share_marks_that_share_of_the_pixels(maps):
    word, x = "rises & </script> falls", maps["imap_layers"][2]
    got = maps.mask(word, "top 10%", size=SIZE, key="imap_layers")[[0, 1, 5, 9]]
    pixels = np.stack([enlarge(one, *SIZE) for one in x])
    assert got.sum() == round(0.1 * got.size) and pixels[got].min() > pixels[~got].max()
    by_cell = cells(maps.mask(word, "top 10%", size=SIZE, key="imap_layers", space="nearest"))[[0, 1, 5, 9]]
    assert by_cell.sum() == np.ceil(0.1 * x.size) == 20 and x[by_cell].min() > x[~by_cell].max()


def test_what_is_at_the_lowest_value_belongs_to_no_mask(maps):
    sparse = np.zeros((3, LATENT, 6, 8), np.float32)
    sparse[:, 2, 3, 4] = 1
    sparse = replace(maps, arrays={"imap_layers": sparse})
    for threshold in (0, "top 1%", "top 50%", "otsu"):
        got = cells(sparse.mask("ball", threshold, size=SIZE, space="nearest"))
        assert got.sum() == 4 and got[5:9, 3, 4].all(), threshold


def test_the_ends_of_the_scale_are_the_values_of_the_pictures(maps):
    x = maps["imap_layers"][2]
    for end, percent in ((0, 50), (1, 99.5)):
        got = cells(maps.mask("rises & </script> falls", end, size=SIZE, key="imap_layers", space="nearest"))
        assert np.array_equal(got[[0, 1, 5, 9]], x >= np.percentile(x, percent))


def test_otsu_looks_at_the_whole_video(maps):
    got = cells(maps.mask("ball", "otsu", size=SIZE, space="nearest"))
    x = maps.of("ball")
    expected = x >= otsu_by_definition(x.astype(np.float64))
    assert np.array_equal(got[[0, 1, 5, 9]], expected) and not got[0].any() and got[-1].all()


def test_scales_of_pictures_change_masks(maps):
    x = maps.of("ball")
    by_frame = cells(maps.mask("ball", 0.5, size=SIZE, normalization="frame", space="nearest"))
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    assert np.array_equal(by_frame[[0, 1, 5, 9]], (x - low) / (high - low) >= 0.5)
    shared = cells(maps.mask("ball", 0.5, size=SIZE, normalization="shared", space="nearest"))
    every = maps["imap_layers"]
    expected = ((x - every.min()) / (every.max() - every.min()) >= 0.5) & (x > x.min())
    assert np.array_equal(shared[[0, 1, 5, 9]], expected)
    assert shared.sum() == shared.size - 1 and not by_frame.all()  # "box" is -"ball"


def test_a_map_without_spread_has_an_empty_mask(maps):
    flat = replace(maps, arrays={key: np.full_like(x, 7) for key, x in maps.arrays.items()})
    assert not any(flat.mask("ball", threshold, size=SIZE).any() for threshold in (0, 0.5, "otsu", "top 10%"))


def test_a_mask_has_the_size_of_the_video_that_is_given_or_was_recorded(maps):
    video = np.zeros((FRAMES, 40, 56, 3), np.uint8)
    assert maps.mask("ball", video=video).shape == video.shape[:3]
    traced = replace(maps, facts={**maps.facts, "pixels": [30, 44]})
    assert traced.mask("ball").shape == (FRAMES, 30, 44)
    assert traced.mask("ball", size=np.array([13, 20, 24])).shape == (13, 20, 24)
    assert traced.mask("ball", video=video).shape == video.shape[:3]


REFUSED = {
    "above": ({"threshold": 1.5}, r"threshold=1\.5 is not known; it can be a number from 0 to 1"),
    "nan": ({"threshold": float("nan")}, "threshold=nan is not known"),
    "boolean": ({"threshold": True}, "threshold=True is not known"),
    "word": ({"threshold": "half"}, "threshold='half' is not known; .*otsu.*top 10%"),
    "no share": ({"threshold": "top 0%"}, "threshold='top 0%' is not known"),
    "too large a share": ({"threshold": "top 101%"}, "threshold='top 101%' is not known"),
    "no size": ({"size": None}, r"do not know the size of their video; give video= or size=\(height, width\)"),
    "one side": ({"size": 48}, r"size=48 is not \(height, width\) or \(frames, height, width\)"),
    "no pixels": ({"size": (0, 64)}, r"size=\(0, 64\) is not"),
    "length": ({"size": (12, 48, 64)}, "12 frames, which do not fit maps of 4 latent frames; expected 13"),
    "both": ({"video": np.zeros((13, 48, 64, 3), np.uint8)}, "give either video= or size=, and not both"),
    "colours": ({"colormap": "magma"}, "colormap= is not a setting of masks; there are normalization, space"),
    "normalization": ({"normalization": "max"}, "normalization='max' is not known"),
    "key": ({"key": "nothing"}, "no maps 'nothing'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_mask_is_refused(case, maps):
    wrong, said = REFUSED[case]
    with pytest.raises(ImapError, match=said):
        maps.mask("ball", **{"size": SIZE, **wrong})


def test_lengths_that_are_not_clear_are_asked_for(maps):
    cogvideox = replace(maps, facts={"family": "cogvideox", "pixels": [48, 64]})
    with pytest.raises(ImapError, match=r"fit videos of 13 or 16 frames; give video=, or size=\(frames, height, width"):
        cogvideox.mask("ball")
    got = cogvideox.mask("ball", 0.25, size=(16, *SIZE), space="nearest")
    assert np.array_equal(got[::4], got[3::4]) and len({x.tobytes() for x in got}) > 1


@pytest.mark.parametrize("text", ["top 10%", " Top10 % ", "top 10.0%"])
def test_a_share_is_recorded_in_one_form(text):
    assert check_threshold(text) == "top 10%" and check_threshold(np.float32(0.5)) == 0.5


def test_a_share_of_equal_values_takes_them_all():
    assert lowest_of_top(np.array([0.0, 1, 1, 1]), "top 25%") == 1


# what pycocotools 2.0.11 writes
BOX = np.zeros((6, 8), bool)
BOX[1:4, 2:5] = True
CODED = {"box": (BOX, "=33000a0"), "full": (np.ones((6, 8), bool), "0`1"), "none": (np.zeros((6, 8), bool), "`1")}


@pytest.mark.parametrize("case", CODED)
def test_codes_are_those_of_pycocotools(case):
    mask, counts = CODED[case]
    assert rle(mask) == {"size": [6, 8], "counts": counts}


@pytest.mark.parametrize("seed", range(20))
def test_random_masks_are_coded_as_pycocotools_does(seed):
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, [2, 90] if seed == 0 else 200, 2)
    mask = rng.normal(size=(height, width)).cumsum(axis=seed % 2) > rng.normal()  # long and short runs
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle(mask) == {"size": expected["size"], "counts": expected["counts"].decode()}
    assert np.array_equal(coco.decode(rle(mask)).astype(bool), mask)


def masks_in(folder):
    return json.loads((folder / "view/masks/masks.json").read_text(encoding="utf-8"))


def viewed(*arguments):
    with pytest.raises(SystemExit) as ended:
        command.main([*map(str, arguments)])
    return ended.value.code


@pytest.fixture(scope="module")
def cut(tmp_path_factory, write):
    """A sample's folder with masks, and with a note."""
    folder = write(tmp_path_factory.mktemp("cut") / "000-sample")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "notes": ["ball is not in the prompt"]}))
    assert viewed(folder, "--masks", "--mask-threshold", "0.25", "--no-report", "--space", "nearest") == 0
    return folder


@pytest.mark.slow
def test_the_command_writes_a_png_per_frame_and_word(cut):
    maps, words = Maps.load(cut), {"ball": "ball", "box": "box", "rises-----script--falls": "rises & </script> falls"}
    assert sorted(path.name for path in (cut / "view/masks").iterdir()) == sorted([*words, "masks.json"])
    for name, text in words.items():
        files = sorted((cut / "view/masks" / name).iterdir())
        assert [path.name for path in files] == [f"{i:04d}.png" for i in range(FRAMES)]
        expected = maps.mask(text, 0.25, size=SIZE, space="nearest")
        pictures = np.stack([np.asarray(Image.open(path)) for path in files])
        assert np.array_equal(pictures, 255 * expected.astype(np.uint8))


@pytest.mark.slow
def test_the_json_holds_the_same_masks_as_coco_has_them(cut):
    found, maps = masks_in(cut), Maps.load(cut)
    assert found["info"] == {
        "description": "A ball rises.",
        "notes": ["ball is not in the prompt"],
        "threshold": 0.25,
        "normalization": "median",
        "space": "nearest",
    }
    assert [one["name"] for one in found["categories"]] == list(maps.texts)
    assert [one["supercategory"] for one in found["categories"]] == ["concept", "concept", "motion"]
    assert found["categories"][0]["values"] == [445.772]  # a quarter of the way from 357 to 712.09
    assert found["categories"][0]["folder"] == "ball"
    assert found["images"][5] == {
        "id": 6,
        "file_name": "0005.png",
        "width": 64,
        "height": 48,
        "frame": 5,
        "seconds": 0.625,
    }
    masks = {text: maps.mask(text, 0.25, size=SIZE, space="nearest") for text in maps.texts}
    marked = sum(int(x.any(axis=(1, 2)).sum()) for x in masks.values())
    assert len(found["annotations"]) == marked < 3 * FRAMES  # none for an empty mask
    for number, one in enumerate(found["annotations"], 1):
        text = found["categories"][one["category_id"] - 1]["name"]
        mask = masks[text][one["frame"]]
        assert (one["id"], one["image_id"], one["iscrowd"], one["threshold"]) == (number, one["frame"] + 1, 0, 0.25)
        assert one["key"] == maps.key_of(text) and one["segmentation"] == rle(mask) and one["area"] == mask.sum()
        x, y, width, height = one["bbox"]
        inside = mask[y : y + height, x : x + width]
        assert inside.sum() == mask.sum() and all(inside[i].any() and inside[:, i].any() for i in (0, -1))


def test_pycocotools_reads_the_json(cut, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO(cut / "view/masks/masks.json")
    (ball,) = coco.getCatIds(catNms=["ball"])
    (one,) = coco.loadAnns(coco.getAnnIds(imgIds=[13], catIds=[ball]))
    expected = Maps.load(cut).mask("ball", 0.25, size=SIZE, space="nearest")[12]
    assert np.array_equal(coco.annToMask(one).astype(bool), expected)


@pytest.mark.slow
def test_masks_are_drawn_again_like_pictures(cut, tmp_path, write):
    folder = shutil.copytree(cut, tmp_path / "000-sample")
    write_pictures(open_sample(folder), Look(masks=True, mask_threshold="otsu", key="imap_layers"))
    assert masks_in(folder)["info"]["threshold"] == "otsu"
    look = json.loads((folder / "view/view.json").read_text())["look"]
    assert (look["masks"], look["mask_threshold"]) == (True, "otsu")
    write_pictures(open_sample(folder), Look())  # without: as with --gif, the old ones go
    assert not (folder / "view/masks").exists()
    write(folder, seed=3)  # and a run replaces all


def test_a_folder_of_masks_that_imap_has_not_written_stays(cut, tmp_path):
    folder = shutil.copytree(cut, tmp_path / "000-sample")
    shutil.rmtree(folder / "view/masks")
    (folder / "view/masks").mkdir()
    (folder / "view/masks/mine.png").touch()
    with pytest.raises(ImapError, match=r"holds other files than maps \(masks\)"):
        write_pictures(open_sample(folder), Look(masks=True))
    assert (folder / "view/masks/mine.png").exists()


@pytest.mark.slow
def test_a_failure_leaves_the_old_masks(cut, tmp_path, monkeypatch):
    folder = shutil.copytree(cut, tmp_path / "000-sample")
    before = masks_in(folder)

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("imap.view.coco.json.dumps", full)
    with pytest.raises(OSError, match="no space left"):
        write_pictures(open_sample(folder), Look(masks=True, mask_threshold=0.9))
    monkeypatch.undo()
    assert masks_in(folder) == before and [path.name for path in folder.glob(".*")] == []


@pytest.mark.slow
def test_maps_without_a_video_get_masks_of_the_size_that_the_trace_has_seen(maps, tmp_path):
    known = replace(maps, facts={"pixels": [40, 56], "prompt": "a ball"})
    folder = known.save(tmp_path / "known")
    assert viewed(folder, "--masks", "--no-report") == 0
    assert np.asarray(Image.open(folder / "view/masks/ball/0012.png")).shape == (40, 56)
    unknown = maps.save(tmp_path / "unknown")  # masks have the size of its pictures
    assert viewed(unknown, "--masks", "--no-report") == 0
    assert np.asarray(Image.open(unknown / "view/masks/ball/0012.png")).shape == open_sample(unknown).frames.shape[1:3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--masks", "--no-pictures"], "--masks are pictures, and --no-pictures leaves them out"),
        (["--mask-threshold", "0.3"], "--mask-threshold is of masks; add --masks"),
        (["--masks", "--mask-threshold", "7"], r"threshold=7\.0 is not known"),
        (["--masks", "--mask-threshold", "top"], "threshold='top' is not known"),
    ],
)
def test_wrong_options_are_one_line(arguments, said, run):
    with pytest.raises(SystemExit, match=f"imap: error: {said}"):
        command.main([str(run), *arguments])
