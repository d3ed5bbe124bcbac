"""Several devices of one machine: a process for each does its part of the list, and then helps with the others."""

import json
import logging
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imap.config.scale import CPU
from imap.errors import ImapError
from imap.runs import interrupts
from imap.runs.batch import Tally
from imap.runs.plan import Plan
from imap.runs.request import look_up

log = logging.getLogger("imap")
PLAN = "plan.pickle"
THREADS = "OMP_NUM_THREADS"
PROGRESS = re.compile(r"\d+%\|")  # of a bar, of which many would be on one terminal


@dataclass
class Worker:
    """A process of one device.

    Attributes:
        name: of the device, such as `GPU 0`.
        tally: file of what it has done, once it has ended.
        stopped: the command itself ends it.
    """

    name: str
    process: subprocess.Popen
    tally: Path
    stopped: bool = False
    reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._pass_lines, daemon=True)
        self.reader.start()

    def stop(self) -> None:
        """Let the process end after its current write."""
        self.stopped = True
        self.process.terminate()

    def _pass_lines(self) -> None:
        """Log the lines of the process under its name, and how it ends if that is not as it should."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip().rpartition("\r")[2]
                if text and not PROGRESS.search(text):
                    log.info("[%s] %s", self.name, text)
        status = self.process.wait()
        if status and not self.stopped:
            log.error("[%s] its process has ended with status %d; the others go on", self.name, status)

    def result(self) -> Tally | None:
        """What it has done; None if it was killed."""
        try:
            return Tally(**json.loads(self.tally.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def tally_of(folder: Path, place: int) -> Path:
    """The file in which a process says what it has done. folder: temporary, of all processes. place: of the device."""
    return folder / f"tally-{place}.json"


def names_of(devices: Sequence[int | str]) -> list[str]:
    """Names of devices in the log."""
    return [f"CPU {place}" if device == CPU else f"GPU {device}" for place, device in enumerate(devices)]


def environment(device: int | str, count: int) -> dict[str, str]:
    """Variables of a process: its GPU, or its share of the CPU's threads. count: processes."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # it must import what this process imports
    variables = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"}
    if device == CPU:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        variables.setdefault(THREADS, str(max(1, cores // count)))
        return variables
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # a scheduler gives some of a machine's GPUs
    gpu = visible.split(",")[int(device)].strip() if visible else str(device)
    return variables | {"CUDA_VISIBLE_DEVICES": gpu}


def run_on_devices(todo: Plan, renoising: bool) -> None:
    """Run a plan's tasks in a process per device. The plan's tally takes up what all of them did.

    Raises:
        ImapError: if samples are not done because processes have ended early.
    """
    devices = todo.scale.devices
    log.info("%d processes: %s", len(devices), ", ".join(names_of(devices)))
    with tempfile.TemporaryDirectory(prefix="imap-") as temporary:
        folder, workers = Path(temporary), list[Worker]()
        (folder / PLAN).write_bytes(pickle.dumps((todo, renoising)))
        try:
            for place, (name, device) in enumerate(zip(names_of(devices), devices, strict=True)):
                process = subprocess.Popen(
                    [sys.executable, "-m", "imap.runs.worker", temporary, str(place)],
                    stdin=subprocess.PIPE,  # nothing is written to it: it ends when this process does
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment(device, len(devices)),
                    start_new_session=True,  # Ctrl-C comes to this process alone, which passes it on
                )
                workers.append(Worker(name, process, tally_of(folder, place)))
            for worker in workers:
                worker.reader.join()
        except BaseException:
            for worker in workers:
                worker.stop()
            raise
        finally:
            for worker in workers:
                worker.reader.join()
            _take_up(todo, {worker.name: worker.result() for worker in workers})
    interrupts.check()
    left = {task.name for task in todo.tasks} - {*todo.tally.done, *todo.tally.skipped, *todo.tally.failed}
    if left:
        raise ImapError(
            f"{len(left)} samples are not done, as processes have ended early: see above; run the same command again "
            "to continue"
        )


def _take_up(todo: Plan, results: Mapping[str, Tally | None]) -> None:
    """Log what each device did, and add it to the plan's tally. A sample that one of them has done is not failed."""
    tally, checked = todo.tally, {*todo.tally.failed}
    known = []
    for name, one in results.items():
        if one is not None:
            known.append(replace(one, failed=[x for x in one.failed if x not in checked]))
            log.info("[%s] %s", name, known[-1])
    done, failed, skipped = ({x for one in known for x in getattr(one, kind)} for kind in ("done", "failed", "skipped"))
    for task in todo.tasks:
        if task.name in done:
            tally.done.append(task.name)
        elif look_up(todo.run.output_dir / task.name, task.request).is_finished:  # by a process that was killed
            (tally.skipped if task.name in skipped else tally.done).append(task.name)
        elif task.name in failed:
            tally.failed.append(task.name)
