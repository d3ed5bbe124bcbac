"""Write a folder all or nothing, and clean up what a killed run has left."""

import glob
import os
import re
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from imap.errors import ImapError

FOREIGN = (".DS_Store", "Thumbs.db", "desktop.ini")  # of file managers; they do not count as anybody's files
OF_A_SAMPLE = re.compile(r"\.\d{3,}-.+\.partial-\d+")  # half-written, by the process of that number
ONE_DAY = 24 * 60 * 60  # seconds


def write_folder(folder: Path, write: Callable[[Path], None], replaces: Collection[str]) -> Path:
    """Fill a sibling folder with `write(folder)`, then move it to `folder`. A failure leaves the old folder as it was.

    Args:
        folder: where the result goes.
        write: fills an empty folder.
        replaces: names that an earlier folder may hold; parts of them that a killed run left are removed too.

    Raises:
        ImapError: if the folder holds anything else.
    """
    restore(folder)
    clear_partials(folder.parent, f".{glob.escape(folder.name)}.partial-*")
    left = tuple(f".{name}.{kind}" for name in replaces for kind in ("partial-", "old"))
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in found if name not in (*replaces, *FOREIGN) and not name.startswith(left)]
    if others or (folder.exists() and not folder.is_dir()):
        raise ImapError(
            f"{folder} holds other files than maps ({', '.join(others[:3]) or 'it is a file'}); name another"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{kind}") for kind in (f"partial-{os.getpid()}", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write(partial)
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        restore(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return folder


def restore(folder: Path) -> None:
    """Restore earlier results if a run was killed between moving them away and moving the new ones in."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def clear_partials(folder: Path, pattern: str, own: re.Pattern[str] | None = None) -> None:
    """Remove half-written files of killed runs from a folder.

    Args:
        folder: to look in.
        pattern: of their names, as of glob.
        own: expression that names must match too, so that nobody else's are removed.
    """
    for left in folder.glob(pattern):  # recent ones may belong to another run that is writing now
        if own is not None and not own.fullmatch(left.name):
            continue
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > ONE_DAY:
                shutil.rmtree(left, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Create the folder; raise ImapError if files cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
        clear_partials(folder, ".*.partial-*", OF_A_SAMPLE)
    except OSError as error:
        raise ImapError(f"output_dir: cannot write to {folder}: {error.strerror}; choose another folder") from None
