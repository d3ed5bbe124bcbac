"""Cut a data set to clips with ground truth, and write the list that `imap renoise input_json=` reads.

NAME is a data set, ROOT its folder as it is laid out when it is unpacked. docs/guide/datasets.md has the layouts.
Run it again after an interruption: finished clips are not cut again.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imap.errors import ImapError
from imap.evaluation.datasets import NAMES

TIMING = "timing"
LIST, CLIPS, TIMES = "list.json", "clips", "timing.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    names = "; ".join(f"{name}: {line}" for name, (_, line) in NAMES.items())
    parser.add_argument(
        "name", metavar="NAME", help=f"{names}; {TIMING}: a CSV of prompts and times of verbs, no clips"
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help=f"folder of the data set; for {TIMING}, the CSV")
    parser.add_argument("out", type=Path, metavar="OUT", help=f"folder of {LIST} and {CLIPS}/; it is created")
    parser.add_argument("--split", help="split of the data set; by default the one whose masks are for evaluation")
    parser.add_argument("--limit", type=int, help="prepare so many entries, the first ones")
    parser.add_argument("--frames", type=int, default=49, help="frames of each clip, 4k+1")
    parser.add_argument("--height", type=int, default=480, help="rows of each clip")
    parser.add_argument("--width", type=int, default=720, help="columns of each clip")
    parser.add_argument(
        "--resize", choices=("crop", "stretch"), default="crop", help="scale to cover and cut, or stretch"
    )
    parser.add_argument("--fps", type=float, help="take frames at this rate from the first one; default: even over all")
    parser.add_argument("--source-fps", type=float, help="rate of the data set's pictures; default: as it states")
    parser.add_argument("--words", type=Path, help="CSV of name or caption, concepts, object; or a list in JSON")
    parser.add_argument(
        "--moving",
        choices=("estimate", "always"),
        default="estimate",
        help="when verbs happen where the data does not say it: estimated, or while their objects are seen",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from imap.media.clips import check_video_size
    from imap.media.video_io import check_fps

    if arguments.limit is not None and arguments.limit < 1:
        raise ImapError(f"--limit {arguments.limit}: expected 1 or more")
    if arguments.name == TIMING:
        return _timing(arguments.root, arguments.out)
    check_video_size(arguments.height, arguments.width, arguments.frames, (16, 16), 4)
    for rate in (arguments.fps, arguments.source_fps):
        if rate is not None:
            check_fps(rate)
    _clips(arguments)
    return None


def _timing(path: Path, out: Path) -> None:
    from imap.evaluation.datasets.timing import entries_of, read_timing

    rows = read_timing(path)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / LIST, entries_of(rows))
    _write(out / TIMES, rows)
    print(f"{out / LIST}: for imap sample input_json={out / LIST}; {TIMES} has the times of its verbs")


def _clips(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from imap.evaluation.cutting import SHORT, Cut, write_cut
    from imap.evaluation.datasets import entries
    from imap.evaluation.datasets.entry import Options
    from imap.evaluation.datasets.words import read_words

    words = read_words(arguments.words) if arguments.words else {}
    options = Options(arguments.split, words, arguments.source_fps)
    found = list(entries(arguments.name, arguments.root, options))[: arguments.limit]
    names = [entry.name for entry in found]
    if not found:
        raise ImapError(f"{arguments.root} has no entries of {arguments.name}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ImapError(f"{arguments.root} has two entries of the name {twice}; give each a different name")
    cut = Cut(*(getattr(arguments, key) for key in Cut.__dataclass_fields__))
    folder = arguments.out / CLIPS
    folder.mkdir(parents=True, exist_ok=True)
    records = [write_cut(entry, cut, folder) for entry in tqdm(found, f"preparing {arguments.name}")]
    written = [record for record in records if record is not None]
    _write(arguments.out / LIST, [record["entry"] for record in written])
    notes = {
        "show no class and are left out": len(records) - len(written),
        f"are too short for --fps {arguments.fps}: their frames are spread evenly": _count(written, "chosen", SHORT),
        "have fewer frames than are expected, and repeat some": sum(record["repeated"] > 0 for record in written),
        "have no truth": _count(written, "moving", None),
    }
    print(f"{arguments.out / LIST}: {len(written)} clips")
    for note, count in notes.items():
        if count:
            print(f"{count} clips {note}")


def _count(records: Sequence[dict[str, Any]], key: str, value: Any) -> int:
    return sum(record[key] == value for record in records)


def _write(path: Path, content: Sequence[Any]) -> None:
    from imap.atomic import replaced

    with replaced(path) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
