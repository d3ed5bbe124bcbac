"""When things move: known motions of one square, the camera, and the true flags of the embedded world."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.moving import CONDITIONS, counts, figures
from imap.evaluation.camera import camera_path, shift_between
from imap.evaluation.moving import estimate_moving, until_back

FRAMES, HEIGHT, WIDTH, RATE = 16, 64, 96, 8
TIMES = np.arange(FRAMES + 1) / RATE


def wall(shift: float = 0.0) -> np.ndarray:
    """A picture (height, width, 3) of soft blobs, moved to the right by so many columns."""
    noise = np.random.default_rng(3).uniform(0, 255, (HEIGHT, WIDTH + 64))
    soft = ndimage.gaussian_filter(noise, 2)
    soft = (soft - soft.mean()) / soft.std() * 25 + 110
    moved = ndimage.shift(soft, (0, shift), order=1, mode="nearest")[:, 32:-32]
    return moved.clip(0, 255)[..., None].repeat(3, axis=-1)


def clip(columns, side=16, colour=230.0, pan=0.0) -> tuple[np.ndarray, np.ndarray]:
    """Masks (1, frames, height, width) and frames of a square whose left edge is at `columns`, before a wall."""
    masks = np.zeros((1, FRAMES, HEIGHT, WIDTH), bool)
    frames = np.stack([wall(pan * i) for i in range(FRAMES)])
    for i in range(FRAMES):
        left = round(columns[i])
        masks[0, i, 20 : 20 + side, left : left + side] = True
        frames[i][masks[0, i]] = colour[i] if np.ndim(colour) else colour
    return masks, frames.round().astype(np.uint8)


def moving(*arguments, times=TIMES, **options) -> list[int]:
    """Numbers of the frames in which the square is said to move."""
    return np.flatnonzero(estimate_moving(*clip(*arguments, **options), times)[0]).tolist()


def test_a_thing_moves_while_its_centre_does():
    columns = [30] * 5 + [33, 36, 39, 42, 45, 48] + [48] * 5
    assert moving(columns) == list(range(5, 10))  # in frame 10 it has come to rest


def test_a_still_thing_does_not_move_even_if_its_mask_trembles():
    assert moving([30] * FRAMES) == []
    trembling = 30 + np.random.default_rng(0).integers(0, 2, FRAMES)  # 1 column of 16
    assert moving(trembling) == []


def test_a_pixel_more_in_a_mask_is_no_motion_at_any_rate():
    masks, frames = clip([30] * FRAMES)
    masks[0, 8:, 20, 46] = True
    assert not estimate_moving(masks, frames, TIMES / 100).any()


def test_speed_is_per_second():
    columns = 20 + 0.5 * np.arange(FRAMES)  # half a column of 16 per frame
    assert moving(columns, times=TIMES * 4) == []  # at 2 frames per second: 0.06 of its size per second
    assert len(moving(columns * 2 - 20, times=TIMES)) >= FRAMES - 1  # 1 column at 8 per second: 0.5


def test_a_thing_that_the_camera_passes_does_not_move():
    pan = 2.0
    columns = 20 + pan * np.arange(FRAMES)
    assert moving(columns, pan=pan) == []
    assert moving(columns) == list(range(FRAMES))
    assert moving([40] * FRAMES, pan=pan) == list(range(FRAMES))  # the camera follows it


def test_a_thing_that_changes_colour_or_size_moves():
    flash = [230.0] * 6 + [100.0] * 3 + [230.0] * 7
    found = moving([30] * FRAMES, colour=flash)
    assert found == [6, 7, 8]
    masks, frames = clip([30] * FRAMES)
    masks[0, 8:, 15:41, 25:51] = True  # the centre stays
    frames[masks[0]] = 230
    assert np.flatnonzero(estimate_moving(masks, frames, TIMES)[0]).tolist() == [8]


def test_pixels_that_change_more_than_the_background_move():
    masks, frames = clip([30] * FRAMES)
    rng = np.random.default_rng(1)
    for i in range(6, 12):  # it turns in place: other pixels of the same mean
        frames[i][masks[0, i]] = rng.permutation([180, 80] * 128)[:, None]
    for i in (*range(6), *range(12, FRAMES)):
        frames[i][masks[0, i]] = 130
    assert set(range(6, 12)) <= set(np.flatnonzero(estimate_moving(masks, frames, TIMES)[0]))
    noise = np.random.default_rng(2).integers(-60, 60, (FRAMES, HEIGHT, WIDTH, 1))
    noisy = np.clip(frames[:1] + noise, 0, 255).astype(np.uint8)  # all of it trembles alike
    assert not estimate_moving(masks, noisy, TIMES).any()


def test_an_action_lasts_until_the_thing_is_back():
    fast = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1, 0], bool)
    pose = np.zeros((10, 6))
    pose[2:6] = 0.5
    pose[8], pose[9] = 1.0, 2.0
    assert np.flatnonzero(until_back(fast, pose)).tolist() == [2, 3, 4, 5, 8]
    pose[5:8] = 1.0  # it does not come back
    pose[2] = 0.2
    assert np.flatnonzero(until_back(fast, pose)).tolist() == [2, 5, 8]


def test_a_thing_that_is_not_seen_does_not_move():
    masks, frames = clip([20 + 2 * i for i in range(FRAMES)])
    masks[0, 6:] = False
    found = estimate_moving(np.concatenate([masks, np.zeros_like(masks)]), frames, TIMES)
    assert found[0, :6].all() and not found[0, 6:].any() and not found[1].any()
    assert estimate_moving(masks[:0], frames, TIMES).shape == (0, FRAMES)
    assert not estimate_moving(masks[:, :1], frames[:1], TIMES[:2]).any()


def test_a_shift_is_found_in_parts_of_a_pixel():
    known = np.ones((HEIGHT, WIDTH), bool)
    one = wall()[..., 0]
    for shift in (0.4, 3.0, -5.7):
        np.testing.assert_allclose(shift_between(one, wall(shift)[..., 0], known), [0, shift], atol=0.1)
    np.testing.assert_allclose(shift_between(one, np.roll(one, 3, axis=0), known), [3, 0], atol=0.3)


def test_a_change_that_is_no_shift_is_no_camera_motion():
    known = np.ones((HEIGHT, WIDTH), bool)
    one = wall()[..., 0]
    assert not shift_between(one, one + 20, known).any()
    assert not shift_between(one, np.random.default_rng(5).uniform(0, 255, one.shape), known).any()
    assert not shift_between(one, wall(3)[..., 0], ~known).any()


def test_the_path_of_a_slow_camera_adds_up():
    frames = np.stack([wall(0.3 * i) for i in range(FRAMES)]).round().astype(np.uint8)
    path = camera_path(frames, np.ones(frames.shape[:3], bool))
    np.testing.assert_allclose(path[:, 1], 0.3 * np.arange(FRAMES), atol=0.3)
    np.testing.assert_allclose(path[:, 0], 0, atol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision", "recall"), [("plain", 0.9, 0.97), ("texture, camera pans", 0.75, 0.9)])
def test_the_estimate_is_near_the_true_flags_of_the_embedded_world(name, precision, recall):
    found = figures(counts(CONDITIONS[name], 10, 5, (49, 120, 180), 8)["all"])
    assert found[0] > precision and found[1] > recall
