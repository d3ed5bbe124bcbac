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
