"""Write the scores of runs as a page and as figures.

RUN/scores.html has the means of every map, its curves, and every word of every clip, worst first. RUN/scores/ has the
curves of precision and recall, and of the time around the beginning of a motion, as .png and .pdf. `imap score run`
makes the scores.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="output_dir of a run that has scores.csv")
    parser.add_argument(
        "--maps",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        default=None,
        metavar="A,B",
        help="keys or labels of maps; if not set, those over the chosen layers, baselines, and maps of other tools",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from imap.errors import ImapError
    from imap.evaluation.explorer.entries import entries_of
    from imap.evaluation.explorer.means import means_of
    from imap.evaluation.explorer.page import write_page
    from imap.evaluation.explorer.plots import write_plots

    for folder in dict.fromkeys(arguments.runs):
        entries = entries_of(folder, arguments.maps)
        kinds = [kind for kind in ("motion", "concept") if any(entry.kind == kind for entry in entries)]
        means = {kind: means_of(entries, kind) for kind in kinds}
        means = {kind: one for kind, one in means.items() if one.table.rows}  # else no score is defined
        if not means:
            raise ImapError(f"no score of {folder} is defined: its words are true nowhere, or --maps has none of them")
        print(write_page(folder / "scores.html", f"Scores of {folder.resolve().name}", entries, means))
        for path in write_plots(folder / "scores", means):
            print(path)
