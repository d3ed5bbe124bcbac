"""Maps of another tool, as a folder of arrays: FOLDER/<sample>/<word>.npy."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imap.errors import ImapError, brief
from imap.evaluation.baselines import BASELINES, SHUFFLED
from imap.evaluation.cells import Grid, over_cells, to_cells
from imap.methods.registry import RANDOM_HEADS, labels

_BASELINE_NAMES = {*BASELINES, *(name.replace("_", " ") for name in BASELINES), "random heads"}
SLASHES = str.maketrans("/\\", "__")  # a word in a file's name


@dataclass(frozen=True)
class OtherMaps:
    """Maps of another tool.

    Attributes:
        name: of their row in tables.
        folder: that has a folder per sample.
    """

    name: str
    folder: Path

    @classmethod
    def of(cls, text: str) -> "OtherMaps":
        """From NAME=FOLDER. Raises ImapError for another text, a folder that is not there, or the name of a map."""
        name, _, folder = (part.strip() for part in text.partition("="))
        if not name or not folder:
            raise ImapError(f"{brief(text)} is not NAME=FOLDER; name the maps, such as daam=outputs/daam")
        if name in _BASELINE_NAMES or name.startswith((SHUFFLED, f"{RANDOM_HEADS}_")):
            raise ImapError(f"{name!r} is the name of a baseline; choose another name for the maps in {folder}")
        if name.casefold() in {x.casefold() for pair in labels().items() for x in pair}:
            raise ImapError(
                f"{name!r} is the name of a map of imap, and tables would mix the two; choose another name for the "
                f"maps in {folder}, such as 'their {name}'"
            )
        if not Path(folder).is_dir():
            raise ImapError(f"there is no folder {folder} of the maps {name!r}; expected {folder}/<sample>/<word>.npy")
        return cls(name, Path(folder))

    def file(self, sample: str, word: str) -> Path:
        """File of a word's map; slashes of the word are underscores."""
        return self.folder / sample / f"{word.translate(SLASHES)}.npy"

    def files(self, sample: str) -> list[Path]:
        """All files of a sample."""
        return sorted((self.folder / sample).glob("*.npy"))


def checked(others: Iterable[OtherMaps], keys: Iterable[str], samples: Sequence[str]) -> tuple[OtherMaps, ...]:
    """The same maps. Raises ImapError for a name that comes twice or that a map has, or a folder without any sample."""
    others, keys = tuple(others), set(keys)
    names = [other.name for other in others]
    for other in others:
        if names.count(other.name) > 1 or other.name in keys:
            raise ImapError(f"the name {other.name!r} of other maps is taken; choose another one")
        if not any(other.files(sample) for sample in samples):
            raise ImapError(
                f"{other.folder} has maps of no sample; expected {other.folder / samples[0]}/<word>.npy and the like"
            )
    return others


def read_other_map(other: OtherMaps, sample: str, word: str, grid: Grid, frames: int) -> np.ndarray | None:
    """Map of a word on the grid of imap's maps, float32 (latent frames, rows, columns); None without a file.

    It may have a row per latent frame or per video frame, and any height and width: it is averaged over the cells.

    Args:
        other: the maps.
        sample: name of the sample's folder.
        word: the word.
        grid: latent frames, rows and columns.
        frames: of the video.

    Raises:
        ImapError: for a file that is no such array, or has values that are not finite.
    """
    path = other.file(sample, word)
    if not os.path.isfile(path):  # False for a name that is too long, too
        return None
    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImapError(f"{path} cannot be read as an array: {error}") from None
    if not isinstance(x, np.ndarray):
        raise ImapError(f"{path} is an archive of arrays; expected one array, as numpy.save writes it")
    kind = x.dtype.kind
    if kind not in "fiub" or np.ndim(x) != 3 or len(x) not in (grid[0], frames) or not x.size:
        raise ImapError(
            f"{path} is {x.dtype} {np.shape(x)}; expected numbers (frames, height, width), with {grid[0]} latent "
            f"frames or {frames} video frames"
        )
    if not np.isfinite(x).all():
        raise ImapError(f"{path} has values that are NaN or infinite, which cannot be scored")
    x = _single(x, path)
    if len(x) != grid[0]:
        return to_cells(x, grid)
    return x if x.shape == grid else np.stack([over_cells(frame, grid) for frame in x])


def _single(x: np.ndarray, path: Path) -> np.ndarray:
    """Finite values in float32. Raises ImapError where it cannot hold them, or makes them all alike."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        single = x.astype(np.float32)
        spread = single.max() - single.min()
    if not np.isfinite(spread) or (spread == 0 and x.max() != x.min()):
        raise ImapError(
            f"{path} has values from {x.min():.3g} to {x.max():.3g}, which are equal in float32; scale them to 0 to 1"
        )
    return single
