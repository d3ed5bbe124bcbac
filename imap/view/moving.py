"""A map over its clip, frame by frame, and moving pictures of frames."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby, pairwise

import numpy as np
from PIL import Image

from imap.view.look import Look
from imap.view.overlay import Veil, under, veil
from imap.view.upsampling import enlarge, latent_frame

COLOURS = 128  # of a gif
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


def gif(frames: Sequence[np.ndarray], times: Sequence[float]) -> bytes:
    """An endless gif of uint8 frames. One palette for all: still parts do not flicker, and files are smaller.

    times: seconds at which they are shown, and at which the last one ends.
    """
    thin = Image.fromarray(np.concatenate([frame[::THINNED, ::THINNED] for frame in frames]))
    colours = thin.quantize(COLOURS - 1).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours[: 3 * (COLOURS - 1)], 255, 255, 255])  # white, of the gap between pictures
    # without dithering, which makes files several times as large
    none = Image.Dither.NONE
    first, *rest = [Image.fromarray(frame).quantize(palette=palette, dither=none) for frame in frames]
    file = BytesIO()
    first.save(file, "gif", save_all=True, append_images=rest, duration=_durations(times), loop=0)
    return file.getvalue()
