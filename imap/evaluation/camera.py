"""How the camera moves: the shift of the background from frame to frame, by phase correlation and least squares."""

import numpy as np
from scipy import ndimage

THUMB = 240  # rows or columns, at most, of pictures that are compared with each other
BETTER = 0.8  # a camera motion is believed if it leaves at most this share of the background's change
REFINED = 4  # rounds
FAR = 0.05  # of the shorter side: at such a shift, later frames are compared with this one
LEAST_CHANGE = 0.5  # of 255: a background that changes less does not move


def thinning(frames: np.ndarray) -> int:
    """Every so many rows and columns make pictures of at most `THUMB`."""
    return max(1, -(-max(frames.shape[1:3]) // THUMB))


def camera_path(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Pixels by which the background has moved since the first frame, (frames, 2), rows and columns.

    By phase correlation with an earlier frame, of pictures in which things are filled with the background's mean. A
    shift is believed only if it explains the background's change: a plain wall shows no motion of the camera.
    """
    step = thinning(frames)
    thumbs = frames[:, ::step, ::step].mean(axis=-1)
    known = background[:, ::step, ::step]
    path, anchor, shift = [np.zeros(2)], 0, np.zeros(2)
    for i in range(1, len(thumbs)):
        shift = shift_between(thumbs[anchor], thumbs[i], known[anchor] & known[i], shift)
        path.append(path[anchor] + shift)
        if np.abs(shift).max() > FAR * min(thumbs.shape[1:]):
            anchor, shift = (
                i,
                path[i] - path[i - 1],
            )  # seldom, as the errors of anchors add up, and a slow camera moves little from frame to frame
    return step * np.array(path)


def shift_between(one: np.ndarray, other: np.ndarray, known: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
    """Rows and columns by which a grey picture (height, width) has moved in another, looked for where it is known.

    guess: a shift that is tried too, such as that of the frame before.
    """
    still = np.abs(other - one)[known].mean() if known.any() else 0.0
    if still < LEAST_CHANGE:
        return np.zeros(2)
    # the filled places lie at the same pixels in both pictures, which can hide the peak: so others are tried
    tried = [*_peaks(one, other, known), *([] if guess is None else [guess])]
    left, shift = min((_left(one, other, known, x)[0], tuple(x)) for x in tried)
    fine = np.array(shift, float)
    for _ in range(REFINED):  # to parts of a pixel, as errors add up over the frames: Lucas and Kanade's least squares
        _, moved, both = _left(one, other, known, fine)
        slopes = np.stack(list(np.gradient(moved)), axis=-1)[both]
        fine = fine - np.linalg.pinv(slopes.T @ slopes) @ (slopes.T @ (other - moved)[both])
    if _left(one, other, known, fine)[0] < left:
        left, shift = _left(one, other, known, fine)[0], fine
    return np.array(shift, float) if left < BETTER * still else np.zeros(2)


def _peaks(one: np.ndarray, other: np.ndarray, known: np.ndarray) -> list[np.ndarray]:
    """The best shift by phase correlation, and the best one but none."""
    filled = [np.where(known, x, x[known].mean()) - x[known].mean() for x in (one, other)]
    window = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))
    a, b = (np.fft.rfft2(x * window) for x in filled)
    cross = b * a.conj()
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), one.shape)
    shifts = []
    for _ in range(2):
        found = np.array(np.unravel_index(peak.argmax(), peak.shape))
        shifts.append(np.where(found > np.array(one.shape) // 2, found - one.shape, found).astype(float))
        peak[0, 0] = -np.inf
    return shifts


def _left(
    one: np.ndarray, other: np.ndarray, known: np.ndarray, shift: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean change that a shift leaves, the shifted picture, and where both are known."""
    moved = ndimage.shift(one, shift, order=1, mode="nearest")
    both = known & (ndimage.shift(known.astype(np.float32), shift, order=1) > 0.99)
    return (float(np.abs(other - moved)[both].mean()) if both.any() else np.inf), moved, both
