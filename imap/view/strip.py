"""A strip: latent frames across, the video and one row per text down, with the scale of the colours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from imap.methods.registry import labels
from imap.view.fonts import drawable, families_for
from imap.view.look import MOST_COLUMNS
from imap.view.outline import LEGEND, draw_outlines
from imap.view.overlay import coloured, overlay
from imap.view.sample import Shown, time_labels
from imap.view.strip_text import SMALLEST, draw_label, draw_scale
from imap.view.upsampling import enlarge, middle_frame
from imap.view.wrapping import wrapped, wrapped_caption, wrapped_notes

EDITABLE: dict[Any, Any] = {"pdf.fonttype": 42}  # text that can be searched and edited
COLUMN, NAMES, SCALE, CAPTION, TOP, BOTTOM, NOTE = 1.1, 1.25, 0.75, 0.16, 0.28, 0.08, 0.115  # inches
LONG_SIDE = 240  # pixels of a cell
GAP = 0.03  # between cells, of their width

Row = tuple[str, str, np.ndarray, tuple[float, float] | None]


def columns_of(latent_frames: int, most: int = MOST_COLUMNS) -> list[int]:
    """Latent frames to show: all, or evenly spread ones with the first and the last."""
    return np.floor(np.linspace(0, latent_frames - 1, min(latent_frames, most)) + 0.5).astype(int).tolist()


@dataclass(frozen=True)
class Mark:
    """A dot: row (0 is the first block's video) and column of the strip, and x, y in fractions of the frame."""

    row: int
    column: int
    x: float
    y: float


def strip(
    shown: Shown, rows: Sequence[Row], colormap: str, opacity: float, space: str, most: int = MOST_COLUMNS
) -> Figure:
    """A figure of one sample: the video above, one row per text, frames across.

    Args:
        shown: the sample.
        rows: (text, label, map (latent frames, h, w) in [0, 1], values that 0 and 1 represent). label: a key of the
            maps, or another name of the row.
        colormap, opacity, space: as in `Look`.
        most: columns at most.
    """
    return strips([(shown, rows)], colormap, opacity, space, most=most)


def strips(
    blocks: Sequence[tuple[Shown, Sequence[Row]]],
    colormap: str,
    opacity: float,
    space: str,
    marks: Sequence[Mark] = (),
    most: int = MOST_COLUMNS,
) -> Figure:
    """Strips of several samples below each other, each under its caption, as in `strip`.

    Raises:
        ValueError: for videos of different sizes.
    """
    texts = [x for shown, rows in blocks for x in (shown.caption, *shown.notes, *(row[0] for row in rows))]
    with matplotlib.rc_context({"font.family": families_for(texts)}):
        return _strips(blocks, colormap, opacity, space, marks, most)


def _strips(blocks: Sequence[tuple[Shown, Sequence[Row]]], *look: Any) -> Figure:
    colormap, opacity, space, marks, most = look
    first = blocks[0][0]
    if len({shown.frames.shape for shown, _ in blocks}) > 1:
        raise ValueError(f"videos of one size are needed, not {[shown.frames.shape for shown, _ in blocks]}")
    latent_frames = blocks[0][1][0][2].shape[0]
    columns = columns_of(latent_frames, most)
    middles = [middle_frame(column, latent_frames, len(first.frames)) for column in columns]
    layouts = [_layout(shown, rows, columns, middles, colormap, opacity, space) for shown, rows in blocks]
    inches = COLUMN / layouts[0].width
    wide = NAMES + layouts[0].sheet.shape[1] * inches + SCALE
    captions = [wrapped_caption(drawable(shown.caption), wide) for shown, _ in blocks]
    notes = [wrapped_notes([drawable(note) for note in shown.notes], wide) for shown, _ in blocks]
    above = [CAPTION * (1 + caption.count("\n")) + TOP for caption in captions]
    below = [BOTTOM + NOTE * len(lines) for lines in notes]
    known = any(text in shown.truth for shown, rows in blocks for text, *_ in rows)
    tall = sum(above) + sum(below) + sum(layout.sheet.shape[0] * inches for layout in layouts) + NOTE * known
    figure = Figure(figsize=(wide, tall), dpi=min(layouts[0].width / COLUMN, 220))
    FigureCanvasAgg(figure)
    top, before = 0.0, 0  # inches and rows of the blocks above
    texts = zip(captions, notes, above, below, strict=True)
    for (shown, rows), layout, (caption, lines, room, under) in zip(blocks, layouts, texts, strict=True):
        figure.text(0.08 / wide, 1 - (top + 0.06) / tall, caption, va="top", fontsize=9, parse_math=False)
        top += room
        _draw(figure, layout, top, time_labels(first.times, middles), colormap)
        inside = [replace(mark, row=mark.row - before) for mark in marks if 0 <= mark.row - before < len(layout.rows)]
        axes = figure.axes[-1 - layout.scales]
        _outline(axes, layout, [shown.truth.get(text) for text, *_ in rows], middles)
        _mark(axes, layout, inside)
        top += layout.sheet.shape[0] * inches
        style = {"va": "top", "fontsize": SMALLEST, "color": "#a03000", "parse_math": False}
        if lines:
            figure.text(0.08 / wide, 1 - (top + 0.05) / tall, "\n".join(lines), **style)
        top, before = top + under, before + len(layout.rows)
    if known:
        figure.text(NAMES / wide, (NOTE + 0.02) / tall, LEGEND, va="top", fontsize=SMALLEST, color="0.35")
    return figure


@dataclass(frozen=True)
class _Layout:
    """A block of cells as one picture, and what is written beside its rows."""

    sheet: np.ndarray
    gap: int  # pixels between cells
    height: int  # of a cell
    width: int
    rows: Sequence[tuple[str, str, tuple[float, float] | None]]  # text, name of the map, ends of its scale

    @property
    def scales(self) -> int:
        """Rows that have a scale."""
        return sum(1 for _, name, _ in self.rows if name)


def _layout(
    shown: Shown,
    rows: Sequence[Row],
    columns: Sequence[int],
    middles: Sequence[int],
    colormap: str,
    opacity: float,
    space: str,
) -> _Layout:
    video = _cells(shown.frames[list(middles)])
    _, height, width, _ = video.shape
    large = [np.stack([enlarge(x[k], height, width, space) for k in columns]) for _, _, x, _ in rows]
    names = {**labels(), **shown.maps.names}
    written = [(drawable(text), names.get(label, label), ends) for text, label, _, ends in rows]
    if shown.has_video:
        pictures = [video, *(overlay(video, x, colormap, opacity) for x in large)]
        written = [("video", "", None), *written]
    else:
        pictures = [coloured(x, colormap) for x in large]
    sheet, gap = _sheet(pictures)
    return _Layout(sheet, gap, height, width, written)


def _draw(figure: Figure, layout: _Layout, top: float, times: Sequence[str], colormap: str) -> None:
    """Draw a block `top` inches below the figure's upper edge: cells, times above, words on the left, scales."""
    wide, tall = figure.get_size_inches()
    inches = COLUMN / layout.width
    high = layout.sheet.shape[0] * inches
    axes = figure.add_axes((NAMES / wide, 1 - (top + high) / tall, 1 - (NAMES + SCALE) / wide, high / tall))
    axes.imshow(layout.sheet, interpolation="none", aspect="auto")
    axes.axis("off")
    for column, time in enumerate(times):
        middle = column * (layout.width + layout.gap) + layout.width / 2
        axes.text(middle, -0.06 / inches, time, ha="center", fontsize=7, color="0.35")
    names = list(dict.fromkeys(name for _, name, _ in layout.rows if name))
    if len(names) == 1:  # once, above the scales
        first = next(row for row, (_, name, _) in enumerate(layout.rows) if name)
        place = (1 - (SCALE - 0.08) / wide, 1 - (top - 0.04 + first * (layout.height + layout.gap) * inches) / tall)
        figure.text(*place, wrapped(names[0], 4), va="bottom", fontsize=5.5, color="0.35", parse_math=False)
    for row, (text, name, ends) in enumerate(layout.rows):
        upper = row * (layout.height + layout.gap)
        place = (-0.08 / inches, upper + layout.height / 2)
        draw_label(axes, place, text, "bottom" if len(names) > 1 and name else "center", 9, "black", NAMES - 0.12)
        if len(names) > 1 and name:
            draw_label(axes, place, name, "top", 6.5, "0.35", NAMES - 0.12)
        if name:
            low = 1 - (top + (upper + layout.height) * inches) / tall
            box = (1 - (SCALE - 0.08) / wide, low, 0.08 / wide, layout.height * inches / tall)
            draw_scale(figure, box, colormap, ends)


def _outline(axes: Axes, layout: _Layout, truth: Sequence[np.ndarray | None], frames: Sequence[int]) -> None:
    """Outline the truth of each word in the frames of the columns."""
    for row, masks in enumerate(truth, len(layout.rows) - len(truth)):  # the row of the video has no word
        for column, frame in enumerate(frames):
            if masks is None:
                continue
            corner = (column * (layout.width + layout.gap) - 0.5, row * (layout.height + layout.gap) - 0.5)
            draw_outlines(axes, masks[frame], corner, (layout.width, layout.height))


def _mark(axes: Axes, layout: _Layout, marks: Sequence[Mark]) -> None:
    for mark in marks:
        x = mark.column * (layout.width + layout.gap) + mark.x * layout.width - 0.5
        y = mark.row * (layout.height + layout.gap) + mark.y * layout.height - 0.5
        axes.plot(x, y, "o", color="red", markersize=4, markeredgecolor="white", markeredgewidth=0.6)


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
