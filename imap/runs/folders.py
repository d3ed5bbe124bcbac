"""Which folder of an output folder belongs to which sample of a list. The content decides, not the name."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from imap.config.samples import PICTURES, digest
from imap.map_files import read_meta
from imap.runs.request import HASHES, NAMED, Request, difference

log = logging.getLogger("imap")
RUN = "run.json"
LAYERS = "layers.json"  # the choice of imap_layer=auto


def earlier_requests(output_dir: Path) -> dict[str, Request]:
    """Requests of the finished samples of an output folder, by folder name."""
    names = sorted(name for name in os.listdir(output_dir) if not name.startswith("."))
    metas = {name: read_meta(output_dir / name) for name in names}
    return {name: one for name, meta in metas.items() if (one := request_in(meta)) is not None}


def request_in(meta: Mapping[str, Any] | None) -> Request | None:
    """The request of a sample's record; None for maps that no run has made."""
    one = (meta or {}).get("request")
    return one if isinstance(one, Mapping) and isinstance(one.get("sample"), Mapping) else None


def placed(names: Sequence[str], wanted: Sequence[Request], earlier: Mapping[str, Request]) -> list[str]:
    """The folder of each sample of a list: the one that holds it already, wherever it was in an earlier list.

    A new sample gets the folder of its name. If that one holds another prompt, clip or picture, a digest is added.

    Args:
        names: of the samples, all different.
        wanted: their requests.
        earlier: as `earlier_requests` returns them.
    """
    folders: dict[int, str] = {}
    left = dict(earlier)
    for identity in (_same_request, _same_sample):
        holders = defaultdict(list)
        for folder, one in left.items():
            holders[identity(one)].append(folder)
        for index, (name, one) in enumerate(zip(names, wanted, strict=True)):
            same = holders[identity(one)] if index not in folders else []
            if same:
                folders[index] = name if name in same else same[0]
                same.remove(folders[index])
                del left[folders[index]]
    taken = set(folders.values())
    for index, (name, one) in enumerate(zip(names, wanted, strict=True)):
        if index not in folders:
            free = (x for x in _names(name, one) if x not in taken)
            folders[index] = next(x for x in free if x not in earlier or is_replaced_by(earlier[x], one))
            taken.add(folders[index])
    return [folders[index] for index in range(len(names))]


def _names(name: str, one: Request) -> Iterator[str]:
    """Folder names for a sample, the plainest first."""
    yield name
    sample = one["sample"]
    keys = ("prompt", "video_path", *(key for key in PICTURES if key in sample))
    yield f"{name}-{digest(json.dumps([sample.get(key) for key in keys]))}"
    yield from (f"{name}-{digest(_same_sample(one) + str(number))}" for number in count())


def is_replaced_by(earlier: Request, wanted: Request) -> bool:
    """Whether a request has the prompt, clip and pictures of an earlier one, maybe with other words or settings."""
    one, other = earlier["sample"], wanted["sample"]

    def same_file(name: str, hashed: str) -> bool:
        same_bytes = one.get(hashed) == other.get(hashed) and bool(one.get(hashed))
        return one.get(name) == other.get(name) or same_bytes

    return one.get("prompt") == other.get("prompt") and all(same_file(*x) for x in HASHES.items())


def repeated(wanted: Sequence[Request]) -> list[int]:
    """Places in the list of samples that were in it before."""
    first: dict[str, int] = {}
    return [i for i, one in enumerate(wanted) if first.setdefault(_same_sample(one), i) != i]


def log_others(output_dir: Path, earlier: Mapping[str, Request], folders: Sequence[str], wanted: Request) -> None:
    """Log one line about samples of other lists in the folder, with the settings in which they differ."""
    listed = set(folders)
    others = {name: one for name, one in earlier.items() if name not in listed}
    if not others:
        return
    differing = dict.fromkeys(
        name for one in others.values() for name in difference(one.get("settings"), wanted["settings"])
    )
    settings = f", with other settings ({', '.join([*differing][:NAMED])})" if differing else ""
    log.info(
        "%s also holds %d of other lists%s; they stay, and the report leaves them out: %s",
        output_dir,
        len(others),
        settings,
        ", ".join([*others][:NAMED]) + (", ..." if len(others) > NAMED else ""),
    )


def identity(one: Request) -> str:
    """Digest of what decides a result: settings, prompt, words, and the bytes of files wherever they lie."""
    return digest(json.dumps(one.get("settings"), sort_keys=True) + _same_sample(one))


def _same_request(one: Request) -> str:
    return json.dumps(one, sort_keys=True)


def _same_sample(one: Request) -> str:
    """Prompt, words and the bytes of files. A file's path counts only if it cannot be read."""
    sample = dict(one["sample"])
    for name, hashed in HASHES.items():
        if sample.get(hashed):
            sample.pop(name, None)
    return json.dumps(sample, sort_keys=True)
