"""Mean curves of a run as figures: precision and recall, and energy around the beginning of a motion."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imap.atomic import replaced
from imap.evaluation.baselines import BASELINES
from imap.evaluation.explorer.curves import REACH, RECALLS
from imap.evaluation.explorer.means import Curves, Means
from imap.evaluation.tables import label_of

SIZE = (5.2, 3.4)  # inches
DPI = 200
COLOURS = ("#b3322a", "#2d5fb8", "#2a7a3c", "#7b3fa0", "#9a5200", "#0d7480", "#b02a78", "#666600")  # as on the page
FORMATS = ("png", "pdf")
WORDS = {"motion": "motion words", "concept": "nouns"}
FREE = tuple(map(label_of, BASELINES))  # rows of maps that need no model


def write_plots(folder: Path, means: Mapping[str, Means]) -> list[Path]:
    """Write precision_recall_<kind> and temporal, each as .png and .pdf.

    Args:
        folder: for the figures; it is made.
        means: over clips, by kind of word.

    Returns:
        Paths of the .png files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {f"precision_recall_{kind}": precision_recall(one, WORDS[kind]) for kind, one in means.items()}
    if "motion" in means and means["motion"].onset:
        figures["temporal"] = temporal(means["motion"])
    for name, figure in figures.items():
        for suffix in FORMATS:
            with replaced(folder / f"{name}.{suffix}") as part:
                figure.savefig(
                    part, format=suffix, dpi=DPI, metadata={"CreationDate": None} if suffix == "pdf" else None
                )
    return [folder / f"{name}.png" for name in figures]


def precision_recall(means: Means, words: str) -> Figure:
    """Precision of cells at every recall, mean over clips with its interval."""
    figure, axes = _blank()
    _lines(axes, RECALLS, means.precision)
    axes.set(xlabel=f"recall of true cells ({words})", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    return _with_legend(figure, axes)


def temporal(means: Means) -> Figure:
    """Energy of maps around the frame in which a motion begins, mean over clips with its interval."""
    figure, axes = _blank()
    offsets = np.arange(-REACH, REACH + 1)
    axes.axvline(0, color="0.8", linewidth=0.8)
    _lines(axes, offsets, means.onset)
    axes.plot(offsets, means.moving, color="black", linestyle=":", linewidth=1.5, label="truth")
    axes.set(xlabel="latent frames from the beginning of the motion", ylabel="energy, standardized")
    return _with_legend(figure, axes)


def _blank() -> tuple[Figure, Axes]:
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _lines(axes: Axes, across: np.ndarray, curves: Curves) -> None:
    """A line and a band per row; baselines without a model are grey."""
    own = [row for row in curves if row not in FREE]
    styles = dict(zip(sorted(FREE), ("-", "--", ":"), strict=True))
    for row, (mean, low, high) in curves.items():
        colour = "0.6" if row in FREE else COLOURS[own.index(row) % len(COLOURS)]
        axes.fill_between(across, low, high, color=colour, alpha=0.08, linewidth=0)
        axes.plot(across, mean, color=colour, linewidth=1.4, linestyle=styles.get(row, "-"), label=row)


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figure
