"""errors.jsonl: why samples failed, one line each."""

import json
import logging
import os
import traceback
from collections.abc import Collection
from pathlib import Path

from imap.atomic import replaced
from imap.claims import claim
from imap.errors import first_line

log = logging.getLogger("imap")
ERRORS = "errors.jsonl"


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
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    path = output_dir / ERRORS
    try:
        with claim(path, wait=True), path.open("ab+") as file:
            file.seek(-1 if file.tell() else 0, os.SEEK_END)
            torn = file.read() not in (b"", b"\n")  # a killed process has left half a line
            file.write(b"\n" * torn + line.encode("utf-8", "backslashreplace"))
    except OSError as trouble:
        log.error("%s cannot be written (%s); the run goes on", path, trouble.strerror)


def forget_failures(output_dir: Path, finished: Collection[str]) -> None:
    """Drop the lines of samples that are finished now. Without any line left, the file is removed."""
    path = output_dir / ERRORS
    if not finished or not path.is_file():
        return
    names = set(finished)
    try:
        with claim(path, wait=True):
            lines = [line for line in path.read_text(encoding="utf-8", errors="backslashreplace").split("\n") if line]
            kept = [line for line in lines if _sample_of(line) not in names]
            if not kept:
                path.unlink()
            elif len(kept) < len(lines):
                with replaced(path) as new:
                    new.write_text("\n".join([*kept, ""]), encoding="utf-8")
    except (OSError, ValueError) as trouble:
        log.error("%s cannot be brought up to date (%s)", path, first_line(trouble))


def _sample_of(line: str) -> str | None:
    """Name of the sample of a line; None for a line that is not ours."""
    try:
        name = json.loads(line)["sample"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
