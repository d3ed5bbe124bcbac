"""Motion Localization Score: a vision language model grades the maps of motion words (docs/method.md, 9).

The model sees 12 frames of the video, the same frames darkened outside the map, and the map in colours. It gives five
grades from 1 to 5. Writes judge.csv and judge.json into every run. Replies are kept in judge/replies of the run: the
same command continues where it stopped, and no reply is paid for twice. The key is read from the environment variable
OPENAI_API_KEY; a local server needs none.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from imap.errors import ImapError

if TYPE_CHECKING:
    from imap.evaluation.judge.endpoint import Endpoint
    from imap.evaluation.judge.grading import Plan

FOLDER = "judge"  # of a run: its replies, and the pictures of a dry run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="output_dir of a run")
    add("--endpoint", metavar="URL", help="base URL of an OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    add("--model", metavar="NAME", help="name of the model at the endpoint; it must read pictures")
    add("--maps", default="auto", metavar="KEY,...", help="maps to grade, by key or label; auto is the shown map")
    add(
        "--protocol",
        choices=("published", "ours"),
        default="published",
        help="published: the caption alone, maps scaled frame by frame; ours: the motion word is named, maps scaled "
        "over the video",
    )
    add("--dry-run", action="store_true", help="write pictures and prompts, and estimate the cost; send nothing")
    add("--limit", type=_whole, metavar="N", help="the first N samples of each run")
    add("--parallel", type=_whole, default=4, metavar="N", help="requests at a time")
    add("--timeout", type=_positive, default=120, metavar="SECONDS", help="for a reply; a late one may still be billed")
    add("--retries", type=_whole, default=6, metavar="N", help="after time-outs, broken connections, 429 and 5xx")
    add("--temperature", type=_temperature, default="0", help="of sampling; none leaves it to the endpoint")
    add(
        "--price",
        type=_positive,
        nargs=2,
        metavar=("READ", "WRITTEN"),
        help="per million tokens, for the estimate of the cost",
    )


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _temperature(text: str) -> float | None:
    value = _number(text)
    if text != "none" and not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is neither none nor a number from 0")
    return None if text == "none" else value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def run(arguments: argparse.Namespace) -> None:
    """Run the command. Exits with status 1 if a request has had no reply."""
    from imap.evaluation.judge.cases import cases_of
    from imap.evaluation.long_form import samples_of_run

    if not arguments.dry_run and not (arguments.endpoint and arguments.model):
        raise ImapError("give --endpoint and --model, or --dry-run to see the pictures, the prompts and the cost first")
    maps = [name.strip() for name in arguments.maps.split(",") if name.strip()]
    if not maps:
        raise ImapError("--maps names no map; give keys such as sel_imap_layers, separated by commas")
    runs = {folder: samples_of_run(folder)[: arguments.limit] for folder in dict.fromkeys(arguments.runs)}
    cases = {folder: cases_of(samples, maps) for folder, samples in runs.items()}
    endpoint = None if arguments.dry_run else _endpoint(arguments)
    try:
        failed = sum(_judge(folder, one, arguments, endpoint) for folder, one in cases.items())
    except KeyboardInterrupt:
        print("imap: stopped; replies so far are kept. Run the same command again to continue", file=sys.stderr)
        sys.exit(130)
    if failed:
        sys.exit(f"imap: error: {failed} maps had no reply; run the same command again to ask about them")


def _endpoint(arguments: argparse.Namespace) -> "Endpoint":
    from imap.evaluation.judge.endpoint import Endpoint

    return Endpoint(arguments.endpoint, arguments.model, arguments.temperature, arguments.timeout, arguments.retries)


def _judge(folder: Path, cases: Sequence, arguments: argparse.Namespace, endpoint: "Endpoint | None") -> int:
    """Judge one run. Returns how many cases have no reply."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from imap.claims import claim
    from imap.evaluation.judge import grading, result
    from imap.evaluation.judge.answers import FAILED
    from imap.evaluation.judge.protocol import PROTOCOLS
    from imap.evaluation.judge.replies import Replies

    home, protocol = folder / FOLDER, PROTOCOLS[arguments.protocol]
    replies = Replies(home / "replies")
    with claim(home) as mine:
        if not mine:
            raise ImapError(f"another process judges {folder}; wait for it, so that nothing is paid for twice")
        plan = grading.plan(cases, protocol, arguments.model or "", arguments.temperature, replies)
        print(_estimate(folder, plan, len(cases), arguments.price), flush=True)
        if endpoint is None:
            result.write_dry_run(home / "dry_run", cases, protocol)
            print(home / "dry_run")
            return 0
        asking = grading.ask_all(plan.missing, protocol, endpoint, replies, arguments.parallel)
        with logging_redirect_tqdm(), closing(asking) as asked:  # an interrupt outside of it stops it too
            for _ in tqdm(asked, "replies", len(plan.missing), unit="map", disable=len(plan.missing) < 3):
                pass
        found = grading.answers(plan.names, replies)
        facts = {name: getattr(arguments, name) for name in ("model", "endpoint", "protocol", "temperature")}
        print(result.write_result(folder, found, plan.names, facts))
    return sum(answer.status == FAILED for answer in found.values())


def _estimate(folder: Path, plan: "Plan", cases: int, price: Sequence[float] | None) -> str:
    read, written = plan.tokens
    line = (
        f"{folder}: {cases} maps, {len(plan.missing)} to ask about ({plan.pictures} pictures, about {read} tokens read "
        f"and {written} written"
    )
    if price is None:
        return line + ")"
    return line + f", about {(read * price[0] + written * price[1]) / 1e6:.2f} at the given price)"
