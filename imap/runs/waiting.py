"""Progress of submitted tasks, until none is left."""

import logging
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from imap.runs.failures import ERRORS
from imap.runs.request import look_up

if TYPE_CHECKING:
    from imap.runs.plan import Plan

log = logging.getLogger("imap")
LOOK = 5  # seconds between two looks


def wait(jobs: Sequence[Any], cluster: str, todo: "Plan") -> bool:
    """Show progress until no task is left. Returns whether every sample of the list is finished."""
    out, left = todo.run.output_dir, {task.name: task for task in todo.tasks}
    with tqdm(total=len(todo.names), initial=len(todo.tally.skipped), unit="sample") as bar:
        while True:
            states = slurm_states(array_of(jobs[0].job_id)) if cluster == "slurm" else _local_states(jobs)
            done = [name for name, task in left.items() if look_up(out / name, task.request).is_finished]
            for name in done:
                del left[name]
            bar.set_postfix_str(
                ", ".join(f"{count} {state}" for state, count in Counter(states).items()), refresh=False
            )
            bar.update(len(done))
            bar.refresh()
            if not states:
                break
            time.sleep(LOOK)
    missing = len(left) + len(todo.tally.failed)
    reasons = f"; {ERRORS} and the logs have the reasons, and the same command continues" if missing else ""
    log.info("%s: %d of %d finished%s", out, len(todo.names) - missing, len(todo.names), reasons)
    return not missing


def slurm_states(array: str) -> list[str]:
    """States of the tasks of an array that wait, run or end. No accounting is needed, as sacct would need it."""
    command = ["squeue", "--noheader", "--array", f"--jobs={array}", "--format=%T"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "Invalid job id" not in done.stderr:  # the controller does not answer
        return ["unknown"]
    return done.stdout.lower().split()


def _local_states(jobs: Sequence[Any]) -> list[str]:
    return ["running" for job in jobs if not job.done()]


def array_of(job_id: str) -> str:
    """Number of the array that a task belongs to."""
    return job_id.partition("_")[0]
