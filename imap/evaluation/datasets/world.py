"""Clips of the embedded world: clips.json, with a truth file beside every clip. `imap shapes render` makes more."""

from collections.abc import Iterator
from pathlib import Path

from imap.evaluation.datasets import folder
from imap.evaluation.datasets.entry import Entry, Options


def entries(root: Path, options: Options) -> Iterator[Entry]:
    """An entry per clip. Its truth says when things move."""
    return folder.entries(root, options, needs_truth=True)
