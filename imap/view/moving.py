"""The videos of one map, frame by frame: over its clip, and beside it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

import numpy as np
from PIL import Image

from imap.view.look import Look
from imap.view.overlay import GAP, Veil, enlarged, side_by_side, under, veil
from imap.view.upsampling import enlarge, latent_frame

PART = 474  # pixels: widest of three side by side, 1430 in all


def over(
    frames: np.ndarray | Sequence[np.ndarray],
    x: np.ndarray,
    look: Look,
    has_video: bool = True,
    enlarge_small: bool = True,
) -> Iterator[np.ndarray]:
    """Each frame, uint8 (h, w, 3), under a map (latent frames, h, w) in [0, 1]; without a video the map's colours."""
    for frame, laid in zip(frames, _veils(frames, x, look), strict=True):
        picture = under(frame, laid, look.opacity) if has_video else laid.colours
        yield enlarged(picture) if enlarge_small else picture


def beside(frames: np.ndarray | Sequence[np.ndarray], x: np.ndarray, look: Look) -> Iterator[np.ndarray]:
    """Each frame, the same under the map, and the map alone."""
    for frame, laid in zip(frames, _veils(frames, x, look), strict=True):
        parts = (frame, under(frame, laid, look.opacity), laid.colours)
        yield side_by_side([enlarged(part, widest=PART) for part in parts], GAP)


def _veils(frames: np.ndarray | Sequence[np.ndarray], x: np.ndarray, look: Look) -> Iterator[Veil]:
    """The coloured map over each frame, computed once per latent frame."""
    for latent, group in groupby(range(len(frames)), lambda frame: latent_frame(frame, len(x), len(frames))):
        height, width = frames[0].shape[:2]
        laid = veil(enlarge(x[latent], height, width, look.space), look.colormap, look.opacity)
        for _ in group:
            yield laid


def narrowed(frames: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | Sequence[np.ndarray]:
    """Frames small enough that three fit side by side, with even sides."""
    height, width = frames[0].shape[:2]
    if width <= PART:
        return frames
    size = (PART, max(2, round(height * PART / width / 2) * 2))
    return [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)) for frame in frames]


def durations_of(times: Sequence[float]) -> list[int]:
    """Milliseconds of each frame of a gif, which counts hundredths of a second and shows no frame for less than two."""
    ends = [0]
    for time in times[1:]:
        ends.append(max(ends[-1] + 2, round(100 * (time - times[0]))))
    return [10 * (end - start) for start, end in pairwise(ends)]


def write_gif(frames: Iterable[np.ndarray], path: str, times: Sequence[float]) -> None:
    """An endless gif of uint8 frames. times: seconds at which they are shown, and at which the last one ends."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=durations_of(times), loop=0)
