"""Hash of a file's bytes, which identifies it wherever it lies."""

import hashlib
from functools import lru_cache
from pathlib import Path


def sha256_of(path: Path) -> str | None:
    """Hash of a file's bytes; None for a file that cannot be read."""
    if not path.is_file():  # a pipe would wait for a writer
        return None
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def sha256_of_weights(path: Path) -> str | None:
    """As `sha256_of`, for a large file: read once in a process unless it changes."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _remembered(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _remembered(path: Path, size: int, time: int) -> str | None:
    return sha256_of(path)
