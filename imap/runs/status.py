"""`imap status RUN...`: how far runs are. It reads their folders alone, and works while they run."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imap.claims import is_held
from imap.errors import ImapError
from imap.map_files import META, read_meta, total_seconds
from imap.runs.failures import ERRORS, failures_of
from imap.runs.folders import RUN, identity, request_in
from imap.runs.listing import read_list
from imap.runs.log import errors_in_one_line

RECENT = 100  # finished samples that the rate is taken from
PAUSE = (3, 60.0)  # no sample for so many times the longest one's seconds, and so many more: nothing was running
NAMED = 4
LONGEST_WATCH = 86400  # seconds


@dataclass(frozen=True)
class Finished:
    """A finished sample: when it was written, and how many seconds it has taken."""

    identity: str
    at: float
    seconds: float


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        listed: identities of the samples of the list, by folder; None for an earlier run, which has stored no list.
        done: finished samples, by folder.
        failed: stage of the failure, by folder; of samples that are neither done nor in work.
        busy: samples that a process works on.
        rate: finished samples per minute; None for fewer than two.
        idle: seconds since the last sample was finished, if processes seem to have ended since; else None.
    """

    listed: Mapping[str, str] | None
    done: Mapping[str, Finished]
    failed: Mapping[str, str]
    busy: Sequence[str]
    rate: float | None
    idle: float | None

    @property
    def left(self) -> int | None:
        """Samples that are neither done, nor failed, nor in work; None if the list is not known."""
        return None if self.listed is None else len(self.listed) - len(self.done) - len(self.failed) - len(self.busy)

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {count}" for stage, count in Counter(self.failed.values()).most_common())
        parts = [f"{len(self.done)} of {len(self.listed)} done" if self.listed else f"{len(self.done)} done"]
        parts += [f"{len(self.failed)} failed ({stages})" if self.failed else "0 failed", f"{len(self.busy)} in work"]
        parts.append("no list was stored, so what is left is not known" if self.left is None else f"{self.left} left")
        lines = [", ".join(parts)]
        if self.busy:
            lines.append("in work: " + ", ".join(self.busy[:NAMED]) + (", ..." if len(self.busy) > NAMED else ""))
        if self.rate is not None:
            lines.append(f"{self.rate:.3g} samples a minute{self._remaining()}")
        return "\n  ".join(lines)

    def _remaining(self) -> str:
        more = (self.left or 0) + len(self.busy)
        if self.idle is not None and not self.busy:
            return f"; the last one {duration(self.idle)} ago, and no process seems to run" if more else ""
        return f"; about {duration(60 * more / self.rate)} left" if more and self.rate else ""


def status_of(folder: Path, now: float) -> Status:
    """How far the run of an output folder is. now: seconds of the clock.

    Raises:
        ImapError: if it is no output folder.
    """
    if not folder.is_dir():
        raise ImapError(f"there is no folder {folder.absolute()}; give the output_dir of a run")
    samples, finished = read_list(folder), _finished_in(folder)
    started, shard = _latest(folder)
    helps = shard.get("helps", True) is not False
    if samples is None and not finished and not (folder / ERRORS).is_file():
        raise ImapError(
            f"{folder} holds no samples and no list of them yet; give the output_dir of a run that has checked its list"
        )
    done = {x: one for x, one in finished.items() if samples is None or one.identity == samples.get(x)}
    failures = failures_of(folder, since=started if helps else "")
    failed = {x: stage for x, stage in failures.items() if x not in done and (not samples or x in samples)}
    busy = [x for x in samples or () if x not in done and is_held(folder / x)]
    if samples is not None and not helps:  # this folder gets the part of one shard
        part = {*list(samples)[shard["index"] :: shard["count"]], *done, *failed, *busy}
        samples = {x: one for x, one in samples.items() if x in part}
    return _status(samples, done, {x: s for x, s in failed.items() if x not in busy}, busy, now)


