"""Pictures of a run, from its folder alone: `imap view FOLDER`, or python -m imap.view FOLDER."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from imap.errors import ImapError
from imap.methods.registry import labels
from imap.view.comparison import COMPARISON, show_comparison
from imap.view.look import COLORMAPS, Look
from imap.view.normalization import KINDS
from imap.view.report import MOST_WITH_ALL_KEYS
from imap.view.run import REPORT, show_report, show_samples
from imap.view.sample import Problems, samples_in, settings_in
from imap.view.threshold import RULES
from imap.view.upsampling import SPACE


def main(argv: Sequence[str] | None = None, program: str = "python -m imap.view") -> None:
    """Draw a run's pictures. Exits with status 1 if a sample cannot be shown. program: name in usage lines."""
    arguments = _parser(program).parse_args(argv)
    try:
        if arguments.no_pictures and arguments.masks:
            raise ImapError("--masks are pictures, and --no-pictures leaves them out; drop one of the two")
        if arguments.mask_threshold != Look.mask_threshold and not arguments.masks:
            raise ImapError("--mask-threshold is of masks; add --masks")
        look = Look(**{field.name: getattr(arguments, field.name) for field in fields(Look)})
        folders = list({path.resolve(): path for path in arguments.folders}.values())
        runs = {folder: samples_in(folder) for folder in folders}
        for folder, samples in runs.items():
            different = settings_in(samples)
            if different > 1:
                print(f"{folder} holds samples of {different} runs with different settings", file=sys.stderr)
        if len(folders) > 1 and (arguments.masks or arguments.gif or arguments.no_report):
            raise ImapError("several folders are compared on one page and not drawn; draw them one by one")
        problems, all_keys = Problems(), getattr(arguments, "all_keys", None)
        if len(folders) > 1:
            written = [show_comparison(runs, look, problems, all_keys)]
        else:
            ((folder, samples),) = runs.items()
            written = [] if arguments.no_pictures else show_samples(samples, look, problems)
            if not arguments.no_report:
                written.append(show_report(folder, samples, look, problems, all_keys))
        print("\n".join(map(str, written)))
        sys.exit(1 if problems else 0)
    except ImapError as error:
        sys.exit(f"imap: error: {error}")


def _threshold(text: str) -> float | str:
    """A threshold as typed; `Look` checks it."""
    try:
        return float(text)
    except ValueError:
        return text


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Overlay videos, a strip and a report page of a finished run, or of one sample's folder. No model "
        "is loaded. Each sample gets view/ (mp4 per word, strip.png, strip.pdf, view.json), the run gets "
        f"{REPORT}; where one sample's folder is named, it lies in view/ too. Several runs are compared on one page. "
        "If a sample cannot be shown, the exit status is 1.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Look()
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help=f"output_dir of a run, or a sample's folder in it; several of them are compared in {COMPARISON} in the "
        "first one, and not drawn: samples of the same name beside each other, with the settings in which they "
        "differ",
    )
    parser.add_argument("--key", default=default.key, help=f"maps to show: auto, {', '.join(labels())} or another key")
    rules = "; ".join(f"{kind}: {rule}" for kind, rule in KINDS.items())
    parser.add_argument("--normalization", default=default.normalization, choices=KINDS, help=rules.replace("%", "%%"))
    parser.add_argument("--colormap", default=default.colormap, choices=COLORMAPS, help="perceptually uniform")
    parser.add_argument("--opacity", type=float, default=default.opacity, help="of the map over the video, 0 to 1")
    parser.add_argument("--space", default=default.space, choices=SPACE, help="how a map is enlarged")
    parser.add_argument("--columns", type=int, default=default.columns, help="the most frames across a strip")
    known = "outline where words are true, if it is known (truth.npz)"
    parser.add_argument("--truth", action=argparse.BooleanOptionalAction, default=default.truth, help=known)
    parser.add_argument("--gif", action="store_true", help="overlays as gif too")
    shares = RULES.replace("%", "%%")
    parser.add_argument(
        "--masks",
        action="store_true",
        help="masks of every word too: a PNG per frame, and COCO RLE; drawing again without it removes them",
    )
    parser.add_argument("--mask-threshold", type=_threshold, default=default.mask_threshold, help=f"of masks: {shares}")
    parser.add_argument(
        "--all-keys",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="maps over all layers (maps_layers) in the report too, which makes it half as large again "
        f"(default: for up to {MOST_WITH_ALL_KEYS} samples)",
    )
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--no-pictures", action="store_true", help="the report alone")
    parts.add_argument("--no-report", action="store_true", help="the pictures alone")
    return parser


if __name__ == "__main__":
    main()
