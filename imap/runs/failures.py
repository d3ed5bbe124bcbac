"""errors.jsonl: why samples failed, one line each."""

import json
import logging
import os
import traceback
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from imap.atomic import replaced
from imap.claims import claim
from imap.errors import first_line

log = logging.getLogger("imap")
ERRORS = "errors.jsonl"
CHECK = "check"  # stage of failures that are found before the model is loaded


def record_failure(output_dir: Path, name: str, stage: str, error: Exception) -> None:
    """Log one line, and add the traceback to errors.jsonl. stage: check, maps or write."""
    log_failure(name, stage, first_line(error))
    path = output_dir / ERRORS
    try:
        with claim(path, wait=True), path.open("ab+") as file:
            file.seek(-1 if file.tell() else 0, os.SEEK_END)
            torn = file.read() not in (b"", b"\n")  # a killed process has left half a line
            file.write(b"\n" * torn + _line(name, stage, error))
    except OSError as trouble:
        log.error("%s cannot be written (%s); the run goes on", path, trouble.strerror)


def log_failure(name: str, stage: str, reason: str) -> None:
    """Log why a sample failed."""
    log.error("%s failed (%s): %s", name, stage, reason)


def record_checks(output_dir: Path, checked: Collection[str], problems: Mapping[str, Exception]) -> None:
    """Put the samples that fail the check into errors.jsonl, in place of what earlier checks of the same ones found.

    checked: names of samples. problems: of those that fail, by name.
    """
    path, names = output_dir / ERRORS, set(checked)
    if not problems and not path.is_file():
        return
    new = b"".join(_line(name, CHECK, error) for name, error in problems.items())
    try:
        with claim(path, wait=True):
            lines = _lines(path)
            kept = [x for x in lines if not ((entry := _entry(x)) and entry[1] == CHECK and entry[0] in names)]
            if new or len(kept) < len(lines):
                _write(path, kept, new)
    except OSError as trouble:
        log.error("%s cannot be written (%s); the run goes on", path, trouble.strerror)


def failures_of(output_dir: Path, since: str = "") -> dict[str, str]:
    """Stage of the last failure of each sample, by its name.

    since: ISO time in UTC; earlier failures are left out, but for those of the check, which each run replaces.
    """
    try:
        entries = [_entry(line) for line in _lines(output_dir / ERRORS)]
    except OSError:
        return {}
    return {name: stage for name, stage, at in filter(None, entries) if stage == CHECK or at >= since}


def forget_failures(output_dir: Path, finished: Collection[str]) -> None:
    """Drop the lines of samples that are finished now. Without any line left, the file is removed."""
    path = output_dir / ERRORS
    if not finished or not path.is_file():
        return
    names = set(finished)
    try:
        with claim(path, wait=True):
            lines = _lines(path)
            kept = [line for line in lines if not ((entry := _entry(line)) and entry[0] in names)]
            if len(kept) < len(lines):
                _write(path, kept)
    except OSError as trouble:
        log.error("%s cannot be brought up to date (%s)", path, first_line(trouble))


def _line(name: str, stage: str, error: Exception) -> bytes:
    entry = {
        "sample": name,
        "stage": stage,
        "error": f"{type(error).__name__}: {error}",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "traceback": "".join(traceback.format_exception(error)),
    }
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _write(path: Path, lines: Sequence[bytes], more: bytes = b"") -> None:
    """Replace the file, or remove it if nothing is left."""
    if not lines and not more:
        path.unlink(missing_ok=True)
        return
    with replaced(path) as new:
        new.write_bytes(b"".join(line + b"\n" for line in lines) + more)


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().split(b"\n") if line] if path.is_file() else []


def _entry(line: bytes) -> tuple[str, str, str] | None:
    """Sample, stage and time of a line; None for a line that is not ours. Earlier versions wrote no time."""
    try:
        entry = json.loads(line)
        name, stage, at = entry["sample"], entry["stage"], entry.get("time", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return (name, stage, at) if all(isinstance(x, str) for x in (name, stage, at)) else None
