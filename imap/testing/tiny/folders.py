"""Tiny pipelines as folders on disk: written once, completely or not at all, and shared by all processes."""

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

# Increase it when build() makes other weights, configurations or tokenizers. Older folders are then not used.
VERSION = 1

CONTENTS = "contents.json"


def saved(name: str, build: Callable[[], DiffusionPipeline], root: Path | None = None) -> Path:
    """Folder of the pipeline that `build()` returns. It is written if no complete one exists.

    Args:
        name: Part of the folder's name.
        build: Function that builds the pipeline.
        root: Parent folder. By default it is `imap` in $XDG_CACHE_HOME or ~/.cache, or in the temporary folder if these
            are not writable.

    Raises:
        OSError: No parent folder is writable, or an incomplete folder of that name cannot be replaced.
    """
    root = _default_root() if root is None else Path(root)
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"tiny-{name}-{VERSION}-diffusers-{diffusers.__version__}-transformers-{transformers.__version__}"
    if _is_complete(target):
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
    """Hide transformers' progress bars, which would be a new user's first output."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _put(fresh: Path, target: Path, aside: Path) -> None:
    """Move `fresh` to `target`, unless another process has put a complete folder there."""
    if target.exists() and not _is_complete(target):
        os.replace(target, aside)
    try:
        os.replace(fresh, target)
    except OSError:
        # os.replace does not replace a folder with files. A complete folder of another process is equally good.
        if not _is_complete(target):
            raise


def _is_complete(folder: Path) -> bool:
    """Whether every file exists with the size that it had when it was written."""
    contents = folder / CONTENTS
    return contents.is_file() and contents.read_text() == _listing(folder)


def _listing(folder: Path) -> str:
    """JSON of the folder's files, without the listing itself, with their sizes in bytes."""
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
