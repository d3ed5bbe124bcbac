"""All scores of a map: names, masks as in the pictures, and what is not defined."""

from pathlib import Path

import numpy as np
import pytest

from imap.evaluation.baselines import centre_prior, frame_difference, other_word, uniform
from imap.evaluation.cells import TruthOnGrid
from imap.evaluation.faithfulness import faithfulness
from imap.evaluation.regions import region_j
from imap.evaluation.scores import auc, average_precision, in_object_auc
from imap.evaluation.word_scores import AGREEMENT, METRICS, REGIONS, WHEN, WHERE, reached, word_scores
from imap.media.truth import Truth
from imap.saliency import Maps
from imap.shapes.world import truth as world

GRID = (3, 4, 6)
SIZE = (9, 32, 48)


def scene(void: bool = False) -> Truth:
    """Two balls; the left one jumps in the middle latent frame."""
    masks = np.zeros((2, *SIZE), bool)
    masks[0, :, 8:24, 8:24] = masks[1, :, 8:24, 32:40] = True
    moving = np.zeros((2, 9), bool)
    moving[0, 1:5] = True
    hidden = np.random.default_rng(1).random(SIZE) < 0.2 if void else None
    return Truth(["ball", "ball"], ["jumps", "rests"], masks, moving, hidden)


@pytest.fixture
def noisy():
    return np.random.default_rng(0).normal(size=GRID).astype(np.float32)


def test_the_scores_of_a_word_are_those_that_are_defined_in_the_table(noisy):
    truth = TruthOnGrid(scene(), GRID)
    assert set(word_scores(noisy, truth.word("ball", False))) == {*WHERE, *REGIONS}
    motion = word_scores(noisy, truth.word("jumps", True), effect=noisy + 1)
    assert list(motion) == [*METRICS] == [*WHERE, *REGIONS, *WHEN, *AGREEMENT]
    assert not any(np.isnan(list(motion.values())))
    assert motion["effect_rank"] == motion["effect_ap_time"] == pytest.approx(1)


def test_the_guide_defines_every_metric():
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "evaluation.md").read_text(encoding="utf-8")
    missing = [name for name in METRICS if f"`{name}`" not in guide]
    assert missing == ["effect_rank_space", "effect_ap_space", "effect_rank_time", "effect_ap_time"]  # as suffixes


def test_rankings_and_timing_are_those_of_the_single_functions(noisy):
    word = TruthOnGrid(scene(), GRID).word("jumps", True)
    scores, place = word_scores(noisy, word), word.own | word.still
    assert scores["ap"] == pytest.approx(average_precision(noisy, word.own))
    assert scores["auc"] == pytest.approx(auc(noisy, word.own, ~word.own))
    assert scores["ap_frame"] == pytest.approx(average_precision(noisy[1], word.own[1]))
    assert scores["auc_frame"] == pytest.approx(auc(noisy[1], word.own[1], ~word.own[1]))
    assert scores["in_object_auc"] == pytest.approx(in_object_auc(noisy, place, word.moving))
    assert scores["specificity"] == pytest.approx(auc(noisy[1], word.own[1], word.resting[1]))
    assert word.own.sum() == 4 and word.still.sum() == 8 and word.resting.sum() == 2


@pytest.mark.parametrize("void", [False, True])
def test_j_is_that_of_the_masks_of_the_pictures(noisy, void):
    truth = scene(void)
    word, known = TruthOnGrid(truth, GRID).word("ball", False), np.ones(SIZE, bool) if not void else ~truth.void
    maps = Maps({"imap_layers": noisy[None]}, ("ball",), facts={"pixels": [32, 48]})
    mask = maps.mask("ball", "otsu", size=SIZE)
    expected = region_j(mask & known, truth.masks.any(axis=0) & known).mean()
    assert word_scores(noisy, word)["j_otsu"] == pytest.approx(expected)
    assert 0 < expected < 1


def test_a_perfect_map_has_perfect_scores_of_cells():
    for text, motion in [("ball", False), ("jumps", True)]:
        word = TruthOnGrid(scene(), GRID).word(text, motion)
        scores = word_scores(word.own.astype(np.float32), word)
        ones = [*WHERE, *(WHEN if motion else ())]
        assert [scores[name] for name in ones] == pytest.approx([1] * len(ones))
        assert scores["j_best"] > 0.6


