"""Score every map of every word against the ground truth of its clip.

Writes RUN/scores.csv in long form: sample, word, kind, map, metric, value. Samples that did not change are not scored
again, and an interrupted command continues. docs/guide/evaluation.md defines the metrics.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="output_dir of a run whose samples have truth"
    )
    parser.add_argument(
        "--maps",
        metavar="KEY,...",
        default="all",
        help="keys of maps, as in npy/, or labels: sel_imap_layers is IMAP, imap_layers is GramCol",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also score a uniform map, a centre prior, the difference of frames, and each map of another word",
    )
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="also score maps of another tool: FOLDER/<sample>/<word>.npy, each (frames, height, width)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes; if not set, one per CPU")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from imap.errors import ImapError
    from imap.evaluation.other_maps import OtherMaps
    from imap.evaluation.run_scores import score_runs
    from imap.methods.registry import key_of, labels

    keys = None if arguments.maps == "all" else [key.strip() for key in arguments.maps.split(",") if key.strip()]
    keys = None if keys is None else [key_of(key, labels()) for key in keys]
    if keys == []:
        raise ImapError("--maps names no map; give keys such as imap_layers,sel_imap_layers, or leave it out for all")
    if arguments.workers is not None and arguments.workers < 1:
        raise ImapError(f"--workers={arguments.workers} is not a number of processes; expected 1 or more")
    others = [OtherMaps.of(text) for text in arguments.other]
    for path in score_runs(arguments.runs, keys, arguments.baselines, arguments.workers, others):
        print(path)
