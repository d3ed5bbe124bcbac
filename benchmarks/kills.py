"""Kill runs at random moments, shards on one folder, and compare what they leave with an undisturbed run.

Processes of `imap sample` with pictures are the shards of a small list. Each is ended by kill -9 at a random moment,
also while it imports or waits, and starts again until the list is done. Then every file must be that of the undisturbed
run, byte by byte (but for recorded seconds, and for what run.json has of a process), and no file may be left over. The
exit status is 1 otherwise.

python -m benchmarks.kills --kills 100                  # about ten minutes on one core
python -m benchmarks.kills --kills 200 --shards 1 2 4   # the rounds take turns: one, two and four shards at once
python -m benchmarks.kills --kills 100 --folder kills   # resumes where it was stopped
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.record import write
from imap.map_files import META
from imap.runs.failures import ERRORS
from imap.runs.folders import RUN
from imap.view.run import REPORT

PROMPTS = ("a red ball rolls", "a dog jumps over a box", "日本", "中国", "a kite grows!", "a kite grows?")
SETTINGS = ("height=32", "width=48", "num_frames=5", "num_inference_steps=1", "pictures=true")
PER_ROUND = 12  # kills of one folder, at most; then its processes may finish
DURING_IMPORTS, ALL = 0.2, 0.2  # of all kills
JITTER = 0.1  # seconds
SECONDS = re.compile(r'"Seconds":\{[^}]*\}')  # of a card in the report
TIME = re.compile(rb'"time": "[^"]*", ')  # of a failure
OF_A_RUN = {"started": None, "command": None}  # entries of run.json that differ between two runs
OF_A_PROCESS = dict.fromkeys(("output_dir", "shard", "devices", "pictures"))  # settings that differ between processes
IMPORTS = "imports"
MOMENTS = {  # by the last line of the log that matches one of them
    "loading": r"^loading|^Loading|RANDOM weights",
    "maps and writing": r"^\[\d+/\d+\] \S+$",
    "waiting": r"^waiting for",
    "between samples": r"^\[\d+/\d+\] .",
    "pictures": r"^pictures:",
    "report": r"^report:|report\.html$",
    "the end": r"\d+ done, \d+ already finished",
}


@dataclass
class Slot:
    """A process that is started again after each kill."""

    log: Path
    process: subprocess.Popen
    index: int  # of the shard
    size: float  # bytes of the log, after which the kill comes
    delay: float  # seconds until the kill, from the start or from when the log has that size
    reached: float | None = None  # when it had that size

    def is_due(self) -> bool:
        """Whether the moment of the kill has come."""
        if self.reached is None and self.log.stat().st_size >= self.size:
            self.reached = time.monotonic()
        return self.reached is not None and time.monotonic() - self.reached > self.delay


@dataclass
class Killer:
    """Runs a list in a folder, and kills its processes.

    Attributes:
        listed: file of the list.
        imports, size: seconds until an undisturbed run writes its first line, and bytes of its log.
    """

    backbone: str
    listed: Path
    imports: float = 0.0
    size: int = 0
    draw: random.Random = field(default_factory=random.Random)

    def start(self, out: Path, index: int = 0, count: int = 1) -> Slot:
        """Start a shard on an output folder. index, count: of the shard."""
        log = Path(tempfile.mkstemp(dir=out.parent, suffix=".log")[1])
        command = [sys.executable, "-m", "imap", "sample", f"backbone={self.backbone}", f"input_json={self.listed}"]
        with log.open("w") as file:
            shard = (f"output_dir={out}", f"shard.index={index}", f"shard.count={count}")
            process = subprocess.Popen([*command, *shard, *SETTINGS], stdout=file, stderr=file)
        if self.draw.random() < DURING_IMPORTS:
            return Slot(log, process, index, 0, self.draw.uniform(0, self.imports))
        return Slot(log, process, index, self.draw.uniform(1, max(1, self.size)), self.draw.uniform(0, JITTER))

    def undisturbed(self, out: Path) -> None:
        """Run once without a kill, and take its time and its size."""
        slot, start = self.start(out), time.monotonic()
        while not slot.log.stat().st_size and slot.process.poll() is None:
            time.sleep(0.01)
        self.imports = time.monotonic() - start
        if slot.process.wait():
            raise RuntimeError(f"the undisturbed run failed:\n{slot.log.read_text()}")
        self.size = slot.log.stat().st_size

    def disturbed(self, out: Path, shards: int, most: int) -> dict[str, Any]:
        """Run shards until the list is done. most: kills. Returns moments of the kills, and what failed."""
        moments: Counter[str] = Counter()
        slots, failed = [self.start(out, index, shards) for index in range(shards)], []
        try:
            while slots:
                time.sleep(0.005)
                for slot in [slot for slot in slots if slot.process.poll() is not None]:
                    slots.remove(slot)
                    if slot.process.returncode:
                        failed.append(f"status {slot.process.returncode}: {lines_of(slot.log)[:1]}")
                due = [slot for slot in slots if slot.is_due()] if moments.total() < most else []
                if due and self.draw.random() < ALL:
                    due = list(slots)
                for slot in due:
                    slot.process.kill()
                    slot.process.wait()
                    moments[moment(slot.log)] += 1
                    slots[slots.index(slot)] = self.start(out, slot.index, shards)
        finally:
            for slot in slots:  # after Ctrl-C
                slot.process.kill()
        return {"moments": dict(moments), "failed": failed}


def lines_of(log: Path) -> list[str]:
    """What a process has written, the last line first; progress bars write over their line."""
    return [line.strip() for line in re.split(r"[\r\n]+", log.read_text(errors="replace")) if line.strip()][::-1]


def moment(log: Path) -> str:
    """What a process was doing at the end of its log."""
    known = (name for line in lines_of(log) for name, pattern in MOMENTS.items() if re.search(pattern, line))
    return next(known, IMPORTS)


def files_of(out: Path) -> dict[str, bytes]:
    """Contents of all files, by path; of records and the report, without what a run has of itself."""
    return {path.relative_to(out).as_posix(): content(path) for path in sorted(out.rglob("*")) if path.is_file()}


def content(path: Path) -> bytes:
    """Bytes of a file, without seconds and times, and without what run.json has of the process that wrote it."""
    if path.name == META:
        return json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"seconds": None}).encode()
    if path.name == RUN:
        record = json.loads(path.read_text(encoding="utf-8"))
        return json.dumps({**record, "config": {**record["config"], **OF_A_PROCESS}, **OF_A_RUN}).encode()
    if path.name == ERRORS:
        return TIME.sub(b"", path.read_bytes())
    if path.name == REPORT:
        return SECONDS.sub("", path.read_text(encoding="utf-8")).encode()
    return path.read_bytes()


def compare(out: Path, wanted: dict[str, bytes]) -> dict[str, list[str]]:
    """Names of files and folders that differ, are missing, and are left over."""
    found = files_of(out)
    folders = [path.relative_to(out).as_posix() for path in out.rglob(".*") if path.is_dir()]
    return {
        "different": [name for name in wanted if name in found and found[name] != wanted[name]],
        "missing": [name for name in wanted if name not in found],
        "left_over": [name for name in found if name not in wanted] + folders,
    }


def rounds(killer: Killer, folder: Path, kills: int, seed: int, shards: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Kill in one folder after the other, and yield the records. Rounds that `folder` has records of are not run again.

    Args:
        killer, folder: of the list, and of the rounds with their records.
        kills: in all rounds together.
        seed: of the random moments.
        shards: processes of a round; the rounds take turns.
    """
    wanted, number = files_of(folder / "undisturbed" / "out"), 0
    while kills > 0:
        record = folder / f"round-{number}.json"
        if not record.is_file():
            shutil.rmtree(folder / f"round-{number}", ignore_errors=True)
            out = folder / f"round-{number}" / "out"
            out.mkdir(parents=True)
            killer.draw, start = random.Random(f"{seed}-{number}"), time.monotonic()
            count = shards[number % len(shards)]
            done = killer.disturbed(out, count, min(kills, PER_ROUND)) | compare(out, wanted)
            done |= {"shards": count, "files": len(wanted), "seconds": round(time.monotonic() - start, 1)}
            record.write_text(json.dumps(done, indent=1))
            if is_good(done):
                shutil.rmtree(out.parent)
        done = json.loads(record.read_text())
        yield done
        kills -= sum(done["moments"].values())
        number += 1


