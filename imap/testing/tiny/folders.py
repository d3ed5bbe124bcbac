"""Tiny pipelines as folders on disk: written once, whole or not at all, and shared by every process that asks."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import transformers
from diffusers import DiffusionPipeline
from transformers.utils import logging as transformers_logging

# Counts up with every change of the weights, configs or tokenizers that build() makes: older folders are left alone.
VERSION = 1

CONTENTS = "contents.json"


def saved(name: str, build: Callable[[], DiffusionPipeline], root: Path | None = None) -> Path:
    """Returns the folder that holds the pipeline `build()` makes, writing it first where there is no whole one.

    root: where the folder lies; by default `imap` in $XDG_CACHE_HOME or ~/.cache, or in the temporary folder
    where those cannot be written. Raises OSError where none can be, or a folder of that name cannot be replaced.
    """
    root = _default_root() if root is None else Path(root)
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"tiny-{name}-{VERSION}-diffusers-{diffusers.__version__}-transformers-{transformers.__version__}"
    if _is_whole(target):
        return target
    # A sibling, because os.replace is atomic only within one file system.
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=root))
    try:
        fresh = scratch / "fresh"
        with _no_progress_bars():
            build().save_pretrained(fresh)
        (fresh / CONTENTS).write_text(_listing(fresh))
        _put(fresh, target, aside=scratch / "broken")
    finally:
        shutil.rmtree(scratch)
    return target


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """A bar for a few kilobytes would be the first thing that a new user reads."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _put(fresh: Path, target: Path, aside: Path) -> None:
    """Moves `fresh` to `target`, unless another process has put a whole folder there meanwhile."""
    if target.exists() and not _is_whole(target):
        os.replace(target, aside)
    try:
        os.replace(fresh, target)
    except OSError:
        # A folder with files in it is not replaced. Another process's is as good as ours.
        if not _is_whole(target):
            raise


def _is_whole(folder: Path) -> bool:
    """Returns whether every file is there in its full size, as when it was written."""
    contents = folder / CONTENTS
    return contents.is_file() and contents.read_text() == _listing(folder)


def _listing(folder: Path) -> str:
    """Returns each file of the folder, other than the listing itself, with its size in bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CONTENTS)
    return json.dumps({path.relative_to(folder).as_posix(): path.stat().st_size for path in files}, indent=2)


def _default_root() -> Path:
    temporary = Path(tempfile.gettempdir()) / "imap"
    root = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "imap"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return temporary
    return root if os.access(root, os.W_OK | os.X_OK) else temporary
