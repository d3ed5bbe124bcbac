"""One process of `devices=[...]`: python -m imap.runs.worker FOLDER PLACE. imap.runs.devices starts it."""

import json
import os
import pickle
import signal
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path


def main(folder: Path, place: int) -> None:
    """Do a device's share of a plan. folder: holds the plan, and takes up the tally. place: of the device."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from imap.runs.batch import Tally, finished_on_interrupt  # these take seconds, in which the parent may end
    from imap.runs.devices import PLAN, tally_of
    from imap.runs.interrupts import ends_on_signals
    from imap.runs.log import errors_in_one_line, plain_log
    from imap.runs.runner import run_plan
    from imap.runs.shards import share_of

    plain_log()
    with ends_on_signals(), errors_in_one_line():
        todo, renoising = pickle.loads((folder / PLAN).read_bytes())
        tasks = share_of(todo.tasks, todo.names, todo.scale, place, todo.run.output_dir)
        todo = replace(todo, tasks=tasks, tally=Tally(failed=list(todo.tally.failed)))
        try:
            with finished_on_interrupt(todo.run.output_dir, todo.tally):
                if tasks:
                    run_plan(todo, renoising)
        finally:
            tally_of(folder, place).write_text(json.dumps(asdict(todo.tally)))


def _end_with_parent() -> None:
    """End after the current write when the parent is gone, also after kill -9: then the input ends."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