def together(runs: Sequence[Status], now: float) -> Status:
    """How far the runs of several folders are: shards of one list with a folder each, or different runs.

    The same sample in two folders counts once. Samples of one name that differ count each.
    """
    known: dict[str, str] = {}
    names = []  # of the samples of each run among those of all
    for number, run in enumerate(runs):
        listed = run.listed or {x: one.identity for x, one in run.done.items()}
        names.append({x: x if known.get(x, one) == one else f"{x} ({number})" for x, one in listed.items()})
        known |= {names[-1][x]: one for x, one in listed.items()}
    each = [(run, lambda x, own=own: own.get(x, x)) for run, own in zip(runs, names, strict=True)]
    done = {name(x): one for run, name in reversed(each) for x, one in run.done.items()}
    busy = [x for x in dict.fromkeys(name(x) for run, name in each for x in run.busy) if x not in done]
    failed = {name(x): s for run, name in each for x, s in run.failed.items()}
    failed = {x: s for x, s in failed.items() if x not in done and x not in busy}
    return _status(None if any(run.listed is None for run in runs) else known, done, failed, busy, now)


def _status(
    listed: Mapping[str, str] | None,
    done: Mapping[str, Finished],
    failed: Mapping[str, str],
    busy: Sequence[str],
    now: float,
) -> Status:
    times = sorted(one.at for one in done.values())
    longest = PAUSE[0] * max((one.seconds for one in done.values()), default=0.0) + PAUSE[1]
    rate, idle = rate_of(times, longest), now - times[-1] if times and now - times[-1] > longest else None
    return Status(listed, done, failed, busy, rate, idle)


def rate_of(times: Sequence[float], pause: float) -> float | None:
    """Samples per minute since the last pause, from the latest ones.

    Args:
        times: in seconds at which samples were finished, ascending.
        pause: seconds without a sample after which nothing was running.
    """
    start = max([i for i in range(1, len(times)) if times[i] - times[i - 1] > pause], default=0)
    recent = times[max(start, len(times) - RECENT) :]
    return 60 * (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else None


def duration(seconds: float) -> str:
    """A duration in two units, such as `2 h 39 min`."""
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return (
        f"{minutes} min" if minutes >= 10 else f"{minutes} min {int(seconds % 60)} s" if minutes else f"{seconds:.0f} s"
    )


def _finished_in(folder: Path) -> dict[str, Finished]:
    found = {}
    for path in folder.glob(f"[!.]*/{META}"):
        try:
            facts = path.stat()
        except FileNotFoundError:  # it is being replaced
            continue
        one = _read(path, facts.st_mtime_ns)
        if one is not None:
            found[path.parent.name] = one
    return found


@cache
def _read(path: Path, changed: int) -> Finished | None:
    """A finished sample; None for maps that no run has made. changed: time of the file, so that it is read once."""
    meta = read_meta(path.parent)
    wanted = request_in(meta)
    if meta is None or wanted is None:
        return None
    return Finished(identity(wanted), changed / 1e9, total_seconds(meta))


def _latest(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """When the latest process has started to load the model, and its shard, as in run.json; empty if not known."""
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))
        started, shard = record["started"], record["config"]["shard"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", {}
    return (started, shard) if isinstance(started, str) and isinstance(shard, Mapping) else ("", {})


def print_status(folders: Iterable[Path]) -> bool:
    """Print how far runs are, and several of them together. Returns whether all samples are done or failed."""
    now = time.time()
    runs = {folder: status_of(folder, now) for folder in folders}
    for folder, run in runs.items():
        print(f"{folder}: {run}", flush=True)
    if len(runs) > 1:
        print(f"together: {together(list(runs.values()), now)}", flush=True)
    over = together(list(runs.values()), now)
    return not over.busy and not over.left


def main(argv: Sequence[str] | None = None, program: str = "imap status") -> None:
    """Print how far runs are. program: name in the usage line."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="How far runs are: samples done, failed by stage, in work and left; the rate and the time left. "
        "It reads the output folders alone, and works while processes run.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="output_dir of a run")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="print every so many seconds until all is done")
    given = parser.parse_args(argv)
    with errors_in_one_line():
        if given.watch is not None and not 0 < given.watch <= LONGEST_WATCH:
            raise ImapError(f"--watch {given.watch:g} is not a number of seconds above 0, up to {LONGEST_WATCH}")
        while not print_status(given.runs) and given.watch:
            time.sleep(given.watch)
            print()
