"""What maps of a clip should show, word by word, in the cells of the model's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from imap.errors import ImapError
from imap.evaluation import scores
from imap.shapes.world.drawing import Drawn, to_grid, to_latent_frames
from imap.shapes.world.scenes import Scene

# share of a cell that an object fills, and of a latent frame's frames in which it moves: above IN that is true, below
# OUT it is not, and between them it is not counted
IN, OUT = 0.5, 0.2


@dataclass(frozen=True)
class NounTruth:
    """One noun: booleans (frames, height, width), where its things are, where none is, and where other nouns' are."""

    word: str
    own: np.ndarray
    none: np.ndarray
    other: np.ndarray

    def ap(self, x: np.ndarray) -> float:
        """Average precision of a map (frames, height, width)."""
        counted = self.own | self.none
        return scores.average_precision(x[counted], self.own[counted])

    def scores(self, x: np.ndarray) -> dict[str, float]:
        """Scores of a map (frames, height, width)."""
        counted = self.own | self.none
        return {
            "ap": self.ap(x),
            "auc": scores.auc(x, self.own, self.none),
            "iou": scores.best_iou(x[counted], self.own[counted]),
            "own_other": scores.auc(x, self.own & ~self.other, self.other & ~self.own),
        }


@dataclass(frozen=True)
class VerbTruth:
    """One verb that moves: own, where its thing is; moving and still (frames,), when it happens and when not."""

    word: str
    own: np.ndarray
    none: np.ndarray
    other: np.ndarray
    moving: np.ndarray
    still: np.ndarray

    @property
    def event(self) -> np.ndarray:
        """Where and when it happens."""
        return self.own & self.moving[:, None, None]

    def ap(self, x: np.ndarray) -> float:
        """Spatio-temporal average precision of a map (frames, height, width)."""
        counted = (self.own | self.none) & (self.moving | self.still)[:, None, None]
        return scores.average_precision(x[counted], self.event[counted])

    def scores(self, x: np.ndarray) -> dict[str, float]:
        """Scores of a map (frames, height, width). own_other: the mover against the other thing, in moving frames."""
        counted, moving = self.moving | self.still, self.moving[:, None, None]
        return {
            "ap": self.ap(x),
            "in_object": scores.in_object_auc(x[counted], self.own[counted], self.moving[counted]),
            "correlation": scores.temporal_correlation(x[counted], self.moving[counted]),
            "own_other": scores.auc(x, self.event & ~self.other, self.other & ~self.own & moving),
        }


@dataclass(frozen=True)
class Things:
    """What a clip shows: nouns and verbs of its things, their masks (things, f, height, width), and when each moves
    (things, f), booleans as in `imap.shapes.world.drawing.Drawn`."""

    nouns: Sequence[str]
    verbs: Sequence[str]
    masks: torch.Tensor
    moving: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> "Things":
        """Of a truth-<clip>.npz that `imap.shapes.render` has written. Raises ImapError for any other file."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                tensors = (torch.from_numpy(arrays[part]) for part in ("masks", "moving"))
                return cls(arrays["nouns"].tolist(), arrays["verbs"].tolist(), *tensors)
        except (OSError, ValueError, KeyError, TypeError, BadZipFile):
            raise ImapError(f"{path} is not what imap.shapes.render writes; render the clip again") from None

    def truths(self, grid: tuple[int, int]) -> list[NounTruth | VerbTruth]:
        """Truth for each word, on a (height, width) grid; a verb that never happens has none."""
        masks, moving = to_grid(self.masks, *grid).numpy(), to_latent_frames(self.moving).numpy()
        found: list[NounTruth | VerbTruth] = []
        for noun in dict.fromkeys(self.nouns):
            own = np.array(self.nouns) == noun
            cover = masks[own].max(axis=0)
            other = masks[~own].max(axis=0) > IN if not own.all() else np.zeros(cover.shape, bool)
            found.append(NounTruth(noun, cover > IN, cover < OUT, other))
        for k, verb in enumerate(self.verbs):
            if moving[k].any():
                other = np.delete(masks, k, axis=0).max(axis=0) > IN
                times = (moving[k] > IN, moving[k] < OUT)
                found.append(VerbTruth(verb, masks[k] > IN, masks[k] < OUT, other, *times))
        return found


def truths(scene: Scene, drawn: Drawn, index: int, grid: tuple[int, int]) -> list[NounTruth | VerbTruth]:
    """Truth for each word of clip `index` of a drawn batch, on a (height, width) grid."""
    words = ([getattr(thing, kind) for thing in scene.things] for kind in ("noun", "verb"))
    return Things(*words, drawn.masks[index], drawn.moving[index]).truths(grid)


def frame_difference(frames: torch.Tensor, grid: tuple[int, int]) -> np.ndarray:
    """What changes from frame to frame, in the cells of the grid: a detector of motion that knows no word.

    frames: uint8 (f, h, w, 3). Returns (latent frames, height, width).
    """
    gray = frames.float().mean(dim=-1)
    change = torch.cat([torch.zeros_like(gray[:1]), gray.diff(dim=0).abs()])
    return to_grid(change, *grid).numpy()
