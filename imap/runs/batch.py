"""A run over a list of samples: finished ones are skipped, a failing one does not stop the rest, nothing is lost."""

import hashlib
import json
import logging
import platform
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import imap
from imap.atomic import restore, write_folder
from imap.config.samples import Sample
from imap.jobs.output import Output
from imap.map_files import ARRAYS, META, VIDEO, VIEW, read_meta
from imap.media.clips import write_video

log = logging.getLogger("imap")
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "imageio", "av")
ERRORS = "errors.jsonl"


@dataclass
class Tally:
    """What became of the samples of a run."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        names = f" ({', '.join(self.failed[:3])}{' ...' if len(self.failed) > 3 else ''})" if self.failed else ""
        return f"{len(self.done)} done, {len(self.skipped)} already finished, {len(self.failed)} failed{names}"


def request(sample: Sample, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the result of a sample, in plain values: what `meta.json` records and resuming compares."""
    clip = (
        {"video_path": str(sample.video_path), "video_sha256": _digest(sample.video_path)} if sample.video_path else {}
    )
    own = {"prompt": sample.prompt, "concepts": list(sample.concepts), "motions": list(sample.motions), **clip}
    return json.loads(json.dumps({"sample": own, "settings": settings}))


def is_finished(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the folder holds the finished result of this very request; says in the log what has changed if not."""
    restore(folder)
    meta = read_meta(folder)
    if meta is None:
        return False
    changed = difference(meta.get("request"), wanted)
    if changed:
        names = ", ".join(x.split(".", 1)[-1] for x in changed[:4])
        log.info("%s: asked for with other settings (%s); the new result will replace the old one", folder.name, names)
    return not changed


@dataclass(frozen=True)
class Task:
    """One sample, the name of its folder, and all that decides its result."""

    name: str
    sample: Sample
    request: Mapping[str, Any]


def run_tasks(
    tasks: Sequence[Task],
    output_dir: Path,
    work: Callable[[Sample], Output],
    tally: Tally,
    more: Mapping[str, Any],
) -> None:
    """Do the tasks one by one, and write each as soon as it is there.

    more: recorded with each sample (fps among it), and no reason to do a finished one again.
    """
    for count, task in enumerate(tasks, 1):
        start, stage = time.perf_counter(), "maps"
        log.info("[%d/%d] %s", count, len(tasks), task.name)
        try:
            output = work(task.sample)
            stage = "write"
            write_sample(output_dir / task.name, output, task.request, more)
        except Exception as error:
            tally.failed.append(task.name)
            record_failure(output_dir, task.name, stage, error)
            continue
        tally.done.append(task.name)
        log.info("[%d/%d] %s: %.1f s", count, len(tasks), output_dir / task.name, time.perf_counter() - start)


def write_sample(folder: Path, output: Output, wanted: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """The folder of one sample: output.mp4, npy/<key>.npy and meta.json, all or nothing."""

    def write(partial: Path) -> None:
        start = time.perf_counter()
        write_video(partial / VIDEO, output.frames, more["fps"])
        record = {**output.record, **more, "versions": versions(), "request": wanted}
        record["seconds"] = {**output.record["seconds"], "write": round(time.perf_counter() - start, 4)}
        output.maps.write(partial, record)

    write_folder(folder, write, replaces=(META, ARRAYS, VIDEO, VIEW))


def record_failure(output_dir: Path, name: str, stage: str, error: Exception) -> None:
    """One line in the log, and the whole story in errors.jsonl."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    log.error("%s failed (%s): %s", name, stage, reason)
    story = "".join(traceback.format_exception(error))
    entry = {"sample": name, "stage": stage, "error": f"{type(error).__name__}: {error}", "traceback": story}
    with (output_dir / ERRORS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def versions() -> dict[str, str]:
    """Versions of Python, of imap and of the packages that decide a result."""
    found = {"python": platform.python_version(), "imap": imap.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def difference(one: Any, other: Any, path: str = "") -> Sequence[str]:
    """Names of the settings in which two nested mappings differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = dict.fromkeys([*one, *other])
        return [x for name in names for x in difference(one.get(name), other.get(name), f"{path}.{name}".lstrip("."))]
    return [] if one == other else [path]
