"""Run a list of samples: skip finished ones, go on after a failure, and write each sample all or nothing."""

import errno
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import imap
from imap.atomic import write_folder
from imap.claims import each_claimed
from imap.config.samples import Sample
from imap.errors import ImapError
from imap.jobs.output import Output
from imap.map_files import ARRAYS, META, TRUTH, VIDEO, VIEW, read_meta
from imap.media.truth import write_truth
from imap.media.video_io import clock_facts, write_video
from imap.runs import interrupts
from imap.runs.failures import ERRORS, record_failure
from imap.runs.folders import is_replaced_by
from imap.runs.request import NAMED, look_up

log = logging.getLogger("imap")
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "imageio", "av")


@dataclass
class Tally:
    """Folder names of the samples that a run has done, skipped as finished, and failed on."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        names = f" ({', '.join(self.failed[:3])}{' ...' if len(self.failed) > 3 else ''})" if self.failed else ""
        return f"{len(self.done)} done, {len(self.skipped)} already finished, {len(self.failed)} failed{names}"


@dataclass(frozen=True)
class Task:
    """One sample, the name of its folder, and its request. replaces: the plan has found a result of other settings."""

    name: str
    sample: Sample
    request: Mapping[str, Any]
    replaces: bool = False


def run_tasks(
    tasks: Sequence[Task],
    output_dir: Path,
    work: Callable[[Sample], Output],
    tally: Tally,
    facts: Mapping[str, Any],
    max_failures: int | None = None,
) -> None:
    """Do the tasks one by one, and write each result at once.

    Args:
        tasks: in order.
        output_dir: folder of the samples' folders.
        work: makes the output of a sample.
        tally: is updated after each task.
        facts: `fps` and others that `meta.json` records, and that are not part of the request.
        max_failures: stop after so many failed samples, those that failed the check included; None for any number.

    Raises:
        ImapError: after `max_failures`, for a full disk, or if a process with other settings works on the same folder.
    """
    made = 0
    with closing(each_claimed(tasks, lambda task: output_dir / task.name)) as claimed:
        for count, task in enumerate(claimed, 1):
            interrupts.check()
            if max_failures is not None and len(tally.failed) >= max_failures:
                raise ImapError(
                    f"{len(tally.failed)} samples have failed, and max_failures={max_failures}; the run stops. "
                    f"{output_dir / ERRORS} has the reasons; the same command continues"
                )
            place, found = f"[{count}/{len(tasks)}]", look_up(output_dir / task.name, task.request)
            if found.changed and not task.replaces:
                raise ImapError(
                    f"{output_dir}: another process works on this folder with other settings "
                    f"({', '.join(found.changed[:NAMED])}), and has made {task.name}; nothing of it was replaced. "
                    "Give each run its own output_dir"
                )
            if found.is_finished:
                tally.skipped.append(task.name)
                made += 1
            else:
                log.info("%s %s", place, task.name)
                _do_task(task, output_dir, work, tally, facts, place)
    if made:
        log.info("samples made by other processes meanwhile: %d", made)


def _do_task(
    task: Task,
    output_dir: Path,
    work: Callable[[Sample], Output],
    tally: Tally,
    facts: Mapping[str, Any],
    place: str,
) -> None:
    """Do one task, or record why it failed. place: in the list, for the log."""
    start, stage = time.perf_counter(), "maps"
    folder = output_dir / task.name
    try:
        _refuse_other_sample(folder, task)
        output = work(task.sample)
        stage = "write"
        with interrupts.uninterrupted():
            write_sample(folder, output, task.request, facts)
            tally.done.append(task.name)
    except Exception as error:
        interrupts.check()  # the error may be what a library has made of an interrupt
        if _is_full(error):
            raise ImapError(
                f"no space left on the device of {output_dir}: {task.name} was not written. What was finished is "
                "there; make room, and run the same command again"
            ) from error
        tally.failed.append(task.name)
        record_failure(output_dir, task.name, stage, error)
    else:
        log.info("%s %s: %.1f s", place, folder, time.perf_counter() - start)


def _refuse_other_sample(folder: Path, task: Task) -> None:
    """Raise ImapError if another process has put another sample there since the plan."""
    earlier = (read_meta(folder) or {}).get("request")
    if earlier is not None and not is_replaced_by(earlier, task.request):
        raise ImapError(f"{folder} holds another sample now; run the same command again")


@contextmanager
def finished_on_interrupt(output_dir: Path, tally: Tally) -> Iterator[None]:
    """Log what is finished if an interrupt ends what is inside."""
    try:
        yield
    except KeyboardInterrupt:
        log.info("%s: %s", output_dir, tally)
        raise


def write_sample(folder: Path, output: Output, wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the folder of one sample, all or nothing: output.mp4, npy/<key>.npy, truth.npz and meta.json.

    Args:
        folder: an older result in it is replaced.
        output: frames, maps and their record.
        wanted: the request.
        facts: as in `run_tasks`.
    """

    def write(partial: Path) -> None:
        start = time.perf_counter()
        clock = facts["fps"] if output.times is None else output.times
        write_video(partial / VIDEO, output.frames, clock)
        if output.truth is not None:
            write_truth(partial / TRUTH, output.truth)
        record = {**output.record, **facts, **clock_facts(clock), "versions": versions(), "request": wanted}
        record["seconds"] = {**output.record["seconds"], "write": round(time.perf_counter() - start, 4)}
        output.maps.write(partial, record)

    write_folder(folder, write, replaces=(META, ARRAYS, VIDEO, VIEW, TRUTH))


def _is_full(error: BaseException) -> bool:
    """Whether a disk was full, also for the error of a video library."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def versions() -> dict[str, str]:
    """Versions of Python, of imap and of the packages that a result depends on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:  # reading them takes 10 ms, for every sample
    installed = {"python": platform.python_version(), "imap": imap.__version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed
