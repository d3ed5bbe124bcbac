"""When things move, from their masks and the frames, without labels. An estimate, not a truth.

A thing moves in a frame if its pose changes fast there. Its pose is the centroid, the size and the mean colour, each
relative to the thing's size or to white. The motion of the camera is taken off. A thing also moves if its pixels change
more than the background's, as those of something that turns in place. And an action lasts until the thing is back: a
pause between leaving a pose and coming back to it counts as moving, such as the top of a slow jump.

How often it is right: docs/guide/datasets.md, measured by `python -m benchmarks.moving` on the embedded world.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from scipy import ndimage

from imap.evaluation.camera import camera_path, thinning

SPEED = 0.25  # least change of pose per second, in sizes of the thing
LEAST = 0.02  # least change of pose from the frame before to the frame after: masks of annotators are not steady
STEADY = 3  # frames of the median of each pose
CHANGE = 0.25  # least change of the grey of its pixels per second, beyond the background's, in shares of white
BACK = 0.12  # largest distance of poses that count as the same


def estimate_moving(masks: np.ndarray, frames: np.ndarray, times: Sequence[float]) -> np.ndarray:
    """Booleans (things, frames): in which frames each thing moves. False where its mask is empty.

    Args:
        masks: booleans (things, frames, height, width).
        frames: uint8 (frames, height, width, 3).
        times: seconds of the frames, rising; an end after the last one is not used.
    """
    things, count = masks.shape[:2]
    moving = np.zeros((things, count), bool)
    if not things or count < 2:
        return moving
    clock = np.asarray(times[:count], float)
    background = ~np.asarray(masks.any(axis=0))
    camera = camera_path(frames, background)
    step = thinning(frames)
    grey, around = frames[:, ::step, ::step].mean(axis=-1, dtype=np.float32), background[:, ::step, ::step]
    for k, mask in enumerate(masks):
        seen = mask.any(axis=(1, 2))
        if seen.sum() < 2:
            continue
        at = np.flatnonzero(seen)  # a thing that is hidden for a while neither moves nor stays
        pose = poses(mask[at], frames[at], camera[at])
        fast = _fast(pose, clock[at]) | _changing(mask[at, ::step, ::step], grey[at], around[at], clock[at])
        moving[k, at] = until_back(fast, pose)
    return moving


def poses(mask: np.ndarray, frames: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Pose of a thing that is seen in all frames, (frames, 6): centroid (2), size (1), colour (3).

    Args:
        mask: booleans (frames, height, width).
        frames: uint8 (frames, height, width, 3).
        camera: pixels by which the background has moved, (frames, 2), rows and columns.
    """
    area = mask.sum(axis=(1, 2)).astype(float)
    size = np.sqrt(np.median(area))
    rows = (mask.sum(axis=2) * np.arange(mask.shape[1])).sum(axis=1) / area
    columns = (mask.sum(axis=1) * np.arange(mask.shape[2])).sum(axis=1) / area
    centre = (np.stack([rows, columns], axis=1) - camera) / size
    colour = np.stack([frame[inside].mean(axis=0) / 255 for frame, inside in zip(frames, mask, strict=True)])
    pose = np.concatenate([centre, np.log(area / size**2)[:, None] / 2, colour], axis=1)
    return ndimage.median_filter(pose, (STEADY, 1), mode="nearest")


def _fast(pose: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """Whether the pose changes fast in each frame, from the one before to the one after."""
    before, after = _neighbours(len(pose))
    change = np.linalg.norm(pose[after] - pose[before], axis=1)
    return (change > LEAST) & (change > SPEED * (clock[after] - clock[before]))


def _neighbours(count: int) -> tuple[np.ndarray, np.ndarray]:
    number = np.arange(count)
    return np.maximum(number - 1, 0), np.minimum(number + 1, count - 1)


def _changing(mask: np.ndarray, grey: np.ndarray, background: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """Whether the pixels that a thing keeps change more than the background, from the frame before or to the next."""
    rate = np.zeros(len(mask))
    for i in range(1, len(mask)):
        kept, around = mask[i] & mask[i - 1], background[i] & background[i - 1]
        change = np.abs(grey[i] - grey[i - 1]) / 255
        inside, outside = (change[x].mean() if x.any() else 0.0 for x in (kept, around))
        rate[i] = (inside - outside) / (clock[i] - clock[i - 1])
    return np.maximum(rate, np.append(rate[1:], 0)) > CHANGE


def until_back(fast: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Moving frames: fast ones, and those of a pause between leaving a pose and coming back to it."""
    moving = fast.copy()
    runs = [(is_fast, list(group)) for is_fast, group in groupby(range(len(fast)), lambda i: bool(fast[i]))]
    still = [(run[0], run[-1], np.median(pose[run], axis=0)) for is_fast, run in runs if not is_fast]
    for k, (_, end, rest) in enumerate(still):
        returns = [begin for begin, _, other in still[k + 1 :] if np.linalg.norm(other - rest) < BACK]
        if returns:
            moving[end + 1 : returns[0]] = True
    for begin, end, rest in still:
        for beside in (begin - 1, end + 1):  # fast only because of the frame after it, or before
            if 0 <= beside < len(pose) and not moving[begin] and np.linalg.norm(pose[beside] - rest) < LEAST:
                moving[beside] = False
    for is_fast, run in runs:
        if is_fast and not moving[run].any():
            moving[run[-1]] = True  # at once in another pose
    return moving
