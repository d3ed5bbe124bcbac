"""Zero-shot video semantic segmentation: the class of a pixel is the word whose map is highest there.

The classes of a clip are the nouns that its ground truth shows (truth.npz). Writes segment.csv and segment.json into
every run. mIoU comes from one confusion matrix over all frames of all clips; mVC is a mean over all windows of frames.
"""

import argparse
from pathlib import Path

from imap.errors import ImapError

TABLE, SUMMARY = "segment.csv", "segment.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    from imap.methods.registry import default_key
    from imap.view.upsampling import SPACE

    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output_dir of a run")
    parser.add_argument(
        "--map", default=default_key("things"), metavar="KEY,...", help="maps to score, by their keys or labels"
    )
    parser.add_argument(
        "--background",
        type=_background,
        default="none",
        metavar="RULE",
        help="none: every pixel gets a class, and pixels that no thing covers do not count, as in the paper; or a "
        "number from 0 to 1: pixels where no map reaches it, between its lowest and highest value, are a further "
        "class, background",
    )
    parser.add_argument(
        "--space",
        choices=list(SPACE),
        default="nearest",
        help="nearest: each cell of the maps has one class; bilinear: maps are enlarged before they are compared",
    )


def _background(text: str) -> float | None:
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither none nor a number from 0 to 1")
    return value


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from imap.evaluation.long_form import samples_of_run
    from imap.evaluation.segmenting import Rule, report, segment

    keys = list(dict.fromkeys(name.strip() for name in arguments.map.split(",") if name.strip()))
    if not keys:
        raise ImapError("--map names no map; give keys such as imap_layers, separated by commas")
    rule = Rule(arguments.background, arguments.space)
    runs = {folder: samples_of_run(folder) for folder in dict.fromkeys(arguments.runs)}
    for folder, samples in runs.items():
        print(report(segment(samples, keys, rule), folder / TABLE, folder / SUMMARY))
