"""Label videos and their scores agree with scikit-learn, with brute force and with cases made by hand."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as by_sklearn
from sklearn.metrics import jaccard_score

from imap.evaluation.__main__ import main
from imap.evaluation.long_form import mean_of_known
from imap.evaluation.segmentation import (
    VOID,
    class_iou,
    confusion_matrix,
    mean_iou,
    predicted_labels,
    present_classes,
    public_video_consistency,
    true_labels,
    video_consistency,
)
from imap.map_files import TRUTH
from imap.media.truth import Truth, write_truth
from imap.saliency import Maps

NAN = float("nan")


@pytest.fixture
def labelled():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(-1, 4, (10, 6, 7)).astype(np.int16), rng.integers(0, 5, (10, 6, 7)).astype(np.int16)
    return truth, predicted


def thing(*pixels, shape=(2, 2, 3)):
    mask = np.zeros(shape, bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_the_confusion_matrix_is_that_of_scikit_learn_without_void(labelled):
    truth, predicted = labelled
    known = truth != VOID
    expected = by_sklearn(truth[known], predicted[known], labels=range(5))
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, 5), expected)


def test_iou_is_that_of_scikit_learn_over_the_classes_of_the_truth(labelled):
    truth, predicted = labelled  # class 4 is predicted only
    known = truth != VOID
    expected = jaccard_score(truth[known], predicted[known], labels=range(4), average=None)
    confusion = confusion_matrix(truth, predicted, 5)
    np.testing.assert_allclose(class_iou(confusion), [*expected, NAN])
    assert mean_iou(confusion) == pytest.approx(expected.mean())
    assert np.isnan(mean_iou(np.zeros((0, 0), int)))


def by_loops(truth, predicted, frames, public):
    shares = []
    for start in range(len(truth) - frames + (not public)):
        hits = counted = 0
        for place in np.ndindex(truth.shape[1:]):
            true, found = ([video[(t, *place)] for t in range(start, start + frames)] for video in (truth, predicted))
            if len(set(true)) == 1 and (public or true[0] != VOID):
                counted += 1
                hits += len(set(found)) == 1 and (public or found[0] == true[0])
        shares.append(hits / counted if counted else NAN)
    return shares


@pytest.mark.parametrize("frames", [2, 3])
def test_video_consistency_is_that_of_loops_over_pixels(frames):
    rng = np.random.default_rng(1)
    truth = rng.choice([VOID, 0, 1], p=[0.1, 0.45, 0.45], size=(9, 5, 6))
    predicted = np.where(rng.random(truth.shape) < 0.7, np.abs(truth), rng.integers(0, 2, truth.shape))
    for public, function in ((True, public_video_consistency), (False, video_consistency)):
        np.testing.assert_allclose(function(truth, predicted, frames), by_loops(truth, predicted, frames, public))


def test_a_constant_prediction_that_is_wrong_counts_in_the_public_script_alone():
    truth, predicted = np.zeros((9, 2, 2), int), np.ones((9, 2, 2), int)
    predicted[:, 0] = 0
    assert public_video_consistency(truth, predicted, 8) == [1]
    assert video_consistency(truth, predicted, 8) == [0.5, 0.5]


def test_the_public_script_leaves_out_the_last_window():
    truth = predicted = np.zeros((8, 1, 1), int)
    assert public_video_consistency(truth, predicted, 8) == []
    assert video_consistency(truth, predicted, 8) == [1]
    assert video_consistency(truth, predicted, 16) == []


def test_a_window_in_which_every_pixel_changes_is_not_defined():
    truth = np.arange(4)[:, None, None] % 2
    assert (
        np.isnan(video_consistency(truth, truth, 2)).all() and np.isnan(public_video_consistency(truth, truth, 2)).all()
    )


def test_void_counts_as_constant_in_the_public_script_alone():
    truth, predicted = np.full((3, 1, 2), VOID), np.zeros((3, 1, 2), int)
    truth[..., 1] = 0
    predicted[1, 0, 0] = 1
    assert public_video_consistency(truth, predicted, 2) == [0.5]
    assert video_consistency(truth, predicted, 2) == [1, 1]


def test_labels_of_a_truth_have_void_where_it_is_not_known_or_not_clear():
    void = thing((1, 1, 2))
    both = (0, 1, 0)  # a ball and a ring
    masks = [thing((0, 0, 0), (1, 1, 2), both), thing((0, 0, 1)), thing((0, 0, 1), (0, 0, 2), both), thing((0, 0, 0))]
    truth = Truth(["Ball", "box", "ring", "ball"], [""] * 4, np.stack(masks), np.zeros((4, 2), bool), void)
    labels = true_labels(truth, {"ball": 0, "box": 1, "ring": 2}, background=3)
    expected = np.full((2, 2, 3), 3)
    expected[0, 0], expected[1, 1, 2], expected[both] = [0, VOID, 2], VOID, VOID
    np.testing.assert_array_equal(labels, expected)
    assert (true_labels(truth, {"ball": 0})[labels == 3] == VOID).all()


def test_classes_are_nouns_that_are_seen():
    truth = Truth(["Ball", "box", "ball"], [""] * 3, np.stack([thing((0, 0, 0)), thing(), thing()]), np.zeros((3, 2)))
    assert present_classes(truth) == ["ball"]


def test_the_label_of_a_pixel_is_the_highest_map_of_its_cell_and_latent_frame():
    maps = np.array([[[[5, 1]], [[1, 1]]], [[[4, 2]], [[1, 3]]]], np.float32)  # (2 classes, 2 latent frames, 1, 2)
    labels = predicted_labels(maps, (5, 2, 4))
    np.testing.assert_array_equal(labels[0], [[0, 0, 1, 1]] * 2)
    np.testing.assert_array_equal(labels[1:], [[[0, 0, 1, 1]] * 2] * 4)  # of equal values, the first class


def test_background_is_where_no_map_reaches_the_threshold_on_its_own_scale():
    maps = np.array([[[[10, 14, 20]]], [[[0, 3, 5]]]], np.float32)  # scaled: 0, .4, 1 and 0, .6, 1
    assert predicted_labels(maps, (1, 1, 3), 0.6).tolist() == [[[2, 0, 0]]]
    assert predicted_labels(maps, (1, 1, 3), 0.61).tolist() == [[[2, 2, 0]]]
    assert predicted_labels(maps, (1, 1, 3), 0).tolist() == [[[0, 0, 0]]]
    assert predicted_labels(np.ones((1, 1, 1, 1), np.float32), (1, 1, 1), 0.1).tolist() == [[[1]]]  # a constant map


def test_smooth_maps_are_enlarged_before_they_are_compared():
    maps = np.array([[[[8, 0]]], [[[0, 2]]]], np.float32)
    assert predicted_labels(maps, (1, 1, 4), space="nearest").tolist() == [[[0, 0, 1, 1]]]
    assert predicted_labels(maps, (1, 1, 4), space="bilinear").tolist() == [[[0, 0, 0, 1]]]  # .75 of 2 against .25 of 8


def write_sample(run, name, words, maps, truth=None):
    """A sample of 8x8 pixels with maps (words, latent frames, 2, 2) under two keys, of which the second is inverted."""
    frames = np.zeros((4 * maps.shape[1] - 3, 8, 8, 3), np.uint8)
    arrays = {"imap_layers": maps, "sel_imap_layers": -maps}
    folder = Maps(arrays, words, facts={"prompt": name}).save(run / name, video=frames, fps=8)
    if truth is not None:
        write_truth(folder / TRUTH, truth)
        meta = json.loads((folder / "meta.json").read_text())
        meta["files"][TRUTH] = (folder / TRUTH).stat().st_size
        (folder / "meta.json").write_text(json.dumps(meta))


@pytest.fixture
def run(tmp_path):
    """Two clips. In the first, the left half is a ball and the right half a box, and the map of the box misses a cell
    in the last latent frame. The second has a ring besides, of which there is no map."""
    halves = np.zeros((2, 9, 8, 8), bool)
    halves[0, :, :, :4] = halves[1, :, :, 4:] = True
    maps = np.zeros((3, 3, 2, 2), np.float32)
    maps[0, :, :, 0] = maps[1, :, :, 1] = 1
    maps[1, 2, 0, 1] = -1  # of the box, in 4 frames of 4x4 pixels
    maps[2] = 5  # of a word that is not in the truth
    two = Truth(["ball", "Box"], ["", ""], halves, np.zeros((2, 9), bool))
    write_sample(tmp_path, "000-a", ("ball", "box", "sky"), maps, two)
    thirds = np.concatenate([halves, np.zeros((1, 9, 8, 8), bool)])
    thirds[2, :, 4:, 4:], thirds[1, :, 4:, 4:] = True, False
    three = Truth(["ball", "box", "ring"], [""] * 3, thirds, np.zeros((3, 9), bool))
    maps[1, 2, 0, 1] = 1
    write_sample(tmp_path, "001-b", ("ball", "box", "sky"), maps, three)
    return tmp_path


def table_of(folder):
    with (folder / "segment.csv").open(newline="") as file:
        return {(x["sample"], x["word"], x["map"], x["metric"]): float(x["value"]) for x in csv.DictReader(file)}


def test_a_run_is_scored_by_one_confusion_matrix_over_its_clips(run, capsys):
    main(["segment", str(run)])
    scores, key = table_of(run), "imap_layers"
    missed, half, quarter = 64, 9 * 32, 9 * 16
    ball = 2 * half / (2 * half + missed)
    box = (half - missed + quarter) / (half + 2 * quarter)  # the ring's pixels are found as box
    values = {word: scores["all", word, key, "class_iou"] for word in ("ball", "box", "ring")}
    assert values == pytest.approx({"ball": ball, "box": box, "ring": 0}, abs=1e-5)
    assert scores["all", "", key, "miou"] == pytest.approx((ball + box) / 3, abs=1e-5)
    assert scores["000-a", "", key, "clip_miou"] == pytest.approx(
        (half / (half + missed) + 1 - missed / half) / 2, abs=1e-5
    )
    assert {name for _, _, name, _ in scores} == {key}
    out = capsys.readouterr().out
    assert "2 clips; background: none" in out and "001-b has no map of ring" in out and f"{(ball + box) / 3:.3f}" in out


def test_consistency_of_a_run_is_the_mean_over_the_windows_of_all_clips(run):
    main(["segment", str(run)])
    scores, key = table_of(run), "imap_layers"
    # first clip: both windows end in the last latent frame, where a quarter of the pixels changes; second clip: the
    # quarter of the ring is constant and wrong
    assert scores["all", "", key, "mvc8"] == pytest.approx(0.75) and scores["000-a", "", key, "clip_vc8"] == 0.75
    assert scores["all", "", key, "mvc8_public"] == pytest.approx((0.75 + 1) / 2)
    assert np.isnan(scores["all", "", key, "mvc16"])
    masks, maps = np.ones((1, 13, 8, 8), bool), np.ones((1, 4, 2, 2), np.float32)
    write_sample(run, "002-c", ("ball",), maps, Truth(["ball"], [""], masks, np.zeros((1, 13), bool)))
    main(["segment", str(run)])  # six windows more
    assert table_of(run)["all", "", key, "mvc8"] == pytest.approx((4 * 0.75 + 6) / 10)
    assert mean_of_known([1, NAN, 3]) == 2 and np.isnan(mean_of_known([NAN]))


def test_maps_and_rule_are_recorded_and_both_keys_scored(run):
    main(["segment", str(run), "--map", "IMAP,imap_layers", "--background", "0.5", "--space", "bilinear"])
    summary = json.loads((run / "segment.json").read_text())
    assert summary["rule"] == {"background": 0.5, "space": "bilinear"} and list(summary["scores"]) == [
        "sel_imap_layers",
        "imap_layers",
    ]
    scores = table_of(run)
    assert ("all", "(background)", "imap_layers", "class_iou") not in scores  # it is predicted, and the truth has none
    main(["segment", str(run), "--background", "0.5"])
    assert table_of(run)["all", "", "imap_layers", "miou"] != scores["all", "", "imap_layers", "miou"]
    assert summary["scores"]["sel_imap_layers"]["miou"] < 0.1 < summary["scores"]["imap_layers"]["miou"]
    assert summary["scores"]["imap_layers"]["mvc16"] is None and summary["clips"] == 2


def test_pixels_that_no_thing_covers_are_a_class_only_with_a_background(tmp_path):
    masks = np.zeros((1, 9, 8, 8), bool)
    masks[0, :, :, :4] = True
    maps = np.zeros((1, 3, 2, 2), np.float32)
    maps[..., 0] = 1
    write_sample(tmp_path, "000-a", ("ball",), maps, Truth(["ball"], [""], masks, np.zeros((1, 9), bool)))
    main(["segment", str(tmp_path)])
    assert table_of(tmp_path)["all", "ball", "imap_layers", "class_iou"] == 1  # the rest does not count
    main(["segment", str(tmp_path), "--background", "0.5"])
    assert table_of(tmp_path)["all", "(background)", "imap_layers", "class_iou"] == 1
    main(["segment", str(tmp_path), "--background", "0.5", "--map", "sel_imap_layers"])
    assert table_of(tmp_path)["all", "", "sel_imap_layers", "miou"] == 0


def test_background_is_no_class_that_has_no_map(tmp_path):
    masks = np.zeros((2, 9, 8, 8), bool)
    masks[0, :, :, :4] = masks[1, :, :, 4:] = True
    maps = np.zeros((1, 3, 2, 2), np.float32)
    maps[..., 0] = 1
    write_sample(tmp_path, "000-a", ("ball",), maps, Truth(["ball", "ring"], [""] * 2, masks, np.zeros((2, 9), bool)))
    main(["segment", str(tmp_path), "--background", "0.5"])
    found = {word: x for (_, word, _, metric), x in table_of(tmp_path).items() if metric == "class_iou"}
    assert found == {"ball": 1, "ring": 0}


def test_samples_that_cannot_be_scored_are_left_out_and_noted(run, capsys):
    truth = Truth(["box"], [""], np.ones((1, 9, 8, 8), bool), np.zeros((1, 9), bool))
    main(["segment", str(run)])
    before = table_of(run)
    write_sample(run, "002-c", ("sky",), np.ones((1, 3, 2, 2), np.float32), truth)
    write_sample(run, "003-d", ("box",), np.ones((1, 3, 2, 2), np.float32))
    main(["segment", str(run)])
    out = capsys.readouterr().out
    assert (
        "\n2 clips;" in out and "002-c has no map of box" in out and "1 samples without truth.npz are left out" in out
    )
    assert table_of(run) == pytest.approx(before, nan_ok=True)
    write_sample(run / "alone", "000-a", ("sky",), np.ones((1, 3, 2, 2), np.float32), truth)
    with pytest.raises(SystemExit, match="no sample has a map of a noun"):
        main(["segment", str(run / "alone")])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--map", "nothing"], "no maps 'nothing'"),
        (["--map", ","], "--map names no map"),
        (["--background", "2"], "neither none nor a number"),
        (["--background", "nan"], "neither none nor a number"),
    ],
)
def test_wrong_arguments_are_refused(run, arguments, part, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["segment", str(run), *arguments])
    assert part in f"{stopped.value.code}{capsys.readouterr().err}" and not (run / "segment.csv").exists()


def test_runs_without_truth_and_folders_of_samples_are_refused(run, tmp_path_factory):
    with pytest.raises(SystemExit, match="one sample's folder"):
        main(["segment", str(run / "000-a")])
    other = tmp_path_factory.mktemp("other")
    write_sample(other, "000-a", ("ball",), np.zeros((1, 3, 2, 2), np.float32))
    with pytest.raises(SystemExit, match="imap score prepare"):
        main(["segment", str(other)])
