"""A map over its clip, frame by frame, and moving pictures of frames."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from PIL import Image

from imap.view.look import Look
from imap.view.overlay import Veil, coloured, under, veil
from imap.view.upsampling import enlarge, latent_frame

KMEANS = 3  # rounds
COLOURS = 256  # of a gif or an animated PNG
OF_MAP, GREYS = 48, 18  # of them: those of the colormap, so that its scale is true, and of texts
THINNED = 4  # every so many pixels choose its colours


def over(
    frames: np.ndarray | Sequence[np.ndarray],
    x: np.ndarray,
    look: Look,
    has_video: bool = True,
) -> Iterator[np.ndarray]:
    """Each frame, uint8 (h, w, 3), under a map (latent frames, h, w) in [0, 1]; without a video the map's colours."""
    for frame, laid in zip(frames, _veils(frames, x, look), strict=True):
        yield under(frame, laid, look.opacity) if has_video else laid.colours


def _veils(frames: np.ndarray | Sequence[np.ndarray], x: np.ndarray, look: Look) -> Iterator[Veil]:
    """The coloured map over each frame, computed once per latent frame."""
    for latent, group in groupby(range(len(frames)), lambda frame: latent_frame(frame, len(x), len(frames))):
        height, width = frames[0].shape[:2]
        laid = veil(enlarge(x[latent], height, width, look.space), look.colormap, look.opacity)
        for _ in group:
            yield laid


def _durations(times: Sequence[float]) -> list[int]:
    """Milliseconds of each frame of a gif, which counts hundredths of a second and shows no frame for less than two."""
    ends = [0]
    for time in times[1:]:
        ends.append(max(ends[-1] + 2, round(100 * (time - times[0]))))
    return [10 * (end - start) for start, end in pairwise(ends)]


def gif(frames: Sequence[np.ndarray], times: Sequence[float], colormap: str) -> bytes:
    """An endless gif of uint8 frames.

    Args:
        frames: of one size.
        times: seconds at which they are shown, and at which the last one ends.
        colormap: of the maps in them.
    """
    return _animated(frames, times, colormap, "gif")


def animated_png(frames: Sequence[np.ndarray], times: Sequence[float], colormap: str) -> bytes:
    """An endless PNG of frames, as `gif`. Viewers that cannot move it show its first frame."""
    return _animated(frames, times, colormap, "png", optimize=True)


def _animated(frames: Sequence[np.ndarray], times: Sequence[float], colormap: str, kind: str, **options: Any) -> bytes:
    """One palette for all: still parts do not flicker, and files are smaller."""
    thin = Image.fromarray(np.concatenate([frame[::THINNED, ::THINNED] for frame in frames]))
    fixed = [coloured(np.linspace(0, 1, OF_MAP), colormap), coloured(np.linspace(0, 1, GREYS), "gray")]
    # refined by k-means, these colours are nearer to the frames than the default's, and files are smaller
    found = thin.quantize(COLOURS - OF_MAP - GREYS, Image.Quantize.MAXCOVERAGE, kmeans=KMEANS).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*np.concatenate(fixed).ravel().tolist(), *found[: 3 * (COLOURS - OF_MAP - GREYS)]])
    # without dithering, which makes files several times as large
    none = Image.Dither.NONE
    first, *rest = [Image.fromarray(frame).quantize(palette=palette, dither=none) for frame in frames]
    file = BytesIO()
    first.save(file, kind, save_all=True, append_images=rest, duration=_durations(times), loop=0, **options)
    return file.getvalue()
