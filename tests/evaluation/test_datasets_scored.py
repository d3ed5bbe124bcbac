"""Data sets from their own files to tables: prepared, renoised by a tiny model, scored, equal to numbers made by hand.

The model's maps are replaced by planted ones. Videos have 64x96 pixels, a cell of a map 16x16. The latent frames cover
the video frames 0, 1 to 4, 5 to 8 and 9 to 12. In pixels, the square of `layouts` covers in frame i the rows 8 to 27
and the columns 8 + 4i to 27 + 4i, and the bar the rows 44 to 55 of all columns. So the square covers more than half of
the cells (1, 1), (1, 1), (1, 2), (1, 3) of the four latent frames: 12/16 of their rows and at least 52/64 of their
columns, 12/16 in frame 0.
"""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from imap.cli.main import main as imap
from imap.evaluation.__main__ import main as score
from imap.saliency import Maps
from tests.evaluation import layouts

KEY = "imap_layers"
FRAMES, HEIGHT, WIDTH = layouts.FRAMES, 64, 96
SIZE = ("--frames", str(FRAMES), "--height", str(HEIGHT), "--width", str(WIDTH), "--resize", "stretch")
LATENTS = np.array([0, *[1] * 4, *[2] * 4, *[3] * 4])
NAN = float("nan")


def finished(name, folder, *arguments):
    """The run of a data set in folder/data, with its samples in order."""
    score(["prepare", name, str(folder / "data"), str(folder / "cut"), *SIZE, *arguments])
    sizes = (f"height={HEIGHT}", f"width={WIDTH}", f"num_frames={FRAMES}", "num_inference_steps=2")
    paths = (f"input_json={folder / 'cut/list.json'}", f"output_dir={folder / 'run'}")
    imap(["renoise", "backbone=tiny_wan", *paths, *sizes, "renoise_timestep=1", "pictures=false"])
    return folder / "run", sorted((folder / "run").glob("0*"))


def plant(sample, **cells):
    """Write the map of a sample: by word, with _ for spaces, {(latent frame, row, column): value}; 0 elsewhere."""
    texts, path = json.loads((sample / "meta.json").read_text())["texts"], sample / f"npy/{KEY}.npy"
    maps = np.zeros_like(np.load(path))
    assert maps.shape == (len(texts), 4, 4, 6) and set(texts) == {word.replace("_", " ") for word in cells}
    for word, values in cells.items():
        for cell, value in values.items():
            maps[(texts.index(word.replace("_", " ")), *cell)] = value
    np.save(path, maps)
    return maps


def numbers_of(path, sample, word):
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["sample"], row["word"]) == (sample, word)]
    assert {row["map"] for row in rows} == {KEY}
    return {row["metric"]: float(row["value"]) for row in rows}


def table_of(run, kind):
    """Means over clips and the number of clips, by metric, as `imap score table` writes them."""
    score(["table", str(run), "--kind", kind, "--format", "csv", "--output", str(run / "table.csv")])
    with (run / "table.csv").open(newline="", encoding="utf-8") as file:
        return {row["metric"]: (float(row["mean"]), int(row["clips"])) for row in csv.DictReader(file)}


def approximately(expected):
    return pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)


def part(scores, expected):
    """Those of some scores that are expected."""
    return {name: scores[name] for name in expected}


def enlarged(maps):
    """A map (4, 4, 6) at the size of the video: linear between the centres of cells, constant beyond the outer ones."""
    down, across = (
        np.maximum(1 - np.abs(np.clip((np.arange(n * 16) + 0.5) / 16 - 0.5, 0, n - 1)[:, None] - np.arange(n)), 0)
        for n in (4, 6)
    )
    return (down @ maps.astype(float) @ across.T)[LATENTS]


def mean_j(found, truth):
    both, either = (found & truth).sum(axis=(1, 2)), (found | truth).sum(axis=(1, 2))
    return float(np.mean([1 if e == 0 else b / e for b, e in zip(both, either, strict=True)]))


MEVIS_WORDS = """name,caption,concepts,object
0a1b-0,,square,moves
0a1b-1,,thing,slides
0a1b-2,,cat,jumps
"""


