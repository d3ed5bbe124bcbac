"""A strip: latent frames across, the video and one row per text down, with the scale of the colours."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from imap.view.overlay import overlay
from imap.view.sample import KEY_NAMES, Shown
from imap.view.upsampling import middle_frame, upsample

matplotlib.rcParams["pdf.fonttype"] = 42  # text that can be searched and edited
COLUMN = 1.1  # inches
LABEL = 1.3  # inches for the names at the left
MOST_COLUMNS = 13


def columns_of(latent_frames: int, most: int = MOST_COLUMNS) -> list[int]:
    """Latent frames to show: all, or evenly spread ones with the first and the last."""
    return sorted(set(np.linspace(0, latent_frames - 1, min(latent_frames, most)).round().astype(int).tolist()))


Row = tuple[str, str, np.ndarray, tuple[float, float] | None]


def strip(shown: Shown, rows: list[Row], colormap: str, opacity: float, space: str) -> Figure:
    """A figure of rows (text, key, map (latent frames, h, w) in [0, 1], values that 0 and 1 stand for)."""
    frames, height, width = shown.frames.shape[:3]
    latent_frames = rows[0][2].shape[0]
    columns = columns_of(latent_frames)
    cell = COLUMN * height / width
    size = (LABEL + COLUMN * len(columns) + 0.9, cell * (len(rows) + 1) + 0.55)
    figure = Figure(figsize=size, dpi=200)
    grid = figure.add_gridspec(
        len(rows) + 1,
        len(columns),
        left=LABEL / size[0],
        right=1 - 0.9 / size[0],
        top=1 - 0.32 / size[1],
        bottom=0.2 / size[1],
        wspace=0.04,
        hspace=0.04,
    )
    middles = [middle_frame(column, latent_frames, frames) for column in columns]
    pictures = [("video", "", shown.frames[middles])]
    for text, key, x, _ in rows:
        large = upsample(x, frames, height, width, space)[middles]
        pictures.append((text, KEY_NAMES.get(key, key), overlay(shown.frames[middles], large, colormap, opacity)))
    for row, (text, name, own) in enumerate(pictures):
        for column, picture in enumerate(own):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(picture, interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(_time(middles[column], shown.fps), fontsize=7, color="0.35", pad=3)
            if column == 0:
                axes.text(-0.08, 0.5, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=9)
                axes.text(-0.08, 0.46, name, transform=axes.transAxes, ha="right", va="top", fontsize=6.5, color="0.35")
        if row > 0:
            place = axes.get_position()
            bar = figure.add_axes((1 - 0.82 / size[0], place.y0, 0.09 / size[0], place.height))
            ends = rows[row - 1][3]
            labels = ["low", "high"] if ends is None else [f"{x:.3g}" for x in ends]
            scale = matplotlib.cm.ScalarMappable(cmap=colormap)
            figure.colorbar(scale, cax=bar, ticks=[0, 1]).ax.set_yticklabels(labels, fontsize=6.5)
            bar.tick_params(length=0)
            for label, side in zip(bar.get_yticklabels(), ("bottom", "top"), strict=True):
                label.set_verticalalignment(side)
            bar.spines[:].set_visible(False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or PDF, the same bytes each time."""
    figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else {"Software": None})


def _time(frame: int, fps: int) -> str:
    return f"{frame / fps:.1f} s"
