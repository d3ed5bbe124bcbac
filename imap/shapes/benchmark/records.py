"""Records of a benchmark as they come, one line per clip: a run that was stopped goes on from there."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imap.shapes.benchmark.scoring import Record

log = logging.getLogger("imap")


class RecordFile:
    """records.jsonl: its first line tells what was asked for, each other one a part of the table, a clip, its records.

    A file of other settings is replaced, and a line that was cut off is left out.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path, asked = path, json.loads(json.dumps(asked))
        self._lines: list[dict[str, Any]] = []
        lines = _lines(path)
        if lines and lines[0] == asked:
            self._lines = lines[1:]
            log.info("%s: going on behind %d finished clips", path, len(self._lines))
        elif lines:
            log.info("%s is of other settings, and is replaced", path)
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in (asked, *self._lines)), encoding="utf-8")
        os.replace(part, path)

    def done(self, part: str) -> set[int]:
        """Clips of a part that are finished."""
        return {line["clip"] for line in self._lines if line["part"] == part}

    def add(self, part: str, clip: int, records: Sequence[Record]) -> None:
        """Write down a clip."""
        self._lines.append({"part": part, "clip": clip, "records": [asdict(record) for record in records]})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._lines[-1]) + "\n")

    @property
    def records(self) -> list[Record]:
        """All records, in the order of the parts' first lines and of the clips."""
        parts = list(dict.fromkeys(line["part"] for line in self._lines))
        lines = sorted(self._lines, key=lambda line: (parts.index(line["part"]), line["clip"]))
        return [Record(**record) for line in lines for record in line["records"]]


def _lines(path: Path) -> list[Any]:
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for text in texts:
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found