@pytest.fixture
def mevis(tmp_path, monkeypatch):
    """A run of MeViS, version 2. The square moves to its place of frame 4, and rests there, on the cell (1, 2).

    The bar rests on the lowest row of cells, and is hidden in the first frame.
    """
    pytest.importorskip("pycocotools")
    square, bar = layouts.square(), np.zeros((FRAMES, layouts.HEIGHT, layouts.WIDTH), bool)
    square[5:], bar[1:, 24:] = square[4], True
    monkeypatch.setattr(layouts, "square", square.copy)
    monkeypatch.setattr(layouts, "bar", bar.copy)
    layouts.mevis(tmp_path / "data", "meta_expressions_v2.json")
    (tmp_path / "words.csv").write_text(MEVIS_WORDS)
    return finished("mevis", tmp_path, "--words", str(tmp_path / "words.csv"), "--source-fps", "8")


def test_mevis_is_scored_as_by_hand(mevis):
    run, (one, both, none) = mevis
    row = {(1, 3, column): 1 for column in range(6)}
    motion = {(0, 1, 1): 2, (1, 1, 1): 4, (2, 1, 2): 3, (3, 1, 2): 1}
    moves = plant(one, square={(0, 1, 1): 1}, moves=motion)[1]
    plant(both, thing=row | {(0, 1, 1): 1, (3, 3, 5): 1, (3, 0, 0): 1}, slides={**motion, (1, 3, 0): 3})
    plant(none, cat={(0, 0, 0): 1}, jumps={(0, 0, 0): 1})
    score(["run", str(run), "--maps", KEY])
    table = run / "scores.csv"

    # moves: true are the cells of 2 and 4; of 96 cells, 92 are 0
    first = numbers_of(table, one.name, "moves")
    expected = {
        "ap": (1 / 1 + 2 / 3) / 2,  # 4 is the first, 2 the third
        "auc": (94 + 93) / (2 * 94),  # 4 is above all 94 others, and 2 above all but 3
        "ap_frame": 1,
        "auc_frame": 1,
        "mass": (2 + 4) / 10,
        "pointing": 1,
        "in_object_auc": 3 / 4,  # 4 > 3, 4 > 1, 2 > 1
        "temporal_auc": 3 / 4,  # means of 2, 4 against 3, 1
        "temporal_correlation": 1 / 5**0.5,  # deviations (-1, 3, 1, -3) / 2 and (1, 1, -1, -1) / 2
        "specificity": NAN,  # no other thing is a square
    }
    assert part(first, expected) == approximately(expected)
    # J of the pixels: Otsu's threshold is 2, because 3 cells * (3 - 1/93)^2 is more than 4 * 2.5^2 and 2 * 3.5^2
    truth = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for i in range(4):  # a motion is true while it happens; in frame 4, the square has arrived
        truth[i, 8:28, 8 + 4 * i : 28 + 4 * i] = True
    assert first["j_otsu"] == approximately(mean_j(enlarged(moves) >= 2, truth))
    assert first["j_mean"] == approximately(mean_j(enlarged(moves) >= 10 / 96, truth))
    # square: four true cells of 96, one of which is found
    square = numbers_of(table, one.name, "square")
    expected = {
        "ap": (1 + 3 * 4 / 96) / 4,
        "auc": (92 + 3 * 92 / 2) / (4 * 92),
        "ap_frame": (1 + 3 / 24) / 4,  # the last three frames are constant
        "auc_frame": (1 + 3 / 2) / 4,
        "mass": 1,
        "pointing": (1 + 3 / 24) / 4,
    }
    assert part(square, expected) == approximately(expected) and "in_object_auc" not in square

    # slides: beside the mover, in latent frame 1, the bar of the same noun rests in six cells: one of 3, five of 0
    slides = numbers_of(table, both.name, "slides")
    expected = {
        "ap": (1 / 1 + 2 / 4) / 2,
        "in_object_auc": (20 + 18) / (2 * 20),  # 4, 2 against the square's 3, 1 and the bar's 3 and 17 times 0
        "temporal_auc": 3 / 4,  # means of 2, 7 against 3, 1
        "specificity": (6 + 5) / (2 * 6),
        "mass": 6 / 13,
    }
    assert part(slides, expected) == approximately(expected)
    # thing: 4 cells of the square, 3 * 6 of the bar, of which 1 + 6 + 1 are found beside a false one
    thing = numbers_of(table, both.name, "thing")
    expected = {
        "ap": 8 / 22 * 8 / 9 + 14 / 22 * 22 / 96,
        "auc": (8 * (73 + 1 / 2) + 14 * 73 / 2) / (22 * 74),
        "mass": 8 / 9,
        "pointing": (1 + 1 + 7 / 24 + 1 / 2) / 4,
    }
    assert part(thing, expected) == approximately(expected)

    # for an expression that no object fits, the 12 of 13 frames in which nothing is found are right; no other score
    for word in ("cat", "jumps"):
        found = numbers_of(table, none.name, word)
        regions = {f"{name}_{rule}" for name in ("j", "f", "jf") for rule in ("mean", "otsu")}
        assert {name: value for name, value in found.items() if value == value} == dict.fromkeys(
            regions, approximately(12 / 13)
        )
    means = table_of(run, "motion")
    assert means["ap"] == (approximately((5 / 6 + 3 / 4) / 2), 2)
    assert means["specificity"] == (approximately(11 / 12), 1) and means["mass"][1] == 2
    means = table_of(run, "concept")
    assert means["mass"] == (approximately((1 + 8 / 9) / 2), 2)


