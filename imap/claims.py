"""Claims: locked files that keep two processes from doing the same work.

A claim ends with its process, however the process ends, because the kernel frees the lock.
"""

import errno
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

log = logging.getLogger("imap")
SUFFIX = ".lock"
CANNOT_LOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EACCES, errno.EROFS}
NAMED = 3  # of the items that are waited for
Item = TypeVar("Item")


def lock_of(path: Path) -> Path:
    """The file that is locked for `path`, beside it."""
    return path.with_name(f".{path.name}{SUFFIX}")


@contextmanager
def claim(path: Path, wait: bool = False) -> Iterator[bool]:
    """Claim a path for this process. The lock's file is removed in the end.

    Args:
        path: file or folder that is worked on; its parent exists.
        wait: until a live process that has claimed it is done.

    Yields:
        Whether it is claimed. True also on file systems without locks, which the log says once.
    """
    lock = lock_of(path)
    try:
        descriptor = _locked(lock, wait)
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
        _warn(path.parent, error.strerror)
        yield True
        return
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _remove(lock, descriptor)


def each_claimed(items: Iterable[Item], path_of: Callable[[Item], Path]) -> Generator[Item, None, None]:
    """Yield every item under its claim. Items that live processes have claimed come last, and are waited for."""
    busy = []
    for item in items:
        with claim(path_of(item)) as mine:
            if mine:
                yield item
        if not mine:
            busy.append(item)
    if busy:
        names = ", ".join(path_of(item).name for item in busy[:NAMED]) + (", ..." if len(busy) > NAMED else "")
        log.info("waiting for %d that another process works on: %s", len(busy), names)
    for item in busy:
        with claim(path_of(item), wait=True):
            yield item


def can_lock(folder: Path) -> bool:
    """Whether files can be locked in a folder, which exists."""
    try:
        descriptor = _locked(lock := lock_of(folder / "writable"), wait=False)
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
        return False
    if descriptor is not None:
        _remove(lock, descriptor)
    return True


def is_held(path: Path) -> bool:
    """As `is_claimed`, and no file is made or removed. False where locks are not seen, as of another computer."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(lock_of(path), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def is_claimed(path: Path) -> bool:
    """Whether a live process has claimed a path."""
    if not lock_of(path).exists():
        return False
    with suppress(OSError), claim(path) as mine:
        return not mine
    return False


def clear_claim(lock: Path) -> None:
    """Remove the file of a lock whose process is gone. lock: as of `lock_of`."""
    with suppress(OSError):
        descriptor = _locked(lock, wait=False)
        if descriptor is not None:
            _remove(lock, descriptor)


def _locked(lock: Path, wait: bool) -> int | None:
    """Descriptor of the locked file; None if a live process has locked it."""
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no file locks on this system")
    while True:
        descriptor = _opened(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            lock.unlink(missing_ok=True)
            raise
        except BaseException:  # Ctrl-C while it waits
            os.close(descriptor)
            raise
        if _is_file_of(lock, descriptor):
            return descriptor
        os.close(descriptor)  # the process before has removed it meanwhile


def _opened(lock: Path) -> int:
    """Descriptor of a lock's file, which is made. That of another user can be read only, and be locked as well."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(lock, os.O_RDONLY)


def _is_file_of(lock: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(lock), os.fstat(descriptor))
    return False


def _remove(lock: Path, descriptor: int) -> None:
    """Unlock, and remove the file first, so that nobody can lock a file that is about to go."""
    try:
        if _is_file_of(lock, descriptor):
            lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@cache
def _warn(folder: Path, reason: str) -> None:
    log.warning("%s: files cannot be locked here (%s); two processes must not do the same samples", folder, reason)
