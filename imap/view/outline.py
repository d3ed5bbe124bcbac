"""Outlines of the truth: a thin light line with a dark halo, which every colormap and every video leaves visible."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from PIL import Image, ImageDraw

LEGEND = "Outline (ground truth): where the thing is, or where and while the motion happens."
LIGHT, DARK = 255, 0  # of the line, of its halo
LINE, HALO = 1.5, 4  # pixels of width: between two rows of pixels, a line of 1 would be faint
DARKNESS = 0.75  # opacity of the halo
SHARPNESS = 4  # lines are drawn at so many times the size, and reduced
SMOOTHED = 4  # times that neighbouring points are averaged: pixels of a mask make no stairs
STRAIGHT = 0.1  # pixels of a mask that a contour may leave to have fewer points


def contours(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a mask (height, width) of booleans.

    Returns:
        Polygons (points, 2), x and y in fractions of the frame's width and height; the first point is also the last.
        Each hole is a separate polygon. Empty for a mask without a true pixel.
    """
    height, width = mask.shape
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float32)).lines(0.5)  # the border closes what it cuts
    return [(_simple(_smooth(np.asarray(line))) - 0.5) / (width, height) for line in lines]


def _smooth(line: np.ndarray) -> np.ndarray:
    """A closed polygon with rounded corners; the smaller it is, the less."""
    points = line[:-1]
    for _ in range(min(SMOOTHED, len(points) // 8)):
        points = (points + np.roll(points, -1, axis=0)) / 2
    return np.concatenate([points, points[:1]])


def _simple(line: np.ndarray) -> np.ndarray:
    """A closed polygon without the points of straight parts."""
    path = Path(line)
    path.simplify_threshold = STRAIGHT
    kept = path.cleaned(simplify=True, remove_nans=False)
    points = np.asarray(kept.vertices)[np.asarray(kept.codes) != Path.STOP]
    return np.concatenate([points, points[:1]]) if (points[0] != points[-1]).any() else points


def outlined(pictures: Iterable[np.ndarray], masks: np.ndarray | None) -> Iterator[np.ndarray]:
    """Pictures, uint8 (h, w, 3), with the outlines of masks (pictures, height, width), of any size. None: as they are.

    The line is LINE pixels wide at the pictures' size.
    """
    if masks is None:
        yield from pictures
        return
    for picture, mask in zip(pictures, masks, strict=True):
        yield _outlined(picture, contours(mask))


def _outlined(picture: np.ndarray, polygons: Sequence[np.ndarray]) -> np.ndarray:
    if not polygons:
        return picture
    height, width = picture.shape[:2]
    x = picture.astype(np.float32)
    for stroke, opacity, colour in ((HALO, DARKNESS, DARK), (LINE, 1.0, LIGHT)):
        drawn = Image.new("L", (width * SHARPNESS, height * SHARPNESS))
        draw = ImageDraw.Draw(drawn)
        for polygon in polygons:
            points = (polygon * (width, height) * SHARPNESS - 0.5).ravel().tolist()
            draw.line(points, fill=255, width=round(stroke * SHARPNESS), joint="curve")
        share = np.asarray(drawn.reduce(SHARPNESS), np.float32)[..., None] * (opacity / 255)
        x += (colour - x) * share
    return np.rint(x).astype(np.uint8)


def draw_outlines(axes: Axes, mask: np.ndarray, corner: tuple[float, float], size: tuple[float, float]) -> None:
    """Draw the outlines of a mask into a cell of an axes, as lines that stay sharp in a PDF.

    Args:
        axes: in pixels of a picture, y down.
        mask: booleans (height, width).
        corner: x and y of the cell's upper left corner.
        size: width and height of the cell.
    """
    halo = withStroke(linewidth=1.8, foreground="black", alpha=DARKNESS)
    lines = LineCollection([polygon * size + corner for polygon in contours(mask)], colors="white", linewidths=0.7)
    lines.set(path_effects=[halo], capstyle="round", joinstyle="round")
    axes.add_collection(lines, autolim=False)
    lines.set_clip_path(Rectangle(corner, *size, transform=axes.transData))
