"""Truth of a word in the cells of the model's grid, and in the pixels of the video.

A cell is true if the word's things cover more than half of its known pixels, over the video frames of its latent frame.
A cell is known if at least half of its pixels are not void. A latent frame moves if more than half of its frames do.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from imap.evaluation.bits import packed
from imap.evaluation.regions import Outline
from imap.media.truth import Truth
from imap.view.upsampling import latent_frame

HALF = 0.5
Grid = tuple[int, int, int]  # latent frames, rows, columns


def latents_of(frames: int, latent_frames: int) -> np.ndarray:
    """The latent frame of each video frame, integers (frames,), by the rule of the pictures."""
    return np.array([latent_frame(frame, latent_frames, frames) for frame in range(frames)])


def to_cells(x: np.ndarray, grid: Grid) -> np.ndarray:
    """Means of a video (frames, height, width) over the cells of a grid, float32; 0 in a latent frame without frames.

    Where cells are no whole number of pixels, a pixel belongs to the cell that its centre is in.
    """
    latents = latents_of(len(x), grid[0])
    cells = np.zeros(grid, np.float32)
    for latent in np.unique(latents):
        cells[latent] = over_cells(x[latents == latent].mean(axis=0, dtype=np.float32), grid)
    return cells


def over_cells(frame: np.ndarray, grid: Grid) -> np.ndarray:
    """Means of a frame, float32 (height, width), over the cells of a grid, (rows, columns)."""
    return np.asarray(Image.fromarray(frame).resize((grid[2], grid[1]), Image.Resampling.BOX))


def to_latent_frames(flags: np.ndarray, latent_frames: int) -> np.ndarray:
    """Booleans (frames,) to (latent frames,): whether more than half of the frames of each are set."""
    latents = latents_of(len(flags), latent_frames)
    return np.bincount(latents[flags], minlength=latent_frames) * 2 > np.bincount(latents, minlength=latent_frames)


@dataclass(frozen=True)
class WordTruth:
    """Where, and for a motion word when, a word is true.

    Attributes:
        own: booleans (latent frames, rows, columns), the cells of its things; of a motion word, while they move.
        known: booleans of the same shape, the cells that count.
        latents: integers (frames,), the latent frame of each video frame.
        masks: booleans (frames, height, width), the pixels of its things, of a motion word while they move; not void.
        outline: of the masks.
        void: booleans (frames, height, width), pixels that do not count; None for none.
        moving: of a motion word, booleans (latent frames,), whether a thing of it moves.
        still: of a motion word, the cells of its things while they do not move.
        resting: of a motion word, the cells of things that have the noun of a mover and do not move, while it moves.
        absent: whether its things are in no frame, as of an expression that fits no object.
    """

    own: np.ndarray
    known: np.ndarray
    latents: np.ndarray
    masks: np.ndarray
    outline: Outline
    void: np.ndarray | None = None
    moving: np.ndarray | None = None
    still: np.ndarray | None = None
    resting: np.ndarray | None = None
    absent: bool = False

    @cached_property
    def bits(self) -> np.ndarray:
        """`masks`, packed into bits."""
        return packed(self.masks)

    @cached_property
    def not_void(self) -> np.ndarray | None:
        """The pixels that count, packed into bits; None for all."""
        return None if self.void is None else packed(~self.void)


@dataclass(frozen=True)
class TruthOnGrid:
    """The truth of a video, put on a grid word by word.

    Attributes:
        truth: of the video.
        grid: latent frames, rows, columns of the maps.
    """

    truth: Truth
    grid: Grid

    def word(self, text: str, motion: bool) -> WordTruth | None:
        """Truth of a word; None for a word that the truth does not have.

        Args:
            text: the word, in any case of letters.
            motion: whether it is a motion word. Only matters for a word that names a thing and is also what a thing
                does: of a motion word the mover is true, of another word the thing of that name.
        """
        named, acting = (
            np.array([word.casefold() == text.casefold() for word in words], bool)
            for words in (self.truth.nouns, self.truth.verbs)
        )
        if acting.any() and (motion or not named.any()):
            return self._motion(acting)
        if not named.any():
            return None
        masks = self._without_void(_any(self.truth.masks[named]))
        return self._word(masks, self._cells(masks), absent=not masks.any())

    def _motion(self, acting: np.ndarray) -> WordTruth:
        moving, nouns = self.truth.moving, [noun.casefold() for noun in self.truth.nouns]
        movers = {nouns[thing] for thing in np.flatnonzero(acting & moving.any(axis=1))}
        alike = np.array([noun in movers for noun in nouns], bool)
        place, moves = self._things, np.stack([to_latent_frames(flags, self.grid[0]) for flags in moving])
        moves_here, own_moves = moves[..., None, None], _any(moves[acting])
        own = _any((place & moves_here)[acting])
        return self._word(
            self._without_void(_any(self.truth.masks[acting] & moving[acting][..., None, None])),
            own,
            moving=own_moves,
            still=_any((place & ~moves_here)[acting]) & ~own,
            resting=_any((place & ~moves_here)[alike]) & ~own & own_moves[:, None, None],
            absent=not self.truth.masks[acting].any(),
        )

    def _word(self, masks: np.ndarray, own: np.ndarray, **motion: Any) -> WordTruth:
        known = self._known_share >= HALF
        return WordTruth(
            own, known, latents_of(len(masks), self.grid[0]), masks, Outline.of(masks), self.truth.void, **motion
        )

    @cached_property
    def _things(self) -> np.ndarray:
        """Cells of every thing, (things, latent frames, rows, columns)."""
        return np.stack([self._cells(self._without_void(mask)) for mask in self.truth.masks])

    @cached_property
    def _known_share(self) -> np.ndarray:
        """Share of every cell that is not void."""
        frames, height, width = self.truth.masks.shape[1:]
        void = np.zeros((frames, height, width), bool) if self.truth.void is None else self.truth.void
        return to_cells(~void, self.grid)

    def _cells(self, visible: np.ndarray) -> np.ndarray:
        """Cells of a mask, of whose known pixels it covers more than half."""
        return (to_cells(visible, self.grid) > HALF * self._known_share) & (self._known_share >= HALF)

    def _without_void(self, masks: np.ndarray) -> np.ndarray:
        return masks if self.truth.void is None else masks & ~self.truth.void


def _any(things: np.ndarray) -> np.ndarray:
    """Where at least one of some things is."""
    return np.asarray(things.any(axis=0))
