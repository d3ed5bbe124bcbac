"""What determines a sample's result, and whether a folder holds that result."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imap.config.file_hash import sha256_of
from imap.config.samples import Sample
from imap.errors import ImapError
from imap.map_files import damaged, read_meta

log = logging.getLogger("imap")
NAMED = 4  # settings, files or samples in a line of the log
HASHES = {"video_path": "video_sha256", "image": "image_sha256", "last_image": "last_image_sha256"}
Request = Mapping[str, Any]


def request(
    sample: Sample, settings: Mapping[str, Any], hash_of: Callable[[Path], str | None] | None = None
) -> dict[str, Any]:
    """Everything that determines the result of a sample, in plain values.

    `meta.json` records it, and a later run compares it to find finished samples.

    Args:
        sample: prompt, words, and files. The SHA-256 of its clip and pictures is part of the request.
        settings: recorded settings of the model, the run and the method.
        hash_of: `sha256_of`, or one that remembers the files of a list.
    """
    files: dict[str, Any] = {}
    for name, path in sample.files.items():
        files |= {name: str(path), HASHES[name]: (hash_of or sha256_of)(path)}
    texts = {"prompt": sample.prompt, "concepts": list(sample.concepts), "motions": list(sample.motions)}
    return json.loads(json.dumps({"sample": texts | files, "settings": settings}))


@dataclass(frozen=True)
class Found:
    """What a sample's folder holds before the run.

    Attributes:
        exists: whether there is a result.
        changed: settings in which its request differs.
        broken: files that are missing or damaged.
    """

    exists: bool
    changed: Sequence[str] = ()
    broken: Sequence[str] = ()

    @property
    def is_finished(self) -> bool:
        """Whether it is the whole result of the same request."""
        return self.exists and not self.changed and not self.broken


def look_up(folder: Path, wanted: Request) -> Found:
    """Compare the result in a folder with a request."""
    meta = read_meta(folder)
    if meta is None:
        return Found(False)
    return Found(True, difference(meta.get("request"), wanted), damaged(folder, meta))


def log_found(found: Mapping[str, Found]) -> None:
    """Log why earlier results are made again: one line for all with changed settings, one for each damaged one."""
    changed = {name: [x.split(".", 1)[-1] or "all" for x in one.changed] for name, one in found.items() if one.changed}
    if changed:
        settings = list(dict.fromkeys(x for names in changed.values() for x in names))
        log.info(
            "%s: settings have changed (%s); the new result%s the old one%s",
            next(iter(changed)) if len(changed) == 1 else f"{len(changed)} samples",
            ", ".join(settings[:NAMED]),
            *((" replaces", "") if len(changed) == 1 else ("s replace", "s")),
        )
    for name, one in found.items():
        if one.broken:
            log.warning("%s: %s missing or damaged; the sample is made again", name, ", ".join(one.broken[:NAMED]))


def refuse_changed(files: Mapping[str, Path], wanted: Request) -> None:
    """Raise ImapError for a file, by key of an input list, whose bytes are not those of the request."""
    for name, path in files.items():
        hashed = wanted.get("sample", {}).get(HASHES[name])
        if hashed and sha256_of(path) != hashed:
            raise ImapError(f"{name}: {path} has changed since the run began; run the command again")


def difference(one: Any, other: Any, path: str = "") -> Sequence[str]:
    """Dotted names of the settings in which two nested mappings differ."""
    if one == other:
        return []
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = dict.fromkeys([*one, *other])
        return [x for name in names for x in difference(one.get(name), other.get(name), f"{path}.{name}".lstrip("."))]
    return [path]