def test_the_best_threshold_is_at_least_as_good_as_the_others(noisy):
    scores = word_scores(noisy, TruthOnGrid(scene(), GRID).word("ball", False))
    assert scores["j_best"] >= max(scores["j_mean"], scores["j_otsu"])
    assert scores["j_mean"] != scores["j_otsu"]
    assert all(scores[f"jf_{x}"] == (scores[f"j_{x}"] + scores[f"f_{x}"]) / 2 for x in ("best", "mean", "otsu"))


def test_agreement_is_that_of_the_map_with_the_effect(noisy):
    word, effect = TruthOnGrid(scene(), GRID).word("jumps", True), noisy + np.roll(noisy, 1)
    scores = word_scores(noisy, word, effect)
    expected = faithfulness(noisy, effect)
    assert {name: scores[f"effect_{name}"] for name in expected} == expected
    assert expected != faithfulness(effect, noisy)


def test_a_threshold_that_rounds_to_the_lowest_value_does_not_find_all():
    lowest, above = np.float32(1), np.nextafter(np.float32(1), np.float32(2))
    found = reached(np.array([lowest, above]), float(lowest) + 1e-9, float(lowest))
    assert found.tolist() == [False, True]


def test_a_constant_map_is_at_chance_and_finds_no_pixel():
    word = TruthOnGrid(scene(), GRID).word("jumps", True)
    scores = word_scores(np.full(GRID, 0.3, np.float32), word)
    share = 4 / 72
    assert (scores["ap"], scores["mass"]) == (pytest.approx(share), pytest.approx(share))
    assert scores["ap_frame"] == scores["pointing"] == pytest.approx(4 / 24)
    assert scores["auc"] == scores["auc_frame"] == scores["in_object_auc"] == scores["specificity"] == 0.5
    assert scores["temporal_auc"] == 0.5 and np.isnan(scores["temporal_correlation"])
    assert scores["j_best"] == scores["f_mean"] == scores["jf_otsu"] == pytest.approx(5 / 9), "frames without motion"


def test_a_word_that_is_true_nowhere_has_no_score(noisy):
    scores = word_scores(noisy, TruthOnGrid(scene(), GRID).word("rests", True))
    assert {name for name, value in scores.items() if np.isnan(value)} == {*WHERE, *REGIONS, *WHEN}


def test_a_video_of_void_pixels_has_no_score(noisy):
    truth = scene()
    truth = Truth(truth.nouns, truth.verbs, truth.masks, truth.moving, np.ones(SIZE, bool))
    assert np.isnan([*word_scores(noisy, TruthOnGrid(truth, GRID).word("jumps", True)).values()]).all()


def test_void_cells_change_nothing(noisy):
    truth = scene()
    hidden = np.zeros(SIZE, bool)
    hidden[:, 24:] = True  # the last row of cells
    truth = Truth(truth.nouns, truth.verbs, truth.masks, truth.moving, hidden)
    word, other = TruthOnGrid(truth, GRID).word("jumps", True), noisy.copy()
    other[:, 3] = noisy.min() + 0.1  # never the peak, and above the lowest value
    names = [*WHERE, *WHEN]
    one, two = word_scores(noisy, word), word_scores(other, word)
    assert [one[name] for name in names] == pytest.approx([two[name] for name in names])


def test_baselines_are_what_they_say():
    assert np.ptp(uniform((2, 3, 4))) == 0
    prior = centre_prior((2, 4, 6))
    assert prior.shape == (2, 4, 6) and prior[0].argmax() in (8, 9, 14, 15)
    assert prior[1, 0, 0] == pytest.approx(np.exp(-((1.5) ** 2 + (5 / 12 / 0.25) ** 2) / 2))
    np.testing.assert_allclose(prior, prior[:, ::-1, ::-1])


def test_frame_difference_is_that_of_the_embedded_world():
    import torch

    frames = np.random.default_rng(0).integers(0, 256, (9, 16, 24, 3), np.uint8)
    expected = world.frame_difference(torch.from_numpy(frames), (4, 6))
    np.testing.assert_allclose(frame_difference(frames, (3, 4, 6)), expected, rtol=1e-4)


def test_another_word_is_the_next_one_of_its_kind():
    texts, motions = ("ball", "dog", "jumps", "tree"), frozenset({"jumps"})
    assert [other_word(texts, motions, text) for text in texts] == ["dog", "tree", "tree", "ball"]
    assert other_word(("ball",), frozenset(), "ball") is None