def is_good(done: dict[str, Any]) -> bool:
    """Whether a round has left what the undisturbed run has."""
    return not any(done[key] for key in ("failed", "different", "missing", "left_over"))


def prepared(folder: Path, backbone: str) -> Killer:
    """Write the list, and run it undisturbed, twice for a first time: the first one may build the tiny model."""
    listed, times = folder / "list.json", folder / "times.json"
    entries = [{"caption": prompt, "concepts": "ball, dog", "object": "rolls"} for prompt in PROMPTS]
    listed.write_text(json.dumps(entries))
    killer = Killer(backbone, listed)
    if not times.is_file():
        for name in ("first", "undisturbed"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name / "out").mkdir(parents=True)
            killer.undisturbed(folder / name / "out")
        wrong = compare(folder / "first" / "out", files_of(folder / "undisturbed" / "out"))
        if any(wrong.values()):
            raise RuntimeError(f"two undisturbed runs differ: {wrong}")
        times.write_text(json.dumps([killer.imports, killer.size]))
    killer.imports, killer.size = json.loads(times.read_text())
    return killer


def main() -> int:
    """Kill, compare and print. Returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--shards", type=int, nargs="+", default=[2], help="at once, by round in turn")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--backbone", default="tiny_cogvideox")
    options.add_argument("--folder", type=Path, help="of the runs and their records; a temporary one otherwise")
    options.add_argument("--json", type=Path, help="append the rows to this file")
    given = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        done = list(rounds(prepared(folder, given.backbone), folder, given.kills, given.seed, given.shards))
    moments = sum((Counter(one["moments"]) for one in done), Counter())
    wrong = {key: [x for one in done for x in one[key]] for key in ("failed", "different", "missing", "left_over")}
    row = {
        "kills": moments.total(),
        "shards": " ".join(map(str, given.shards)),
        "rounds": len(done),
        "files": sum(one["files"] for one in done),
    }
    row |= {key: len(names) for key, names in wrong.items()}
    write([{"killed while": name, "kills": number} for name, number in moments.most_common()], None)
    write([row | {"seconds": round(sum(one["seconds"] for one in done)), "met": all(map(is_good, done))}], given.json)
    for key, names in wrong.items():
        print(*(f"{key}: {name}" for name in names[:10]), sep="\n", end="\n" if names else "")
    return 0 if all(map(is_good, done)) else 1


if __name__ == "__main__":
    sys.exit(main())
