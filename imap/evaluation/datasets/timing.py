"""Prompts with the time of their verbs, without clips: a CSV of prompt, verb, and 0 or 1 for each latent frame.

    prompt,verb,0,1,2,3
    A dog jumps after a while.,jumps,0,0,1,1

Columns after verb are the latent frames, whatever their heads are. A prompt with several verbs has several rows.
"""

import csv
from pathlib import Path
from typing import Any

from imap.errors import ImapError, brief, first_line

COLUMNS = ("prompt", "verb")


def read_timing(path: Path) -> list[dict[str, Any]]:
    """Rows as {"caption", "verb", "frames"}: frames are booleans, one per latent frame.

    Raises ImapError for other columns and values, and for a prompt whose rows differ in length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise ImapError(f"{path} is not a CSV that can be read ({first_line(error)}); expected {_EXPECTED}") from None
    if tuple(x.strip().lower() for x in head[:2]) != COLUMNS or len(head) < 3:
        raise ImapError(f"{path} has the columns {', '.join(head)}; expected {_EXPECTED}")
    found, lengths = [], {}
    for number, row in enumerate(rows, 2):
        if not any(row):
            continue
        prompt, verb, *frames = (x.strip() for x in row)
        if not prompt or not verb or not frames or set(frames) - {"0", "1"}:
            raise ImapError(f"{path}, line {number} is {brief(row)}; expected {_EXPECTED}")
        if lengths.setdefault(prompt, len(frames)) != len(frames):
            raise ImapError(
                f"{path}, line {number}: {len(frames)} frames, and {lengths[prompt]} in an earlier row of it"
            )
        found.append({"caption": prompt, "verb": verb, "frames": [x == "1" for x in frames]})
    if not found:
        raise ImapError(f"{path} has no rows; expected {_EXPECTED}")
    return found


def entries_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list that `imap sample input_json=` reads: one entry per prompt, with its verbs."""
    verbs: dict[str, list[str]] = {}
    for row in rows:
        if row["verb"] not in verbs.setdefault(row["caption"], []):
            verbs[row["caption"]].append(row["verb"])
    return [{"caption": caption, "concepts": [], "object": words} for caption, words in verbs.items()]


_EXPECTED = "prompt, verb, and a 0 or a 1 for each latent frame"
