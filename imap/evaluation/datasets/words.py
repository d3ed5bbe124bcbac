"""Words of an entry: which texts are nouns and which are motions. Data sets of expressions do not say it.

A CSV of the user's, or a list in the format of the release, says it. Otherwise the whole expression is one text.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imap.errors import ImapError, brief, first_line

KEYS = ("name", "caption")  # of a row: one of them says which entry it is for


@dataclass(frozen=True)
class Words:
    """Caption and words of an entry. source: how they were found, for the sidecar file."""

    caption: str
    concepts: tuple[str, ...]
    motions: tuple[str, ...]
    source: str


def normal(expression: str) -> str:
    """An expression for comparison: no case, no final period, single spaces."""
    return " ".join(expression.casefold().split()).rstrip(". ")


def split(text: Any) -> tuple[str, ...]:
    """Words of "a, b, c"."""
    texts = text.split(",") if isinstance(text, str) else text or ()
    return tuple(word for word in (" ".join(str(x).split()) for x in texts) if word)


def read_words(path: Path) -> dict[str, Words]:
    """Words by normal caption, and by name, from a CSV or a JSON list.

    Args:
        path: a CSV with the columns name or caption, concepts and object, of which the last two hold words with commas
            between them; or a list as `imap renoise` reads it. There, the name is that of the file in `video_path`.

    Raises:
        ImapError: for other files.
    """
    rows = _json(path) if path.suffix == ".json" else _csv(path)
    words: dict[str, Words] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ImapError(f"--words: {path}: entry {number} is {brief(row)}; expected an object with caption, object")
        concepts, motions = split(row.get("concepts")), split(row.get("object"))
        name = row.get("name") or Path(row.get("video_path") or "").stem
        caption = " ".join((row.get("caption") or "").split())
        if (not concepts and not motions) or not (name or caption):
            raise ImapError(
                f"--words: {path}: row {number} needs a name or a caption, and words in concepts or object; "
                f"found {brief({k: v for k, v in row.items() if v})}"
            )
        twice = [x for x in motions if x.casefold() in {y.casefold() for y in concepts}]
        if twice:
            raise ImapError(f"--words: {path}: row {number} has {brief(twice[0])} in concepts and in object")
        one = Words(caption, concepts, motions, f"from {path.name}")
        words |= {key: one for key in (name, normal(caption)) if key}
    return words


def _csv(path: Path) -> list[Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except FileNotFoundError:
        raise ImapError(f"--words: there is no file {path}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ImapError(f"--words: {path} is not a CSV that can be read: {first_line(error)}") from None
    columns = reader.fieldnames or []
    if not {"concepts", "object"} & set(columns) or not set(KEYS) & set(columns):
        raise ImapError(
            f"--words: {path} has the columns {', '.join(columns)}; expected name or caption, concepts, object"
        )
    return rows


def _json(path: Path) -> list[Any]:
    entries = read_json(path, "a list of entries with caption, concepts, object")
    if not isinstance(entries, list):
        raise ImapError(f"--words: {path} holds no list; expected entries with caption, concepts, object")
    return entries


def read_json(path: Path, expected: str) -> Any:
    """Contents of a JSON file. Raises ImapError for a file that is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ImapError(f"there is no file {path}; expected {expected}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ImapError(f"{path} is not JSON that can be read ({first_line(error)}); expected {expected}") from None


def words_of(expression: str, name: str, known: Mapping[str, Words], kind: str) -> Words:
    """Words of an expression: those of the user for its name, else for its text, else the expression as one text.

    Args:
        expression: a sentence or a phrase.
        name: of the entry.
        known: words by name and by normal caption.
        kind: concept or motion: what the whole expression is if there are no other words.
    """
    found = known.get(name) or known.get(normal(expression))
    if found:
        return Words(found.caption or expression, found.concepts, found.motions, found.source)
    text = " ".join(expression.split())
    concepts, motions = ((text,), ()) if kind == "concept" else ((), (text,))
    return Words(text, concepts, motions, f"the whole expression, as one {kind}")


def things(words: Words, objects: int) -> tuple[list[str], list[str], list[int]]:
    """Things of the objects that an expression means: noun and verb of each, and the number of its object.

    The first concept names the objects; other concepts are of things that have no masks. Every motion is one that each
    object does: an object with two motions is two things, and only the first carries the noun.
    """
    noun = words.concepts[0] if words.concepts else ""
    nouns, verbs, numbers = [], [], []
    for k in range(objects):
        for i, verb in enumerate(words.motions or ("",)):
            nouns.append("" if i else noun)
            verbs.append(verb)
            numbers.append(k)
    return nouns, verbs, numbers