@pytest.fixture(scope="module")
def vspw(tmp_path_factory):
    """A run of VSPW. What is neither square nor bar is wall; of class 0 in the columns 80 to 95, and 255 below.

    So the void cells are those of column 5, but for the bar's in row 3: 20 cells count in the latent frame 0, and 21
    in the others.
    """
    folder = tmp_path_factory.mktemp("vspw")
    root = layouts.vspw(folder / "data")
    labels = layouts.labelled(21, 3, void=255)
    labels[..., :40][labels[..., :40] == 0] = 1
    for path, label in zip(sorted((root / "data/12_ab/mask").iterdir()), labels, strict=True):
        Image.fromarray(label).save(path)
    run, (sample,) = finished("vspw", folder)
    wall = {(t, r, c): 1 for t in range(4) for r in range(3) for c in range(6)}
    door = {(t, 3, c): 2 for t in range(1, 4) for c in range(6)}
    light = {(0, 1, 1): 3, (1, 1, 1): 3, (2, 1, 2): 3, (3, 1, 4): 3, (2, 1, 5): 3}  # the last one is void
    plant(sample, wall=wall, door=door, traffic_light=light)
    return run, sample


@pytest.mark.slow
def test_vspw_is_scored_as_by_hand(vspw):
    run, sample = vspw
    score(["run", str(run), "--maps", KEY])
    light = numbers_of(run / "scores.csv", sample.name, "traffic light")
    expected = {  # 4 of 83 cells are true: three of value 3 and one of 0; of the other 79, one is 3
        "ap": 3 / 4 * 3 / 4 + 1 / 4 * 4 / 83,
        "auc": (3 * (78 + 1 / 2) + 78 / 2) / (4 * 79),
        "ap_frame": (3 + 1 / 21) / 4,
        "auc_frame": (3 + 9.5 / 20) / 4,
        "mass": 3 / 4,
        "pointing": 3 / 4,
    }
    assert part(light, expected) == approximately(expected)

    # door: the bar's cells are exactly those of 2. In pixels, the mean 2 * 18/96 is reached from row 43 on. That is
    # 43 to 61 in 80 columns and, void taken off, the bar's 12 rows in 16: 1712 pixels around the bar's 1152. The best
    # threshold begins at row 44: 1632 pixels. In frame 0 there is no bar, and none is found: J and F are 1.
    door = numbers_of(run / "scores.csv", sample.name, "door")
    assert (door["ap"], door["auc"], door["mass"], door["pointing"]) == (1, 1, 1, 1)
    assert door["j_mean"] == approximately((1 + 12 * 1152 / 1712) / 13)
    assert door["j_best"] == approximately((1 + 12 * 1152 / 1632) / 13)
    assert door["j_otsu"] == approximately(1 / 13)  # 2 is reached from row 56 on, below the bar
    # boundaries, of which the bar's are the rows 43 and 55 of 96 pixels, and 1 pixel is near.
    # mean: row 42 80, row 43 17, row 55 17, column 79 5, row 61 80 pixels; near are all but 4 of column 79 and row 61.
    # Of the bar's, row 43 is near, and of row 55 columns 78 to 95.
    precision, recall = (80 + 17 + 17 + 1) / 199, (96 + 18) / 192
    f_mean = (1 + 12 * 2 * precision * recall / (precision + recall)) / 13
    assert (door["f_mean"], door["jf_mean"]) == approximately((f_mean, (door["j_mean"] + f_mean) / 2))
    precision = (96 + 17 + 1) / 198  # best: row 43 96 pixels, and no row 42
    f_best = (1 + 12 * 2 * precision * recall / (precision + recall)) / 13
    assert (door["f_best"], door["jf_best"]) == approximately((f_best, (door["j_best"] + f_best) / 2))

    # wall: every other cell of the known ones. Not found are five cells in row 3 of latent frame 0, and found too are
    # the light's four
    wall = numbers_of(run / "scores.csv", sample.name, "wall")
    positive, found = 19 + 3 * 14, 14 + 3 * 14
    assert wall["mass"] == approximately(found / (found + 4))
    assert wall["ap"] == approximately(found / positive * found / (found + 4) + (1 - found / positive) * positive / 83)
    means = table_of(run, "concept")
    assert means["ap"] == (approximately((light["ap"] + 1 + wall["ap"]) / 3), 1)


