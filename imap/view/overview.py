"""One moving picture of a sample: its video, and beside it every word's map over the video, with names and the time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from imap.methods.registry import labels
from imap.view.fonts import drawable, families_for
from imap.view.look import Look
from imap.view.moving import over
from imap.view.outline import LEGEND, outlined
from imap.view.overlay import coloured
from imap.view.sample import Shown
from imap.view.wrapping import wrapped_caption

Word = tuple[str, str, np.ndarray]  # text, key, map (latent frames, h, w) in [0, 1]
PANEL, WIDEST = 200, 1280  # pixels of a panel's width, and of the picture's
MARGIN, NAME, CAPTION, FOOT = 12, 24, 20, 26  # pixels: around, above a panel, of a line of the caption, below
TRUTH = 18  # pixels of the line that explains outlines
DPI = 100
BAR = (110, 10)  # pixels of the scale


@dataclass(frozen=True)
class _Grid:
    """Where panels lie, in pixels."""

    columns: int
    width: int  # of a panel
    height: int
    top: int  # of the first row of panels, its names included
    size: tuple[int, int]  # (height, width) of the whole picture, both even

    def corner(self, index: int) -> tuple[int, int]:
        """(y, x) of the upper left corner of a panel."""
        row, column = divmod(index, self.columns)
        y = self.top + row * (self.height + NAME + MARGIN) + NAME
        return y, MARGIN + column * (self.width + MARGIN)


def overview(shown: Shown, words: Sequence[Word], look: Look, panel: int = PANEL) -> Iterator[np.ndarray]:
    """Frames, uint8 (height, width, 3) with even sides: the video, then each word's map over it.

    Args:
        shown: the sample.
        words: in the order of the panels.
        look: how maps are drawn.
        panel: pixels of width of each picture.
    """
    names = [("video", False)] if shown.has_video else []
    names += [(text, text in shown.maps.motions) for text, _, _ in words]
    known = any(text in shown.truth for text, _, _ in words)
    foot = FOOT + (TRUTH if known else 0)
    grid, caption = _grid(len(names), shown.frames.shape[1:3], panel, drawable(shown.caption), foot)
    with matplotlib.rc_context({"font.family": families_for([shown.caption, *(text for text, _ in names)])}):
        still = _still(grid, caption, names, _methods(shown, words), look.colormap, known)
    frames = [_sized(frame, grid) for frame in shown.frames]
    panels = [iter(frames)] if shown.has_video else []
    panels += [outlined(over(frames, x, look, shown.has_video), shown.truth.get(text)) for text, _, x in words]
    for i, pictures in enumerate(zip(*panels, strict=True)):
        frame = still.copy()
        for index, picture in enumerate(pictures):
            y, x = grid.corner(index)
            frame[y : y + grid.height, x : x + grid.width] = picture
        time = _time(f"{shown.times[i]:.2f} s")
        frame[-FOOT + 4 : -FOOT + 4 + time.shape[0], MARGIN : MARGIN + time.shape[1]] = time
        yield frame


def _grid(panels: int, size: tuple[int, int], width: int, caption: str, foot: int) -> tuple[_Grid, str]:
    """Where the panels lie below a caption, and the caption in lines."""
    most = max(1, (WIDEST - MARGIN) // (width + MARGIN))
    rows = -(-panels // most)
    columns = -(-panels // rows)
    height = round(width * size[0] / size[1])
    wide = MARGIN + columns * (width + MARGIN)
    caption = wrapped_caption(caption, wide / DPI)
    top = MARGIN // 2 + (1 + caption.count("\n")) * CAPTION
    tall = top + rows * (height + NAME + MARGIN) + foot
    grid = _Grid(columns, width, height, top, (tall + tall % 2, wide + wide % 2))
    return grid, caption


def _methods(shown: Shown, words: Sequence[Word]) -> str:
    """Names of the maps that are shown, each once."""
    names = {**labels(), **shown.maps.names}
    return ", ".join(dict.fromkeys(names.get(key, key) for _, key, _ in words))


def _still(
    grid: _Grid, caption: str, names: Sequence[tuple[str, bool]], methods: str, colormap: str, known: bool
) -> np.ndarray:
    """What is the same in every frame: caption, names of the panels, the maps' names, and the scale.

    known: explain the outlines of the truth.
    """
    height, width = grid.size
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, size: float, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, text, fontsize=size, va="baseline", parse_math=False, **style)

    for line, text in enumerate(caption.split("\n")):
        write(MARGIN, grid.top - CAPTION * (caption.count("\n") - line) - 4, text, 10, color="0.1")
    for index, (text, motion) in enumerate(names):
        y, x = grid.corner(index)
        write(x, y - 6, drawable(text), 9, color="0.1", style="italic" if motion else "normal")
    if known:
        write(MARGIN, height - FOOT - 4, LEGEND, 8, color="0.35")
    bar = width - MARGIN - BAR[0] - 34
    write(bar - 8, height - 8, f"{methods}:  low", 8, color="0.35", ha="right")
    write(bar + BAR[0] + 8, height - 8, "high", 8, color="0.35")
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    picture[height - 17 : height - 17 + BAR[1], bar : bar + BAR[0]] = coloured(
        np.linspace(0, 1, BAR[0])[None], colormap
    )
    return picture


@cache
def _time(text: str) -> np.ndarray:
    figure = Figure(figsize=(70 / DPI, 18 / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    figure.text(0, 0.28, text, fontsize=9, color="0.1")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _sized(picture: np.ndarray, grid: _Grid) -> np.ndarray:
    """A frame at the size of a panel, before a map is laid over it: colours between two are other values."""
    if picture.shape[:2] == (grid.height, grid.width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((grid.width, grid.height), Image.Resampling.BILINEAR))
