"""Ref-DAVIS-2017: DAVIS-2017 with expressions, each of one object.

    <root>                                     as of DAVIS-2017
    <root>/davis_text_annotations/Davis17_annot1_full_video.txt, Davis17_annot2_full_video.txt
    <root>/davis_text_annotations/Davis17_annot1.txt, Davis17_annot2.txt   written for the first frame alone

A line is: bike-packing 1 "a man riding a bicycle". The text folder may lie beside the root too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from imap.errors import ImapError, brief
from imap.evaluation.datasets import davis
from imap.evaluation.datasets.entry import Entry, Options
from imap.evaluation.datasets.words import words_of

TEXTS = "davis_text_annotations"
FILES = ("Davis17_annot1_full_video.txt", "Davis17_annot2_full_video.txt")
LINE = re.compile(r'(?P<sequence>\S+)\s+(?P<object>\d+)\s+"?(?P<text>.+?)"?\s*')


def entries(root: Path, options: Options) -> Iterator[Entry]:
    """An entry per expression of the full-video files: two annotators wrote one of each object."""
    names = davis.sequences(root, options)
    folder = next((path / TEXTS for path in (root, root.parent) if (path / TEXTS).is_dir()), None)
    if folder is None:
        raise ImapError(f"{root} has no folder {TEXTS}, and none beside it; expected {' and '.join(FILES)} in it")
    for file in FILES:
        if not (folder / file).is_file():
            raise ImapError(f"{folder} has no file {file}; found {', '.join(sorted(x.name for x in folder.iterdir()))}")
    return _entries(root, folder, set(names), options)


def _entries(root: Path, folder: Path, names: set[str], options: Options) -> Iterator[Entry]:
    for annotator, file in enumerate(FILES, 1):
        for number, line in enumerate(read_text(folder / file).splitlines(), 1):
            if not line.strip():
                continue
            found = LINE.fullmatch(line)
            if found is None:
                raise ImapError(f'{folder / file}, line {number}: expected SEQUENCE NUMBER "TEXT", found {brief(line)}')
            if found["sequence"] in names:
                name = f"{found['sequence']}-{found['object']}-{annotator}"
                words = words_of(found["text"], name, options.words, "concept")
                yield davis.entry(root, found["sequence"], name, words, int(found["object"]), options)


def read_text(path: Path) -> str:
    """Text in UTF-8, else in Latin-1: the second annotator's file is in Latin-1."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
