"""Data sets as they are laid out on disk, one module each, in one common shape: an iterator of entries.

A module has `entries(root, options)`, which yields `imap.evaluation.datasets.entry.Entry`. It checks the layout before
the first entry, and raises ImapError with what was expected and what was found.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from imap.errors import ImapError, brief
from imap.evaluation.datasets.entry import Entry, Options

NAMES = {  # module of this folder, and its line in --help
    "mevis": ("mevis", "MeViS, version 1 or 2"),
    "vspw": ("vspw", "VSPW, semantic classes of every pixel"),
    "davis": ("davis", "DAVIS-2017, objects without words"),
    "ref-davis": ("ref_davis", "Ref-DAVIS-2017, DAVIS with text annotations"),
    "ref-youtube-vos": ("ref_youtube_vos", "Ref-YouTube-VOS"),
    "folder": ("folder", "your clips with masks"),
    "world": ("world", "clips of the embedded world, with their truth"),
}


def entries(name: str, root: Path, options: Options) -> Iterator[Entry]:
    """Entries of a data set. Raises ImapError for an unknown name, and for a root of another layout."""
    if name not in NAMES:
        raise ImapError(f"the data set {brief(name)} is not known; choose {', '.join(NAMES)}")
    if not root.is_dir():
        raise ImapError(f"{root} is not a folder; expected the root of {NAMES[name][1]}")
    return import_module(f"{__name__}.{NAMES[name][0]}").entries(root, options)
