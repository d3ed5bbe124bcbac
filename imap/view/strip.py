"""A strip: latent frames across, the video and one row per text down, with the scale of the colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from einops import rearrange
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from imap.view.overlay import overlay
from imap.view.sample import KEY_NAMES, Shown
from imap.view.upsampling import middle_frame, upsample

matplotlib.rcParams["pdf.fonttype"] = 42  # text that can be searched and edited
COLUMN, NAMES, SCALE, TOP, BOTTOM = 1.1, 1.25, 0.75, 0.28, 0.08  # inches
MOST_COLUMNS = 13
LONG_SIDE = 240  # pixels of a cell
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
        _, height, width, _ = video.shape
        pictures.append(video)
        names.append(("video", ""))
        scales.append(None)
        for text, label, x, ends in rows:
            large = upsample(x, len(shown.frames), height, width, space)[middles]
            pictures.append(overlay(video, large, colormap, opacity))
            names.append((text, KEY_NAMES.get(label, label)))
            scales.append(ends)
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
    for row, ((text, name), ends) in enumerate(zip(names, scales, strict=True)):
        middle = row * (height + gap) + height / 2
        label = text if len(text) < 18 else text[:16] + "…"
        axes.text(-0.08 / inches, middle, label, ha="right", va="bottom" if name else "center", fontsize=9)
        axes.text(-0.08 / inches, middle, name, ha="right", va="top", fontsize=6.5, color="0.35")
        if name:
            top = 1 - (TOP + (row * (height + gap) + height) * inches) / size[1]
            place = (1 - (SCALE - 0.08) / size[0], top, 0.08 / size[0], height * inches / size[1])
            _scale(figure, place, ends, colormap)
    for mark in marks:
        x, y = mark.column * (width + gap) + mark.x * width, mark.row * (height + gap) + mark.y * height
        axes.plot(x - 0.5, y - 0.5, "o", color="red", markersize=4, markeredgecolor="white", markeredgewidth=0.6)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or PDF, the same bytes each time."""
    figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else {"Software": None})


def _cells(frames: np.ndarray) -> np.ndarray:
    """Frames at a size that a strip can show: small ones in whole multiples, large ones in every so many pixels."""
    longest = max(frames.shape[1:3])
    factor, every = max(1, LONG_SIDE // longest), max(1, longest // LONG_SIDE)
    return frames[:, ::every, ::every].repeat(factor, axis=1).repeat(factor, axis=2)


def _sheet(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Rows of cells (columns, h, w, 3) as one picture with white gaps; and the gap in pixels."""
    cells = np.stack(pictures)
    gap = max(1, round(GAP * cells.shape[3]))
    padded = np.pad(cells, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    return rearrange(padded, "r c h w x -> (r h) (c w) x")[:-gap, :-gap], gap


def _scale(
    figure: Figure, box: tuple[float, float, float, float], ends: tuple[float, float] | None, colormap: str
) -> None:
    """A bar of the colours, with the values at its ends."""
    axes = figure.add_axes(box)
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap=colormap, aspect="auto")
    axes.axis("off")
    labels = ("low", "high") if ends is None else tuple(f"{x:.3g}" for x in ends)
    for place, label, side in zip((0, 1), labels, ("bottom", "top"), strict=True):
        axes.text(1.4, place, label, transform=axes.transAxes, va=side, fontsize=6.5)
