"""errors.jsonl: why samples failed, one line each."""

import json
import logging
import os
import traceback
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
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


class FailuresSince:
    """Samples that have failed since the start of this process, in any process of the same folder."""

    def __init__(self, output_dir: Path) -> None:
        self.path = output_dir / ERRORS
        self.state: tuple[int, int] | None = None
        self.lines = Counter[str]()  # of each sample
        self.before = self._lines()

    def names(self) -> set[str]:
        """Names of the samples."""
        return set(self._lines() - self.before)

    def _lines(self) -> Counter[str]:
        """Lines of each sample. The file is read again only if it has changed."""
        with suppress(OSError):
            found = self.path.stat()
            state = (found.st_mtime_ns, found.st_size)
            if state != self.state:
                lines = self.path.read_text(encoding="utf-8", errors="backslashreplace").split("\n")
                self.state, self.lines = state, Counter(name for line in lines if (name := _sample_of(line)))
        return self.lines


def _sample_of(line: str) -> str | None:
    """Name of the sample of a line; None for a line that is not ours."""
    try:
        name = json.loads(line)["sample"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