@pytest.mark.slow
def test_vspw_is_segmented_as_by_hand(vspw):
    run, _ = vspw
    score(["segment", str(run), "--map", KEY])
    table = run / "segment.csv"
    # pixels of the light: 13 frames of 400. Found are 13 cells of 256, in frame 0 with 12 * 12 hits, in the others with
    # 12 rows of 16, 16, 12, 8; 16, 16, 12, 8; 0, 4, 8, 12 columns. A void cell is found too, and does not count.
    light_hits = 12 * (12 + 52 + 52 + 24)
    light = light_hits / (13 * 400 + 13 * 256 - light_hits)
    # the door: 12 frames of 12 rows of 96. Found are rows 48 to 55 of 96 columns, and 56 to 61 of 80 that are wall
    door_hits, door_true, door_found = 12 * 8 * 96, 12 * 12 * 96, 12 * (8 * 96 + 6 * 80)
    door = door_hits / (door_true + door_found - door_hits)
    # the wall: 62 rows of 80 columns without the light, in 12 frames without the door. In row 3 of latent frame 0 all
    # maps are 0: it is of the first class, wall
    wall_true = 13 * (62 * 80 - 400) - 12 * 12 * 80
    lost, gained = (13 * 256 - light_hits) + 12 * 6 * 80, (13 * 400 - light_hits) + (door_true - door_hits)
    wall = (wall_true - lost) / (wall_true + gained)
    for word, iou in (("traffic light", light), ("door", door), ("wall", wall)):
        assert numbers_of(table, "all", word) == approximately({"class_iou": iou})

    # windows of 8 frames, from frame s on: of constant truth is the wall that neither light nor bar ever covers, of
    # 80 * 62 - 20 * 48 - 80 * 12 pixels, and but for s = 0 the bar. Wrong are 6 * 80 pixels of wall that are found as
    # door, 4 * 96 of the bar, and those of the light's cells that are off the light's way.
    ways = [128, 128, 384, 384, 384, 176]
    shares = [(3040 - 480 - way + 768 * (s > 0)) / (3040 + 1152 * (s > 0)) for s, way in enumerate(ways)]
    # In the public script, void pixels and wrong ones count, and the last window does not. Of constant truth are all
    # but the light's way of 20 * 48 pixels, and in s = 0 the bar. Not constant are the light's cells off its way, the
    # void one too, and in s = 0 the 8 rows below the bar.
    public = [(6144 - 960 - 1152 - 768 - 128 - 256) / (6144 - 960 - 1152)]
    public += [(6144 - 960 - way - 256) / (6144 - 960) for way in (128, 384, 384, 384)]
    expected = {"mvc8": np.mean(shares), "mvc8_public": np.mean(public), "mvc16": NAN, "mvc16_public": NAN}
    expected |= {"miou": (light + door + wall) / 3}
    assert numbers_of(table, "all", "") == approximately(expected)
    assert table_of(run, "concept")["miou"] == (approximately(expected["miou"]), 1)


HIDDEN = {"bike-packing": (5, 6, 7, 8), "goat": (0,)}  # frames without the square


