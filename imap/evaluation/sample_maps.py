"""Every map of a finished sample that can be scored, beside its truth: own, baselines, and those of other tools."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from imap.errors import ImapError
from imap.evaluation.baselines import BASELINES, SHUFFLED, centre_prior, frame_difference, other_word, uniform
from imap.evaluation.cells import Grid, TruthOnGrid, WordTruth
from imap.evaluation.other_maps import OtherMaps, read_other_map
from imap.map_files import AGAIN, ARRAYS, META, TRUTH, VIDEO, read_array, read_meta
from imap.media.truth import Truth, read_truth
from imap.media.video_io import read_video
from imap.methods.registry import EFFECT
from imap.saliency import Maps
from imap.view.lengths import check_length

MOTION, CONCEPT = "motion", "concept"


class SampleMaps:
    """Maps of one sample by name and word. A file is opened when its map is first used.

    Attributes:
        folder: of the sample.
        grid: latent frames, rows and columns of its maps.
        words: truth of the sample's words that its truth has.
    """

    def __init__(self, folder: Path, others: Sequence[OtherMaps] = ()) -> None:
        """Raises ImapError for a damaged sample, or a truth that does not fit it. others: maps of other tools."""
        meta = read_meta(folder)
        if meta is None:
            raise ImapError(f"{folder} holds no finished sample: there is no readable {META}; {AGAIN}")
        self.folder, self.texts, self._motions = folder, tuple(meta["texts"]), frozenset(meta["motions"])
        self._others = {other.name: other for other in others}
        self._keys, self._arrays = tuple(meta["keys"]), {}
        shape = self._array(self._keys[0]).shape
        self.grid: Grid = (shape[1], shape[2], shape[3])
        self._truth = _truth(folder, Maps(self._arrays, self.texts, self._motions, facts=meta))
        on_grid = TruthOnGrid(self._truth, self.grid)
        truths = {text: on_grid.word(text, text in self._motions) for text in self.texts}
        self.words: Mapping[str, WordTruth] = {text: known for text, known in truths.items() if known is not None}

    def kind(self, text: str) -> str:
        """MOTION or CONCEPT."""
        return MOTION if text in self._motions else CONCEPT

    def of(self, name: str, text: str) -> np.ndarray | None:
        """A map of a word, float32 (latent frames, rows, columns); None if another tool has none of this word.

        Raises ImapError for values that are not finite, and for a file that cannot be read.

        Args:
            name: key of a map, baseline, SHUFFLED and a key, or name of another tool's maps.
            text: the word.
        """
        if name in self._others:
            return read_other_map(self._others[name], self.folder.name, text, self.grid, self._truth.masks.shape[1])
        if name in BASELINES:
            return self._free(name)
        key = name.removeprefix(SHUFFLED)
        if name.startswith(SHUFFLED):
            text = other_word(self.texts, self._motions, text) or text
        x = np.asarray(self._array(key)[self.texts.index(text)])
        if not np.isfinite(x).all():
            raise ImapError(f"the maps {key!r} have values that are NaN or infinite, which cannot be scored; {AGAIN}")
        return x

    @property
    def has_effect(self) -> bool:
        """Whether the effect of the words was read."""
        return EFFECT in self._keys

    def _array(self, key: str) -> np.ndarray:
        """Maps of all texts."""
        if key not in self._arrays:
            self._arrays[key] = read_array(self.folder / ARRAYS / f"{key}.npy", len(self.texts), on_use=True)
        return self._arrays[key]

    def _free(self, name: str) -> np.ndarray:
        """A baseline that needs no model."""
        if name == "frame_difference":
            return self._frame_difference
        return uniform(self.grid) if name == "uniform" else centre_prior(self.grid)

    @cached_property
    def _frame_difference(self) -> np.ndarray:
        return frame_difference(_video(self.folder, self._truth), self.grid)


def _truth(folder: Path, maps: Maps) -> Truth:
    truth = read_truth(folder / TRUTH)
    size, pixels = truth.masks.shape[1:], maps.facts.get("pixels")
    if pixels is not None and tuple(pixels) != size[-len(pixels) :]:
        raise ImapError(f"{folder / TRUTH} has masks of {size}, and the video is {tuple(pixels)}; {AGAIN}")
    check_length(maps, size[0])
    return truth


def _video(folder: Path, truth: Truth) -> np.ndarray:
    try:
        frames = read_video(folder / VIDEO)
    except ValueError as error:
        raise ImapError(f"{folder / VIDEO} cannot be decoded as a video ({error}); {AGAIN}") from None
    if frames.shape[:3] != truth.masks.shape[1:]:
        raise ImapError(f"{folder / VIDEO} is {frames.shape[:3]}, and its masks {truth.masks.shape[1:]}; {AGAIN}")
    return frames
