"""Write a folder or a file all or nothing, and clean up what a killed run has left."""

import errno
import itertools
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imap.claims import SUFFIX, clear_claim, is_claimed
from imap.errors import ImapError

FOREIGN = (".DS_Store", "Thumbs.db", "desktop.ini")  # of file managers; they do not count as anybody's files
SAMPLE = r"\d{3,}-.+"
OWN = re.compile(  # names of all that a run writes; of others, nothing is removed
    rf"\.({SAMPLE}|view|writable|report\.html|faithfulness\.csv|scores\.csv|errors\.jsonl|(layers|meta|run|plan|\.list)\.json)"
    rf"\.(partial-.+|old(-.+)?|{SUFFIX[1:]})"
)
OWNER = re.compile(r"-(?P<pid>\d+)(-(?P<host>[0-9a-f]{8}))?(-(?P<run>[0-9a-f]{8})-\d+)?$")
OWNED = re.compile(r"\.(partial|old)-\d+-[0-9a-f]{8}(-[0-9a-f]{8}-\d+)?$")  # as of `partial_of`
HOST = f"{zlib.crc32(platform.node().encode()):08x}"
RUN = secrets.token_hex(4)  # tells this process from an earlier one of the same number, as in containers
_number = itertools.count()
ONE_DAY = 24 * 60 * 60  # seconds


def partial_of(path: Path, kind: str = "partial") -> Path:
    """A hidden name beside `path` that no other process and no other call uses."""
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{HOST}-{RUN}-{next(_number)}")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A new file to write, which then replaces the file at `path`. A failure leaves the old one as it was."""
    partial = partial_of(path)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_folder(folder: Path, write: Callable[[Path], None], replaces: Collection[str]) -> Path:
    """Fill a sibling folder with `write(folder)`, then move it to `folder`. A failure leaves the old folder as it was.

    Several processes may write the same folder: it is that of one of them, and whole.

    Args:
        folder: where the result goes.
        write: fills an empty folder.
        replaces: names that an earlier folder may hold; parts of them that a killed run left are removed too.

    Raises:
        ImapError: if the folder holds anything else.
    """
    restore(folder)
    parts = tuple(f".{name}.{kind}" for name in replaces for kind in ("partial-", "old"))
    others = [name for name in _names_in(folder) if name not in (*replaces, *FOREIGN) and not name.startswith(parts)]
    if others:
        raise ImapError(f"{folder} holds other files than maps ({', '.join(others[:3])}); name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write(partial)
        _move_in(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def _names_in(folder: Path) -> list[str]:
    """Names in a folder, none if there is no folder. Another process may take it away at any moment."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise ImapError(f"{folder} holds other files than maps (it is a file); name another") from None


def _hidden(folder: Path, starts: tuple[str, ...] = (".",)) -> list[Path]:
    """Files of a folder whose names start so; none without a folder. Faster than a glob, in folders of many samples."""
    with suppress(OSError):
        return [folder / name for name in os.listdir(folder) if name.startswith(starts)]
    return []


def restore(folder: Path) -> None:
    """Bring back a folder that a killed process had moved away, and remove what else it has left of it."""
    for left in _hidden(folder.parent, (f".{folder.name}.o", f".{folder.name}.p")):
        if OWN.fullmatch(left.name) or OWNED.search(left.name):
            _clear(left)


def _move_in(partial: Path, folder: Path) -> None:
    """Let `partial` replace `folder`, which another process may replace at the same time."""
    old = partial_of(folder, "old")
    try:
        while True:
            with suppress(FileNotFoundError):
                os.replace(folder, old)
            try:
                os.replace(partial, folder)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                shutil.rmtree(old, ignore_errors=True)  # another process has put its own in between
    except BaseException:
        _put_back(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _put_back(old: Path, folder: Path) -> None:
    """Restore an earlier result that was moved away, if none has come in its place."""
    if old.exists() and not folder.exists():
        with suppress(OSError):  # another process has put one there just now
            os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed runs have left in an output folder and in its samples, and restore what they moved away.

    Nobody else's files are touched, and nothing of a process that is alive. A process on another computer counts as
    alive for a day after its last write.
    """
    for path in sorted(folder.iterdir()):
        if OWN.fullmatch(path.name):
            _clear(path)
        elif re.fullmatch(SAMPLE, path.name) and path.is_dir():
            for inside in (path, path / "view"):
                for left in _hidden(inside):
                    if OWN.fullmatch(left.name):
                        _clear(left)


def _clear(left: Path) -> None:
    """Remove or restore one leftover, unless its process is alive. Other files are not touched."""
    name, _, kind = left.name[1:].rpartition(".")
    if f".{kind}" == SUFFIX:
        clear_claim(left)
    elif kind.startswith("old") and not _is_in_use(left):
        _put_back(left, left.with_name(name))
    elif kind.startswith("partial-") and not _is_in_use(left):
        with suppress(OSError):  # another process clears it too
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _is_in_use(left: Path) -> bool:
    """Whether the process that a leftover is named after may be alive."""
    owner = OWNER.search(left.name)
    if owner is None:  # of an earlier version, which named no process
        return False
    if is_claimed(left.with_name(left.name[1:].rpartition(".")[0])):  # by a process that this one may not see
        return True
    if owner["host"] not in (None, HOST):
        with suppress(FileNotFoundError):
            return time.time() - left.stat().st_mtime < ONE_DAY
        return False
    if int(owner["pid"]) == os.getpid():
        return owner["run"] in (None, RUN)
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # alive, and another user's
        return True
    return True


def check_writable(folder: Path) -> None:
    """Create the folder; raise ImapError if files cannot be written there. Clear what killed runs have left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = partial_of(folder / "writable")
        probe.touch()
        probe.unlink()
        clear_leftovers(folder)
    except OSError as error:
        raise ImapError(f"output_dir: cannot write to {folder}: {error.strerror}; choose another folder") from None
