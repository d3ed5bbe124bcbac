"""The truth of a clip in the frames that are read of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imap.errors import ImapError
from imap.media.clip_file import Clip
from imap.media.clips import FittedClip, resized
from imap.media.truth import Truth, read_truth, truth_path

MOST = 127  # of 255: a pixel of a resized mask is true if more than half of it is


def check_truth(clip: Path, opened: Clip) -> None:
    """Raise ImapError if a clip has a truth beside it that cannot be read, or is of another size or length."""
    path = truth_path(clip)
    if path.is_file():
        _check_size(path, read_truth(path), opened.shape[:3], clip)


def fitted_truth(clip: Path, fitted: FittedClip, resize: str) -> Truth | None:
    """Truth in the frames of a clip that was read, taken and resampled like them. None without a truth file.

    Args:
        clip: path of the video file.
        fitted: the clip as it was read.
        resize: as in `Fit`.

    Raises:
        ImapError: as `check_truth`.
    """
    path = truth_path(clip)
    if not path.is_file():
        return None
    truth, taken, size = read_truth(path), list(fitted.taken), fitted.frames.shape[1:3]
    _check_size(path, truth, tuple(fitted.record[name] for name in ("frames", "height", "width")), clip)
    masks = [fitted_mask(mask[taken], size, resize) for mask in truth.masks]
    void = None if truth.void is None else fitted_mask(truth.void[taken], size, resize)
    return Truth(truth.nouns, truth.verbs, np.stack(masks), truth.moving[:, taken], void)


def fitted_mask(mask: np.ndarray, size: tuple[int, ...], resize: str) -> np.ndarray:
    """Booleans (frames, height, width) at another size, resampled as the frames are. resize: as in `Fit`."""
    if mask.shape[1:] == size:
        return mask
    grey = np.where(mask, np.uint8(255), np.uint8(0))[..., None]
    return np.stack([resized(frame, (size[0], size[1]), resize)[..., 0] > MOST for frame in grey])


def _check_size(path: Path, truth: Truth, size: Sequence[int], clip: Path) -> None:
    own = truth.masks.shape[1:]
    if own != tuple(size):
        raise ImapError(
            f"{path} has masks of {'x'.join(map(str, own))}, but {clip.name} is {'x'.join(map(str, size))} (frames x "
            "height x width); make masks of the clip's own frames, or give the truth another name"
        )
