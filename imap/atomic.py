"""Write a folder all or nothing, and clean up what a killed run has left."""

import glob
import os
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from imap.errors import ImapError

ONE_DAY = 24 * 60 * 60  # seconds


def write_folder(folder: Path, write: Callable[[Path], None], replaces: Collection[str]) -> Path:
    """Fill a sibling folder with `write(folder)`, then put it in the place of `folder`.

    An earlier folder may hold what `replaces` names, and what a killed run left of it; ImapError where anything else
    stands there. A failure leaves it as it was.
    """
    restore(folder)
    clear_partials(folder.parent, f".{glob.escape(folder.name)}.partial-*")
    left = tuple(f".{name}.{kind}" for name in replaces for kind in ("partial-", "old"))
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in found if name not in replaces and not name.startswith(left)]
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
    """Put earlier results back where a run was killed between taking them away and putting the new ones there."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def clear_partials(folder: Path, pattern: str) -> None:
    """Remove from a folder what killed runs have left half-written there, by a glob pattern of its names."""
    for left in folder.glob(pattern):  # another run may be writing the young ones now, and finish them
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > ONE_DAY:
                shutil.rmtree(left, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Raise ImapError unless files can be made in the folder, which is created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
        clear_partials(folder, ".*.partial-*")
    except OSError as error:
        raise ImapError(f"output_dir: cannot write to {folder}: {error.strerror}; choose another folder") from None
