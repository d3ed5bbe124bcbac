"""Truth on the grid, counted by hand; the cells of the embedded world's benchmark."""

import numpy as np
import pytest
import torch

from imap.evaluation.cells import TruthOnGrid, latents_of, to_cells, to_latent_frames
from imap.media.truth import Truth
from imap.shapes.world import drawing

GRID = (3, 2, 2)  # 9 frames of 8x8 pixels
SHAPE = (9, 8, 8)


def filled(rows, columns, frames=slice(None)) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[frames, rows, columns] = True
    return mask


def during(*frames: int) -> np.ndarray:
    return np.isin(np.arange(SHAPE[0]), frames)


def test_cells_are_the_means_that_the_embedded_world_takes():
    masks = np.random.default_rng(0).random((9, 16, 24)) < 0.4
    expected = drawing.to_grid(torch.from_numpy(masks), 4, 6).numpy()
    np.testing.assert_allclose(to_cells(masks, (3, 4, 6)), expected, atol=1e-6)


def test_a_latent_frame_moves_if_more_than_half_of_its_frames_do():
    assert latents_of(9, 3).tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert to_latent_frames(during(0, 1, 2, 5, 6, 7), 3).tolist() == [True, False, True]


def test_a_noun_is_true_where_its_things_cover_more_than_half_of_a_cell():
    left, right = filled(slice(0, 4), slice(0, 2)), filled(slice(0, 4), slice(2, 3))  # 1/2 and 1/4 of the first cell
    truth = Truth(["Ball", "ball"], ["", ""], np.stack([left, right]), np.zeros((2, 9), bool))
    word = TruthOnGrid(truth, GRID).word("BALL", motion=False)
    assert word.own.tolist() == [[[True, False], [False, False]]] * 3
    assert word.known.all()
    np.testing.assert_array_equal(word.masks, left | right)
    one = TruthOnGrid(Truth(["ball"], [""], left[None], np.zeros((1, 9), bool)), GRID).word("ball", motion=False)
    assert not one.own.any(), "just half of a cell is not more than half"
    assert one.moving is None
    assert TruthOnGrid(truth, GRID).word("kite", motion=False) is None


def test_void_pixels_neither_cover_cells_nor_count_in_them():
    void = filled(slice(0, 2), slice(0, 4)) | filled(slice(4, 8), slice(0, 3))  # 1/2 of one cell, 3/4 of another
    mask = filled(slice(0, 3), slice(0, 4)) | filled(slice(3, 4), slice(0, 1)) | filled(slice(4, 8), slice(0, 4))
    word = TruthOnGrid(Truth(["ball"], [""], mask[None], np.zeros((1, 9), bool), void), GRID).word("ball", motion=False)
    assert word.known.tolist() == [[[True, True], [False, True]]] * 3
    assert word.own.tolist() == [[[True, False], [False, False]]] * 3  # 5 of 8 known pixels
    assert not (word.masks & void).any()
    np.testing.assert_array_equal(word.masks, mask & ~void)


@pytest.fixture
def two_balls_and_a_kite():
    corners = [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))]
    moving = np.stack([during(1, 2, 3, 4), during(5, 6, 7, 8), during(1, 2, 3, 4)])
    return Truth(["ball", "ball", "kite"], ["jumps", "rolls", "turns"], np.stack([filled(*x) for x in corners]), moving)


def test_a_motion_is_true_on_its_mover_while_it_moves(two_balls_and_a_kite):
    word = TruthOnGrid(two_balls_and_a_kite, GRID).word("jumps", motion=True)
    assert word.moving.tolist() == [False, True, False]
    assert np.argwhere(word.own).tolist() == [[1, 0, 0]]
    assert np.argwhere(word.still).tolist() == [[0, 0, 0], [2, 0, 0]]
    assert np.argwhere(word.resting).tolist() == [[1, 0, 1]], "the other ball, while the first one moves; not the kite"
    np.testing.assert_array_equal(word.masks, filled(slice(0, 4), slice(0, 4), slice(1, 5)))


def test_a_thing_that_moves_too_is_not_at_rest(two_balls_and_a_kite):
    truth = two_balls_and_a_kite
    truth.moving[1] = truth.moving[0]
    assert not TruthOnGrid(truth, GRID).word("jumps", motion=True).resting.any()


def test_a_word_of_both_kinds_is_the_mover_for_motion_words_only():
    first, second = filled(slice(0, 4), slice(0, 4)), filled(slice(4, 8), slice(4, 8))
    truth = Truth(["fly", "kite"], ["", "fly"], np.stack([first, second]), np.stack([during(), during(*range(9))]))
    grid = TruthOnGrid(truth, GRID)
    assert np.argwhere(grid.word("fly", motion=False).own[0]).tolist() == [[0, 0]]
    assert np.argwhere(grid.word("fly", motion=True).own[0]).tolist() == [[1, 1]]
    assert grid.word("kite", motion=True).moving is None, "a motion word that only names a thing"
    assert TruthOnGrid(Truth(["a"], ["fly"], first[None], during(2)[None]), GRID).word("fly", False).moving is not None


def test_a_latent_frame_without_video_frames_is_unknown():
    masks = filled(slice(0, 8), slice(0, 8))[None, :1]  # one video frame of three latent ones
    word = TruthOnGrid(Truth(["sky"], [""], masks, np.zeros((1, 1), bool)), GRID).word("sky", motion=False)
    assert word.known.any(axis=(1, 2)).sum() == 1
    np.testing.assert_array_equal(word.own, word.known)
