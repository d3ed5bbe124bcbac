"""Simulate a list of clips on a cluster that preempts its tasks: time, efficiency and lost work.

python -m benchmarks.cluster                                        # 504 clips, 64 GPUs, five minutes a clip
python -m benchmarks.cluster --run outputs/renoising/wan2_1_14b     # with the seconds that a run has recorded

A task loads the model and then makes clips, its own part of the list first. A preemption ends it at a random moment:
the clip under way is lost, and the task starts again after a delay. With `parts`, each task has its part of the list
alone. With `claims`, as in imap, a task that is done helps with the clips that nobody works on. Then it waits, on its
GPU, until all are done, and takes over a clip that is cut off.
"""

import argparse
import heapq
import json
import random
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.record import write
from imap.map_files import META

RULES = ("parts", "claims")
AWAY, LOADING, WAITING = -1, -2, -3  # what a task does beside clips, which are numbered from 0


@dataclass(frozen=True)
class Cluster:
    """What is simulated. Times are seconds.

    Attributes:
        workers: tasks, with a GPU each.
        load: to load the model, after each start.
        preemption: mean time between two preemptions of a task; 0 for none.
        delay: from a preemption until the task runs again.
    """

    workers: int
    load: float
    preemption: float
    delay: float


def simulate(clips: Sequence[float], cluster: Cluster, rule: str, rng: random.Random) -> dict[str, float]:
    """One run of a list.

    Args:
        clips: seconds of each clip.
        cluster: where it runs.
        rule: one of RULES.
        rng: draws the preemptions.

    Returns:
        `hours` until the last clip is done; `efficiency`, the share of the occupied GPU time that made clips; `lost`,
        the GPU time of clips that were cut off, as a share of the clips' own time; `preemptions`.
    """
    run, work = _Run(clips, cluster, rule, rng), sum(clips)
    run.run()
    return {
        "hours": run.last / 3600,
        "efficiency": work / run.occupied,
        "lost": run.lost / work,
        "preemptions": run.preemptions,
    }


class _Run:
    """What is left and what each task does. Times are seconds from the start."""

    def __init__(self, clips: Sequence[float], cluster: Cluster, rule: str, rng: random.Random) -> None:
        self.clips, self.cluster, self.rule, self.rng = clips, cluster, rule, rng
        self.seconds = {**dict(enumerate(clips)), AWAY: cluster.delay, LOADING: cluster.load, WAITING: inf}
        self.left = [deque(range(worker, len(clips), cluster.workers)) for worker in range(cluster.workers)]
        self.cuts: dict[int, float] = {}  # when each task is preempted next
        self.doing: dict[int, tuple[int, float, int]] = {}  # by task: what it does, since when, number of the event
        self.events: list[tuple[float, int, int]] = []  # when a task ends what it does, number, task
        self.numbers = count()
        self.occupied = self.lost = self.last = 0.0
        self.preemptions = 0

    def run(self) -> None:
        """Until no task does anything."""
        for worker in range(self.cluster.workers):
            self._begin(worker, LOADING, 0.0)
        while self.events:
            now, number, worker = heapq.heappop(self.events)
            if worker not in self.doing or self.doing[worker][2] != number:
                continue  # it has waited, and does something else now
            self._next(worker, now)
            for one in [one for one, (what, _, _) in self.doing.items() if what == WAITING]:
                self._end(one, now)
                self._go_on(one, now)

    def _begin(self, worker: int, what: int, now: float) -> None:
        if what == LOADING:
            self.cuts[worker] = _preempted(self.cluster, self.rng, now)
        end = now + self.seconds[what]
        self.doing[worker] = what, now, next(self.numbers)
        event = (end if what == AWAY else min(end, self.cuts[worker]), self.doing[worker][2], worker)
        heapq.heappush(self.events, event)

    def _end(self, worker: int, now: float) -> tuple[int, float]:
        what, since, _ = self.doing.pop(worker)
        self.occupied += now - since if what != AWAY else 0
        return what, since

    def _next(self, worker: int, now: float) -> None:
        what, since = self._end(worker, now)
        if what == AWAY:
            self._begin(worker, LOADING, now)
        elif now < since + self.seconds[what]:
            self.preemptions += 1
            if what >= 0:
                self.lost += now - since
                self.left[what % self.cluster.workers].appendleft(what)
            self._begin(worker, AWAY, now)
        else:
            self.last = now if what >= 0 else self.last
            self._go_on(worker, now)

    def _go_on(self, worker: int, now: float) -> None:
        clip = _next_clip(self.left, worker, self.rule)
        if clip is not None:
            self._begin(worker, clip, now)
        elif self.rule == "claims" and any(what >= 0 for what, _, _ in self.doing.values()):
            self._begin(worker, WAITING, now)  # it takes over a clip that is cut off


def _preempted(cluster: Cluster, rng: random.Random, start: float) -> float:
    return start + rng.expovariate(1 / cluster.preemption) if cluster.preemption else float("inf")


def _next_clip(left: Sequence["deque[int]"], worker: int, rule: str) -> int | None:
    """The next clip of a task's part; with claims, else of the parts after it."""
    for part in range(len(left) if rule == "claims" else 1):
        clips = left[(worker + part) % len(left)]
        if clips:
            return clips.popleft()
    return None


def recorded(run: Path) -> list[float]:
    """Seconds of the finished samples of a run, without those for pictures."""
    metas = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.glob(f"[!.]*/{META}"))]
    return [sum(meta["seconds"].values()) for meta in metas]


def clip_times(options: argparse.Namespace, rng: random.Random) -> list[float]:
    """Seconds of every clip: drawn from those of a run, or with a spread of a tenth around the mean."""
    if options.run:
        known = recorded(options.run)
        return [rng.choice(known) for _ in range(options.clips)]
    return [max(rng.gauss(options.seconds, options.seconds / 10), options.seconds / 2) for _ in range(options.clips)]


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--clips", type=int, default=504)
    command.add_argument("--workers", type=int, default=64)
    command.add_argument("--seconds", type=float, default=300, help="of a clip, mean")
    command.add_argument("--run", type=Path, help="output_dir of a run: its seconds in place of --seconds")
    command.add_argument("--load", type=float, default=180, help="seconds to load the model")
    command.add_argument("--delay", type=float, default=120, help="seconds until a preempted task runs again")
    command.add_argument(
        "--hours", type=float, nargs="+", default=[0, 4, 1], help="mean time between preemptions; 0: none"
    )
    command.add_argument("--draws", type=int, default=200)
    command.add_argument("--json", type=Path)
    options = command.parse_args()
    rows: list[dict[str, Any]] = []
    for hours in options.hours:
        for rule in RULES:
            cluster = Cluster(options.workers, options.load, hours * 3600, options.delay)
            draws = []
            for seed in range(options.draws):
                rng = random.Random(seed)  # both rules get the same clips
                times = clip_times(options, rng)
                draws.append((simulate(times, cluster, rule, rng), sum(times)))
            mean = {name: statistics.mean(draw[name] for draw, _ in draws) for name in draws[0][0]}
            ideal = statistics.mean(total for _, total in draws) / options.workers / 3600
            rows.append(
                {
                    "clips": options.clips,
                    "workers": options.workers,
                    "preempted_every_h": hours or "never",
                    "rule": rule,
                    "hours": round(mean["hours"], 3),
                    "times_ideal": round(mean["hours"] / ideal, 2),
                    "efficiency": round(mean["efficiency"], 3),
                    "lost": round(mean["lost"], 3),
                    "preemptions": round(mean["preemptions"], 1),
                }
            )
    write(rows, options.json)


if __name__ == "__main__":
    main()