@pytest.fixture(scope="module")
def davis(tmp_path_factory):
    """A run of DAVIS with the square alone, hidden in some frames.

    Pictures are of the video's size, so vos-benchmark reads the data set's own annotations.
    """
    folder = tmp_path_factory.mktemp("davis")
    root = layouts.davis(folder / "data")
    (root / "ImageSets/2017/val.txt").write_text("bike-packing\ngoat\n")
    for path in [*root.rglob("*.jpg"), *root.rglob("*.png")]:
        with Image.open(path) as picture:
            larger = picture.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
        if path.suffix == ".png":
            shown = int(path.stem) not in HIDDEN[path.parent.name]
            larger.putdata([int(x == 1 and shown) for x in np.asarray(larger).ravel()])
        larger.save(path)
    run, samples = finished("davis", folder)
    maps = [
        plant(samples[0], bike_packing={(0, 1, 1): 4, (1, 1, 1): 2, (2, 1, 2): 3, (3, 1, 4): 3}),
        plant(samples[1], goat={(1, 1, 1): 4, (2, 1, 2): 4, (3, 1, 3): 2}),
    ]
    score(["run", str(run), "--maps", KEY])
    return run, samples, [one[0] for one in maps]


def truth_of(hidden):
    truth = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for i in set(range(FRAMES)) - set(hidden):
        truth[i, 8:28, 8 + 4 * i : 28 + 4 * i] = True
    return truth


@pytest.mark.slow
def test_davis_is_scored_as_by_hand(davis):
    run, (sample, _), (x, _) = davis
    found = numbers_of(run / "scores.csv", sample.name, "bike packing")
    expected = {  # true are the cells of 4, of 2 and one of 0; 3 and 3 are false, one of them in the hidden frames
        "ap": (1 / 1 + 2 / 4 + 3 / 96) / 3,
        "auc": (93 + 91 + 91 / 2) / (3 * 93),
        "ap_frame": (1 + 1 + 1 / 24) / 3,
        "auc_frame": (1 + 1 + (22 / 2) / 23) / 3,
        "mass": (4 + 2) / 12,
        "pointing": 2 / 3,
    }
    assert part(found, expected) == approximately(expected)
    pixels, truth = enlarged(x), truth_of(HIDDEN["bike-packing"])
    levels = {"otsu": 2, "mean": 12 / 96}  # 4 cells * 3^2 is the largest for Otsu
    j = {f"j_{rule}": mean_j(pixels >= level, truth) for rule, level in levels.items()}
    j["j_best"] = max(mean_j(pixels >= 4 * k / 256, truth) for k in range(1, 257))
    assert part(found, j) == approximately(j)
    assert table_of(run, "concept")["ap"] == (approximately((expected["ap"] + 1) / 2), 2)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["otsu", "best"])
def test_j_and_f_of_davis_are_those_of_vos_benchmark(davis, tmp_path, rule):
    vos = pytest.importorskip("vos_benchmark.benchmark", exc_type=ImportError)  # OpenCV may lack libGL
    run, samples, maps = davis
    truths = run.parent / "data/Annotations/480p"
    evaluator = vos.VideoEvaluator(str(truths), str(tmp_path), skip_first_and_last=False)
    for name, sample, x, hidden in zip(("bike-packing", "goat"), samples, maps, HIDDEN.values(), strict=True):
        threshold, word, size = "otsu", name.replace("-", " "), (FRAMES, HEIGHT, WIDTH)
        if rule == "best":  # of 256 steps from 0 to 4, here from 0 to 1
            pixels, truth = enlarged(x), truth_of(hidden)
            threshold = (1 + np.argmax([mean_j(pixels >= 4 * k / 256, truth) for k in range(1, 257)])) / 256
        masks = Maps.load(sample).mask(word, threshold, key=KEY, size=size, normalization="video")
        (tmp_path / name).mkdir()
        for mask, annotation in zip(masks, sorted((truths / name).iterdir()), strict=True):
            Image.fromarray(mask.astype(np.uint8)).save(tmp_path / name / annotation.name)
        _, j, f = evaluator(name)
        # in percent. Frames before the square is there or found count here, with 1, and do not in vos-benchmark
        before = int(0 in hidden)
        j, f = ((before + (FRAMES - before) * one[1] / 100) / FRAMES for one in (j, f))
        assert before / FRAMES < min(j, f) and max(j, f) < 0.99
        expected = {f"j_{rule}": j, f"f_{rule}": f, f"jf_{rule}": (j + f) / 2}
        assert part(numbers_of(run / "scores.csv", sample.name, word), expected) == approximately(expected)
