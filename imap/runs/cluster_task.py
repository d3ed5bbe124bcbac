"""What a job of a cluster runs: the command as a child process, requeued when the cluster takes the node away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STOPPED = (-signal.SIGTERM, -signal.SIGUSR2, 128 + signal.SIGTERM)  # exit statuses of a command that the cluster ends
PATIENCE = 600  # seconds until the cluster ends a job that it has signalled to stop
STOP = 30  # seconds for the command to end after its current write


@dataclass(frozen=True)
class ClusterTask:
    """A task. submitit pickles it, and calls it on the node. Finished samples are all that it needs to go on.

    Attributes:
        arguments: of `imap`, with the task's own shard.
    """

    arguments: Sequence[str]

    def __call__(self) -> None:
        """Run the command. Exit with its status, unless that is 0."""
        process = subprocess.Popen([sys.executable, "-m", "imap", *self.arguments])
        try:
            status = process.wait()
            if status in STOPPED and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
                # SLURM ends this process next, or has submitit requeue it by another signal. A job that ended by
                # itself now would not come back.
                print(
                    "signalled; waiting for the cluster to end or requeue this task",
                    file=sys.stderr,
                    flush=True,
                )
                time.sleep(PATIENCE)
        finally:  # submitit leaves by an exception after it has requeued the job
            end(process)
        if status:
            sys.exit(status if status > 0 else 128 - status)

    def checkpoint(self) -> Any:
        """What submitit runs after a requeue: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def end(process: subprocess.Popen) -> None:
    """End a command after its current write, or at once if that takes too long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
