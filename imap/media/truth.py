"""The truth of a clip: which pixels each of its things covers, and when a thing does what its verb says.

It is a file `truth-<clip>.npz` beside the clip: of clips of the embedded world, or a user's own.
docs/guide/real_clips.md describes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from imap.errors import ImapError
from imap.media.clip_file import Clip
from imap.media.clips import FittedClip, resized

HALF = 127  # of 255: a pixel of a resized mask is true if more than half of it is


@dataclass(frozen=True)
class Truth:
    """Things of a clip.

    Attributes:
        nouns: name of each thing. Several things may share one.
        verbs: what each thing does.
        masks: booleans (things, frames, height, width), the visible pixels of each thing.
        moving: booleans (things, frames), whether its verb happens.
        void: booleans (frames, height, width), pixels of which nothing is known; None for none.
    """

    nouns: Sequence[str]
    verbs: Sequence[str]
    masks: np.ndarray
    moving: np.ndarray
    void: np.ndarray | None = None

    def of(self, text: str) -> np.ndarray | None:
        """Booleans (frames, height, width): where the things of this noun are, or where and while this verb happens.

        None for a word that the truth does not have.
        """
        named, acting = ([word.casefold() == text.casefold() for word in words] for words in (self.nouns, self.verbs))
        if not any(named) and not any(acting):
            return None
        things, actions = self.masks[named], self.masks[acting] & self.moving[acting][..., None, None]
        return np.asarray(np.concatenate([things, actions]).any(axis=0))

    def by_word(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """`of` for each of some words that the truth has."""
        return {text: mask for text in texts if (mask := self.of(text)) is not None}


def truth_path(clip: Path) -> Path:
    """Path of a clip's truth, whether the file exists or not."""
    return clip.with_name(f"truth-{clip.stem}.npz")


def read_truth(path: Path) -> Truth:
    """Read a truth file. Raises ImapError for a file that does not exist, or has other contents."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            masks, nouns = arrays["masks"], arrays["nouns"]
            things, frames, height, width = masks.shape
            verbs = arrays["verbs"] if "verbs" in arrays else np.full(things, "")
            moving = arrays["moving"] if "verbs" in arrays else np.zeros((things, frames), bool)
            void = arrays.get("void")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile):
        raise ImapError(f"{path} is not a truth file; {_EXPECTED}") from None
    parts: list[tuple[str, Any, tuple[int, ...], str]] = [
        ("masks", masks, masks.shape, "bui"),
        ("moving", moving, (things, frames), "bui"),
        ("nouns", nouns, (things,), "U"),
        ("verbs", verbs, (things,), "U"),
        *([] if void is None else [("void", void, (frames, height, width), "bui")]),
    ]
    for name, array, shape, kinds in parts:
        if array.shape != shape or array.dtype.kind not in kinds:
            raise ImapError(f"{path} is not a truth file ({name} are {array.dtype} {array.shape}); {_EXPECTED}")
    return Truth(nouns.tolist(), verbs.tolist(), masks != 0, moving != 0, None if void is None else void != 0)


def write_truth(path: Path, truth: Truth) -> None:
    """Write a truth file."""
    arrays: dict[str, Any] = {"masks": truth.masks, "moving": truth.moving}
    arrays |= {"nouns": np.array(truth.nouns, str), "verbs": np.array(truth.verbs, str)}
    if truth.void is not None:
        arrays["void"] = truth.void
    np.savez_compressed(path, **arrays)


_EXPECTED = (
    "it needs masks (things, frames, height, width) and nouns (things), and with verbs (things) also moving (things, "
    "frames). Write it again, or give it another name"
)


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
    return np.stack([resized(frame, (size[0], size[1]), resize)[..., 0] > HALF for frame in grey])


def _check_size(path: Path, truth: Truth, size: Sequence[int], clip: Path) -> None:
    own = truth.masks.shape[1:]
    if own != tuple(size):
        raise ImapError(
            f"{path} has masks of {'x'.join(map(str, own))}, but {clip.name} is {'x'.join(map(str, size))} (frames x "
            "height x width); make masks of the clip's own frames, or give the truth another name"
        )
