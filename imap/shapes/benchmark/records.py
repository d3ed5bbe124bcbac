"""Resumable records: scores are written clip by clip, and an interrupted benchmark continues after the last clip."""

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
    """The file records.jsonl. Its first line has the settings; each other line has the records of one clip.

    A file of other settings is replaced. An incomplete last line is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open a file, or create it.

        Args:
            path: Path of the file.
            settings: Everything that determines the scores.
        """
        self.path, header = path, json.loads(json.dumps(settings))
        self._lines: list[dict[str, Any]] = []
        lines = _lines(path)
        if lines and lines[0] == header:
            self._lines = lines[1:]
            log.info("%s: continuing after %d finished clips", path, len(self._lines))
        elif lines:
            log.info("%s has other settings; it is replaced", path)
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in (header, *self._lines)), encoding="utf-8")
        os.replace(part, path)

    def done(self, part: str) -> set[int]:
        """Numbers of the finished clips of a part of the benchmark."""
        return {line["clip"] for line in self._lines if line["part"] == part}

    def add(self, part: str, clip: int, records: Sequence[Record]) -> None:
        """Append the records of a clip.

        Args:
            part: Part of the benchmark, such as "model".
            clip: Number of the clip.
            records: Its records.
        """
        self._lines.append({"part": part, "clip": clip, "records": [asdict(record) for record in records]})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._lines[-1]) + "\n")

    @property
    def records(self) -> list[Record]:
        """All records, sorted by part in order of appearance, then by clip."""
        parts = list(dict.fromkeys(line["part"] for line in self._lines))
        lines = sorted(self._lines, key=lambda line: (parts.index(line["part"]), line["clip"]))
        return [Record(**record) for line in lines for record in line["records"]]


def read_records(path: Path) -> list[Record]:
    """All records of a finished or interrupted benchmark."""
    return [Record(**record) for line in _lines(path)[1:] for record in line["records"]]


def _lines(path: Path) -> list[Any]:
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    lines = []
    for text in texts:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
