"""Ground truth of a clip's maps, word by word, in the cells of the model's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from imap.evaluation import scores
from imap.media.truth import read_truth
from imap.shapes.world.drawing import Drawn, to_grid, to_latent_frames
from imap.shapes.world.scenes import Scene

# Share of a cell that an object fills, and share of a latent frame's frames in which it moves. A share above IN is
# true, a share below OUT is false. A share between them does not count.
IN, OUT = 0.5, 0.2


@dataclass(frozen=True)
class NounTruth:
    """Truth of a noun.

    Attributes:
        word: The noun.
        own: Booleans (frames, height, width), the cells of its objects.
        none: Cells without them.
        other: Cells of objects with other nouns.
    """

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
    """Truth of a verb that happens.

    Attributes:
        word: The verb.
        own: Booleans (frames, height, width), the cells of its object.
        none: Cells without it.
        other: Cells of the other object.
        moving: Booleans (frames,), the latent frames in which the verb happens.
        still: Booleans (frames,), the latent frames in which it does not happen.
    """

    word: str
    own: np.ndarray
    none: np.ndarray
    other: np.ndarray
    moving: np.ndarray
    still: np.ndarray

    @property
    def event(self) -> np.ndarray:
        """Cells of the object in moving frames."""
        return self.own & self.moving[:, None, None]

    def ap(self, x: np.ndarray) -> float:
        """Spatio-temporal average precision of a map (frames, height, width)."""
        counted = (self.own | self.none) & (self.moving | self.still)[:, None, None]
        return scores.average_precision(x[counted], self.event[counted])

    def scores(self, x: np.ndarray) -> dict[str, float]:
        """Scores of a map (frames, height, width). own_other compares both objects in moving frames."""
        counted, moving = self.moving | self.still, self.moving[:, None, None]
        return {
            "ap": self.ap(x),
            "in_object": scores.in_object_auc(x[counted], self.own[counted], self.moving[counted]),
            "correlation": scores.temporal_correlation(x[counted], self.moving[counted]),
            "own_other": scores.auc(x, self.event & ~self.other, self.other & ~self.own & moving),
        }


@dataclass(frozen=True)
class Things:
    """Objects of a clip.

    Attributes:
        nouns: Noun of each object.
        verbs: Verb of each object.
        masks: Booleans (things, f, height, width), as in `imap.shapes.world.drawing.Drawn`.
        moving: Booleans (things, f).
    """

    nouns: Sequence[str]
    verbs: Sequence[str]
    masks: torch.Tensor
    moving: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> "Things":
        """Read a file truth-<clip>.npz. Raises ImapError as `imap.media.truth.read_truth` does."""
        truth = read_truth(path)
        return cls(truth.nouns, truth.verbs, torch.from_numpy(truth.masks), torch.from_numpy(truth.moving))

    def truths(self, grid: tuple[int, int]) -> list[NounTruth | VerbTruth]:
        """Truth of each noun, and of each verb that happens, on a grid of (height, width) cells."""
        masks, moving = to_grid(self.masks, *grid).numpy(), to_latent_frames(self.moving).numpy()
        words: list[NounTruth | VerbTruth] = []
        for noun in dict.fromkeys(self.nouns):
            is_noun = np.array(self.nouns) == noun
            cover = masks[is_noun].max(axis=0)
            other = masks[~is_noun].max(axis=0) > IN if not is_noun.all() else np.zeros(cover.shape, bool)
            words.append(NounTruth(noun, cover > IN, cover < OUT, other))
        for k, verb in enumerate(self.verbs):
            if moving[k].any():
                other = np.delete(masks, k, axis=0).max(axis=0) > IN
                words.append(VerbTruth(verb, masks[k] > IN, masks[k] < OUT, other, moving[k] > IN, moving[k] < OUT))
        return words


def truths(scene: Scene, drawn: Drawn, index: int, grid: tuple[int, int]) -> list[NounTruth | VerbTruth]:
    """Truth of each word of clip `index` of a drawn batch, on a grid of (height, width) cells."""
    nouns, verbs = [thing.noun for thing in scene.things], [thing.verb for thing in scene.things]
    return Things(nouns, verbs, drawn.masks[index], drawn.moving[index]).truths(grid)


def frame_difference(frames: torch.Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Change from frame to frame in the cells of the grid: a motion detector that reads no word.

    Args:
        frames: uint8 (f, h, w, 3).
        grid: Rows and columns of cells.

    Returns:
        Mean change of each cell, (latent frames, height, width).
    """
    gray = frames.float().mean(dim=-1)
    change = torch.cat([torch.zeros_like(gray[:1]), gray.diff(dim=0).abs()])
    return to_grid(change, *grid).numpy()
