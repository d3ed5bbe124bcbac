"""A strip: latent frames across, the video and one row per text down, with the scale of the colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import matplotlib
import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from imap.view.overlay import grey, overlay
from imap.view.sample import KEY_NAMES, Shown
from imap.view.upsampling import enlarge, middle_frame

EDITABLE = {"pdf.fonttype": 42}  # text that can be searched and edited
COLUMN, NAMES, SCALE, TOP, BOTTOM = 1.1, 1.25, 0.75, 0.28, 0.08  # inches
MOST_COLUMNS = 13
LONG_SIDE = 240  # pixels of a cell
SMALLEST = 6  # points of a label, or a little less
GAP = 0.03  # between cells, of their width

Row = tuple[str, str, np.ndarray, tuple[float, float] | None]


def columns_of(latent_frames: int, most: int = MOST_COLUMNS) -> list[int]:
    """Latent frames to show: all, or evenly spread ones with the first and the last."""
    return sorted(set(np.linspace(0, latent_frames - 1, min(latent_frames, most)).round().astype(int).tolist()))


@dataclass(frozen=True)
class Mark:
    """A dot: row (0 is the first block's video) and column of the strip, and x, y in fractions of the frame."""

    row: int
    column: int
    x: float
    y: float


def strip(shown: Shown, rows: Sequence[Row], colormap: str, opacity: float, space: str) -> Figure:
    """A figure of rows (text, label, map (latent frames, h, w) in [0, 1], values that 0 and 1 stand for).

    label: a key of the maps, or what to call the row.
    """
    return strips([(shown, rows)], colormap, opacity, space)


def strips(
    blocks: Sequence[tuple[Shown, Sequence[Row]]],
    colormap: str,
    opacity: float,
    space: str,
    marks: Sequence[Mark] = (),
) -> Figure:
    """Strips of several videos below each other, each as in `strip`. Raises ValueError unless they are of one size."""
    first = blocks[0][0]
    if len({shown.frames.shape for shown, _ in blocks}) > 1:
        raise ValueError(f"videos of one size are needed, not {[shown.frames.shape for shown, _ in blocks]}")
    latent_frames = blocks[0][1][0][2].shape[0]
    columns = columns_of(latent_frames)
    middles = [middle_frame(column, latent_frames, len(first.frames)) for column in columns]
    pictures, names, scales = [], [], []
    for shown, rows in blocks:
        video = _cells(shown.frames[middles])
        bar = _bar(video, colormap, opacity)
        _, height, width, _ = video.shape
        pictures.append(video)
        names.append(("video", ""))
        scales.append(None)
        for text, label, x, ends in rows:
            large = np.stack([enlarge(x[column], height, width, space) for column in columns])
            pictures.append(overlay(video, large, colormap, opacity))
            names.append((text, KEY_NAMES.get(label, label)))
            scales.append((bar, ends))
    sheet, gap = _sheet(pictures)
    inches = COLUMN / width
    size = (NAMES + sheet.shape[1] * inches + SCALE, TOP + sheet.shape[0] * inches + BOTTOM)
    figure = Figure(figsize=size, dpi=min(width / COLUMN, 220))
    FigureCanvasAgg(figure)
    box = (NAMES / size[0], BOTTOM / size[1], 1 - (NAMES + SCALE) / size[0], 1 - (TOP + BOTTOM) / size[1])
    axes = figure.add_axes(box)
    axes.imshow(sheet, interpolation="none", aspect="auto")
    axes.axis("off")
    for column, frame in enumerate(middles):
        middle = column * (width + gap) + width / 2
        axes.text(middle, -0.06 / inches, f"{frame / first.fps:.1f} s", ha="center", fontsize=7, color="0.35")
    for row, ((text, name), scale) in enumerate(zip(names, scales, strict=True)):
        place = (-0.08 / inches, row * (height + gap) + height / 2)
        _label(axes, place, text, "bottom" if name else "center", 9, "black")
        if name:
            _label(axes, place, name, "top", 6.5, "0.35")
        if scale:
            top = 1 - (TOP + (row * (height + gap) + height) * inches) / size[1]
            _scale(figure, (1 - (SCALE - 0.08) / size[0], top, 0.08 / size[0], height * inches / size[1]), *scale)
    for mark in marks:
        x, y = mark.column * (width + gap) + mark.x * width, mark.row * (height + gap) + mark.y * height
        axes.plot(x - 0.5, y - 0.5, "o", color="red", markersize=4, markeredgecolor="white", markeredgewidth=0.6)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or PDF, the same bytes each time."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    with matplotlib.rc_context(EDITABLE):
        figure.savefig(path, metadata=metadata)


def _cells(frames: np.ndarray) -> np.ndarray:
    """Frames at a size that a strip can show: small ones in whole multiples, large ones as means of square blocks."""
    longest = max(frames.shape[1:3])
    factor, block = max(1, LONG_SIDE // longest), max(1, longest // LONG_SIDE)
    small = np.stack([np.asarray(Image.fromarray(frame).reduce(block)) for frame in frames])
    return small.repeat(factor, axis=1).repeat(factor, axis=2)


def _sheet(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Rows of cells (columns, h, w, 3) as one picture with white gaps; and the gap in pixels."""
    cells = np.stack(pictures)
    gap = max(1, round(GAP * cells.shape[3]))
    padded = np.pad(cells, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    return rearrange(padded, "r c h w x -> (r h) (c w) x")[:-gap, :-gap], gap


def _label(axes: Axes, place: tuple[float, float], text: str, va: str, size: float, color: str) -> None:
    """A user's text left of a row, as it stands: in up to three lines and as small as SMALLEST; longer ones are cut."""
    style = {"ha": "right", "va": va, "fontsize": size, "color": color, "linespacing": 1.1}
    label = axes.text(*place, text, parse_math=False, **style)
    for lines in range(1, 4):
        label.set_text(wrapped(text, lines))
        fit = _fit(label)
        if size * fit >= SMALLEST:
            break
    else:  # words that are too long, or too many of them
        label.set_text(wrapped(text, 3, between_words=False))
        most = int(len(text) * _fit(label) * size / SMALLEST)
        cut = text if most >= len(text) else text[: max(1, most - 1)] + "…"
        label.set_text(wrapped(cut, 3, between_words=False))
        fit = _fit(label)
    label.set_fontsize(size * min(1, fit))


def wrapped(text: str, lines: int, between_words: bool = True) -> str:
    """A text in at most so many lines of about the same length; between_words: break it nowhere else."""
    for width in range(max(1, len(text) // lines), len(text) + 1):
        found = wrap(text, width, break_long_words=not between_words, break_on_hyphens=False)
        if len(found) <= lines:
            return "\n".join(found)
    return text


def _fit(label: Text) -> float:
    """What a label's size is to be multiplied with to fill the room left of the rows."""
    return (NAMES - 0.12) * label.get_figure().dpi / max(1, label.get_window_extent().width)


def _bar(video: np.ndarray, colormap: str, opacity: float) -> np.ndarray:
    """The colours of 1 down to 0, uint8 (256, 1, 3), as they lie over a video of this mean grey."""
    flat = np.full((1, 256, 1, 3), grey(video).mean().round(), np.uint8)
    return overlay(flat, np.linspace(1, 0, 256)[None, :, None], colormap, opacity)[0]


def _scale(
    figure: Figure, box: tuple[float, float, float, float], bar: np.ndarray, ends: tuple[float, float] | None
) -> None:
    """A bar of the colours, with the values at its ends."""
    axes = figure.add_axes(box)
    axes.imshow(bar, aspect="auto")
    axes.axis("off")
    labels = ("low", "high") if ends is None else tuple(f"{x:.3g}" for x in ends)
    for place, label, side in zip((0, 1), labels, ("bottom", "top"), strict=True):
        axes.text(1.4, place, label, transform=axes.transAxes, va=side, fontsize=6.5)
