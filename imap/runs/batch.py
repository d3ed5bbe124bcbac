"""Run a list of samples: skip finished ones, go on after a failure, and write each sample all or nothing."""

import errno
import hashlib
import json
import logging
import platform
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import imap
from imap.atomic import restore, write_folder
from imap.config.samples import Sample
from imap.errors import ImapError, first_line
from imap.jobs.output import Output
from imap.map_files import ARRAYS, META, VIDEO, VIEW, damaged, read_meta
from imap.media.video_io import clock_facts, write_video

log = logging.getLogger("imap")
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "imageio", "av")
ERRORS = "errors.jsonl"


@dataclass
class Tally:
    """Folder names of the samples that a run has done, skipped as finished, and failed on."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        names = f" ({', '.join(self.failed[:3])}{' ...' if len(self.failed) > 3 else ''})" if self.failed else ""
        return f"{len(self.done)} done, {len(self.skipped)} already finished, {len(self.failed)} failed{names}"


def request(sample: Sample, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that determines the result of a sample, in plain values.

    `meta.json` records it, and a later run compares it to find finished samples.

    Args:
        sample: prompt, words and, for renoising, a clip. The clip's SHA-256 is part of the request.
        settings: recorded settings of the model, the run and the method.
    """
    clip = (
        {"video_path": str(sample.video_path), "video_sha256": _sha256(sample.video_path)} if sample.video_path else {}
    )
    texts = {"prompt": sample.prompt, "concepts": list(sample.concepts), "motions": list(sample.motions)}
    return json.loads(json.dumps({"sample": texts | clip, "settings": settings}))


def is_finished(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the folder has the result of the same request. Otherwise the log lists the changed settings."""
    restore(folder)
    meta = read_meta(folder)
    if meta is None:
        return False
    changed = difference(meta.get("request"), wanted)
    if changed:
        names = ", ".join(x.split(".", 1)[-1] for x in changed[:4])
        log.info("%s: settings have changed (%s); the new result replaces the old one", folder.name, names)
    broken = damaged(folder, meta)
    if broken:
        log.warning("%s: %s missing or damaged; the sample is made again", folder.name, ", ".join(broken[:4]))
    return not changed and not broken


@dataclass(frozen=True)
class Task:
    """One sample, the name of its folder, and its request."""

    name: str
    sample: Sample
    request: Mapping[str, Any]


def run_tasks(
    tasks: Sequence[Task],
    output_dir: Path,
    work: Callable[[Sample], Output],
    tally: Tally,
    facts: Mapping[str, Any],
) -> None:
    """Do the tasks one by one, and write each result at once.

    Args:
        tasks: in order.
        output_dir: folder of the samples' folders.
        work: makes the output of a sample.
        tally: is updated after each task.
        facts: `fps` and others that `meta.json` records, and that are not part of the request.
    """
    for count, task in enumerate(tasks, 1):
        start, stage = time.perf_counter(), "maps"
        log.info("[%d/%d] %s", count, len(tasks), task.name)
        try:
            output = work(task.sample)
            stage = "write"
            write_sample(output_dir / task.name, output, task.request, facts)
        except Exception as error:
            if _is_full(error):
                raise ImapError(
                    f"no space left on the device of {output_dir}: {task.name} was not written. What was finished is "
                    "there; make room, and run the same command again"
                ) from error
            tally.failed.append(task.name)
            record_failure(output_dir, task.name, stage, error)
            continue
        tally.done.append(task.name)
        log.info("[%d/%d] %s: %.1f s", count, len(tasks), output_dir / task.name, time.perf_counter() - start)


def write_sample(folder: Path, output: Output, wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the folder of one sample, all or nothing: output.mp4, npy/<key>.npy and meta.json.

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
        record = {**output.record, **facts, **clock_facts(clock), "versions": versions(), "request": wanted}
        record["seconds"] = {**output.record["seconds"], "write": round(time.perf_counter() - start, 4)}
        output.maps.write(partial, record)

    write_folder(folder, write, replaces=(META, ARRAYS, VIDEO, VIEW))


def record_failure(output_dir: Path, name: str, stage: str, error: Exception) -> None:
    """Log one line, and add the traceback to errors.jsonl. stage: check, maps or write."""
    reason = first_line(error)
    log.error("%s failed (%s): %s", name, stage, reason)
    entry = {
        "sample": name,
        "stage": stage,
        "error": f"{type(error).__name__}: {error}",
        "traceback": "".join(traceback.format_exception(error)),
    }
    try:
        with (output_dir / ERRORS).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    except OSError as trouble:
        log.error("%s cannot be written (%s); the run goes on", output_dir / ERRORS, trouble.strerror)


def _is_full(error: BaseException) -> bool:
    """Whether a disk was full, also for the error of a video library."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def versions() -> dict[str, str]:
    """Versions of Python, of imap and of the packages that a result depends on."""
    installed = {"python": platform.python_version(), "imap": imap.__version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed


def _sha256(path: Path) -> str | None:
    if not path.is_file():  # a pipe would wait for a writer
        return None
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def difference(one: Any, other: Any, path: str = "") -> Sequence[str]:
    """Dotted names of the settings in which two nested mappings differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = dict.fromkeys([*one, *other])
        return [x for name in names for x in difference(one.get(name), other.get(name), f"{path}.{name}".lstrip("."))]
    return [] if one == other else [path]
