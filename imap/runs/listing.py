""".list.json: the samples of an output folder's last list, so that `imap status` knows what is left."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from imap.atomic import replaced
from imap.runs.folders import identity
from imap.runs.request import Request

log = logging.getLogger("imap")
LIST = ".list.json"


def write_list(folder: Path, requests: Mapping[str, Request]) -> None:
    """Store a list, as `store_list`. requests: of all samples, by folder."""
    store_list(folder, {name: identity(one) for name, one in requests.items()})


def store_list(folder: Path, samples: Mapping[str, str]) -> None:
    """Write the folders of a list, with their identities. The same list is not written again."""
    if list((read_list(folder) or {}).items()) == list(samples.items()):
        return
    try:
        with replaced(folder / LIST) as new:
            new.write_text(json.dumps({"samples": samples}, indent=0) + "\n", encoding="utf-8")
    except OSError as error:
        log.error("%s cannot be written (%s); imap status will not know what is left", folder / LIST, error.strerror)


def read_list(folder: Path) -> dict[str, str] | None:
    """Identities of the samples of a list, by folder; None without a readable file."""
    try:
        samples = json.loads((folder / LIST).read_text(encoding="utf-8"))["samples"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_ours = isinstance(samples, dict) and all(isinstance(x, str) and Path(n).name == n for n, x in samples.items())
    return samples if is_ours else None
