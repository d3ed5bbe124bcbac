"""What is written beside the rows of a strip: names, and the scale of the colours."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from imap.view.overlay import coloured
from imap.view.wrapping import wrapped

SMALLEST = 6  # points of a label, or a little less


def draw_label(
    axes: Axes, place: tuple[float, float], text: str, va: str, size: float, color: str, room: float
) -> None:
    """A user's text left of a row, as it stands, in up to three lines and as small as SMALLEST; longer ones are cut.

    room: inches of width.
    """
    style = {"ha": "right", "va": va, "fontsize": size, "color": color, "linespacing": 1.1}
    label = axes.text(*place, text, parse_math=False, **style)
    for lines in range(1, 4):
        label.set_text(wrapped(text, lines))
        fit = _fit(label, room)
        if size * fit >= SMALLEST:
            break
    else:  # words that are too long, or too many of them
        label.set_text(wrapped(text, 3, between_words=False))
        most = int(len(text) * _fit(label, room) * size / SMALLEST)
        cut = text if most >= len(text) else text[: max(1, most - 1)] + "…"
        label.set_text(wrapped(cut, 3, between_words=False))
        fit = _fit(label, room)
    label.set_fontsize(size * min(1, fit))


def _fit(label: Text, room: float) -> float:
    """What a label's size is to be multiplied with to fill the room left of the rows."""
    figure: Any = label.get_figure()
    return room * figure.dpi / max(1, label.get_window_extent().width)


def draw_scale(
    figure: Figure,
    box: tuple[float, float, float, float],
    colormap: str,
    ends: tuple[float, float] | None,
) -> None:
    """A bar of a map's colours from 1 down to 0, with the values at its ends."""
    axes = figure.add_axes(box)
    axes.imshow(coloured(np.linspace(1, 0, 256)[:, None], colormap), aspect="auto")
    axes.axis("off")
    values = ("", "") if ends is None else tuple(f"\n{x:.3g}" for x in ends)
    for place, word, value, side in zip((0, 1), ("low", "high"), values, ("bottom", "top"), strict=True):
        style = {"va": side, "fontsize": 6, "color": "0.35", "linespacing": 1.1}
        axes.text(1.5, place, word + value, transform=axes.transAxes, **style)
