"""J and F are those of vos-benchmark, which are DAVIS's; and of definitions counted pixel by pixel."""

from itertools import product

import numpy as np
import pytest

from imap.evaluation import bits
from imap.evaluation.regions import (
    LEVELS,
    Outline,
    best_threshold,
    boundary_f,
    counts,
    dilated,
    levels_of,
    levels_reached,
    region_j,
)


def blobs(seed: int, shape: tuple[int, int, int] = (6, 150, 210)) -> tuple[np.ndarray, np.ndarray]:
    """A moving ellipse that touches the border, and another mask near it with specks."""
    rng, (frames, height, width) = np.random.default_rng(seed), shape
    rows, columns = np.mgrid[:height, :width]
    truth, found = np.zeros(shape, bool), np.zeros(shape, bool)
    for frame in range(frames):
        y, x, high, wide = rng.uniform([0, 0, 10, 10], [height, width, height / 2, width / 2])
        truth[frame] = ((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 < 1
        found[frame] = ((rows - y - rng.normal(0, 3)) / high) ** 2 + ((columns - x) / wide * 1.05) ** 2 < 1
        found[frame] ^= rng.random((height, width)) < 0.001
    return found, truth


def our_j_and_f(found, truth):
    return region_j(found, truth), boundary_f(Outline.of(found), Outline.of(truth))


@pytest.mark.slow
def test_j_and_f_are_those_of_vos_benchmark():
    evaluator = pytest.importorskip("vos_benchmark.evaluator", exc_type=ImportError).Evaluator
    for seed in range(4):
        found, truth = blobs(seed)
        found[2], truth[3] = False, False  # lost, and not there
        found[4] = truth[4] = False
        found[5] = True
        theirs = evaluator()
        for one, other in zip(found, truth, strict=True):
            theirs.feed_frame(one.astype(np.uint8), other.astype(np.uint8))
        j, f = our_j_and_f(found, truth)
        np.testing.assert_allclose(j, theirs.object_iou[1], rtol=1e-12)
        np.testing.assert_allclose(f, theirs.boundary_f[1], rtol=1e-12)
        ((their_j,), (their_f,)) = (values.values() for values in theirs.conclude())
        assert (100 * j.mean(), 100 * f.mean()) == (pytest.approx(their_j), pytest.approx(their_f))


def test_j_and_f_are_what_vos_benchmark_gave():
    j, f = our_j_and_f(*blobs(0))
    assert j.mean() == pytest.approx(RECORDED[0], abs=1e-9)
    assert f.mean() == pytest.approx(RECORDED[1], abs=1e-9)


RECORDED = (0.8625057666695851, 0.7022823121228905)  # by vos-benchmark 0.1.0


def test_frames_before_the_object_is_there_count_here_and_not_in_vos_benchmark():
    evaluator = pytest.importorskip("vos_benchmark.evaluator", exc_type=ImportError).Evaluator
    found, truth = blobs(5)
    found[:2] = truth[:2] = False
    theirs = evaluator()
    for one, other in zip(found, truth, strict=True):
        theirs.feed_frame(one.astype(np.uint8), other.astype(np.uint8))
    j, f = our_j_and_f(found, truth)
    np.testing.assert_array_equal(j[:2], 1)
    np.testing.assert_allclose(j[2:], theirs.object_iou[1])
    np.testing.assert_allclose(f[2:], theirs.boundary_f[1])


def test_empty_masks_agree_with_empty_masks_only():
    none, some = np.zeros((1, 9, 9), bool), np.zeros((1, 9, 9), bool)
    some[0, 3:6, 3:6] = True
    for found, truth, expected in [(none, none, 1), (none, some, 0), (some, none, 0), (some, some, 1)]:
        j, f = our_j_and_f(found, truth)
        assert (j.tolist(), f.tolist()) == ([expected], [expected])


def test_j_is_counted_by_hand():
    found, truth = np.zeros((2, 3, 3), bool), np.zeros((2, 3, 3), bool)
    found[0, 0], truth[0, :2, 0] = True, True  # 3 and 2 pixels, 1 in both
    found[1], truth[1, 1, 1] = True, True
    np.testing.assert_allclose(region_j(found, truth), [1 / 4, 1 / 9])


@pytest.mark.parametrize("radius", [0, 0.9, 1, 1.5, 2, 5, 40])
def test_dilation_takes_the_pixels_within_the_radius(radius):
    masks = np.random.default_rng(1).random((3, 12, 17)) < 0.01
    brute = np.zeros_like(masks)
    for frame, y, x in zip(*np.nonzero(masks), strict=True):
        for row, column in product(range(12), range(17)):
            brute[frame, row, column] |= (row - y) ** 2 + (column - x) ** 2 <= radius**2
    np.testing.assert_array_equal(dilated(masks, radius), brute)


def test_edges_lie_inside_and_half_a_pixel_towards_the_origin():
    mask = np.zeros((5, 6), bool)
    mask[2:4, 2:4] = True
    expected = np.array([list("......"), list(".###.."), list(".#.#.."), list(".###.."), list("......")]) == "#"
    np.testing.assert_array_equal(edges(mask), expected)
    assert not edges(np.ones((5, 6), bool)).any()


def edges(masks):
    return bits.unpacked(bits.edges(bits.packed(masks), masks.shape[-1]), masks.shape[-1])


@pytest.mark.parametrize("width", [1, 17, 64, 65, 128, 200])  # whole integers, and parts of one
def test_bits_are_the_pixels_of_masks(width):
    masks = np.random.default_rng(width).random((4, 9, width)) < 0.7
    masks[3] = True
    padded = np.pad(masks, ((0, 0), (0, 1), (0, 1)), mode="edge")
    neighbours = padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]
    expected = np.any([masks != x for x in neighbours], axis=0)
    np.testing.assert_array_equal(bits.unpacked(bits.packed(masks), width), masks)
    np.testing.assert_array_equal(edges(masks), expected)
    for one, packed in [(masks, bits.packed(masks)), (expected, bits.edges(bits.packed(masks), width))]:
        assert counts(packed).tolist() == counts(one).tolist() == one.sum(axis=(1, 2)).tolist()  # padding is 0


def test_dilation_crosses_integers_and_blocks(monkeypatch):
    masks = np.random.default_rng(2).random((5, 9, 150)) < 0.01
    rows, columns = np.mgrid[:9, :150]
    distance = [
        np.min([np.hypot(rows - y, columns - x) for y, x in zip(*np.nonzero(mask), strict=True)], axis=0)
        for mask in masks
    ]
    for block in (1, 500, bits.BLOCK):
        monkeypatch.setattr(bits, "BLOCK", block)
        np.testing.assert_array_equal(dilated(masks, 5), np.array(distance) <= 5)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    latents = np.array([0, 1, 1, 2, 2])
    truth, void = rng.random((5, 8, 9)) < 0.4, rng.random((5, 8, 9)) < 0.5
    truth[4] = False
    pictures = (rng.normal(size=(3, 8, 9)) + truth[[0, 1, 3]] * np.array([3, 1, 0])[:, None, None]).astype(np.float32)
    for known, hidden in [(np.ones_like(void), None), (~void, void)]:
        true, levels = truth & known, levels_of(pictures)
        mean_j = [region_j((pictures >= level)[latents] & known, true).mean() for level in levels]
        assert best_threshold(pictures, latents, true, levels, hidden) == levels[int(np.argmax(mean_j))]
        assert np.ptp(mean_j) > 0.05


def test_thresholds_are_even_steps_above_the_lowest_value():
    levels = levels_of(np.array([3.0, 1, 1, 2], np.float32))
    assert levels.dtype == np.float32 and len(levels) == LEVELS
    np.testing.assert_allclose(levels[[0, 127, 255]], [1 + 2 / 256, 2, 3])
    nearly = np.array([1, np.nextafter(np.float32(1), np.float32(2))], np.float32)
    np.testing.assert_array_equal(np.unique(levels_of(nearly)), nearly[1:])


@pytest.mark.parametrize(
    ("low", "spread"), [(0, 1), (-3, 1e-6), (1000, 1e-3), (1000, 5), (1, 1e-38), (0, 1e-38), (-1e30, 1e30)]
)
def test_levels_are_reached_as_a_binary_search_finds(low, spread):
    x = (low + spread * np.random.default_rng(0).random(5000)).astype(np.float32)
    levels = levels_of(x) if np.ptp(x) else np.array([low], np.float32)
    x = np.r_[x, levels, np.nextafter(levels, np.float32(-np.inf)), np.float32(low - spread)]
    np.testing.assert_array_equal(levels_reached(x, levels), np.searchsorted(levels, x, side="right"))
