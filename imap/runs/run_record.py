"""run.json: how the latest run of an output folder was started. It is written before weights are loaded."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import imap
from imap.atomic import replaced
from imap.errors import ImapError
from imap.jobs.reading import READING
from imap.runs.batch import versions
from imap.runs.folders import RUN

GIT_SECONDS = 10  # that git may take, on a slow file system
SEED_RULE = (
    "each sample draws all its noise from its own CPU generator, which starts at `seed`; read=after draws from "
    f"`seed` + {READING}. So neither the place in the list, nor the shard, nor the device changes it."
)


def write_run(output_dir: Path, config: Mapping[str, Any], device: torch.device) -> None:
    """Write run.json. Of several processes on a folder, that which starts last has its record there, and whole.

    Args:
        output_dir: of the run; it exists.
        config: plain values of the composed configuration.
        device: of the model.

    Raises:
        ImapError: if it cannot be written.
    """
    record = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "device": {"device": str(device), "name": device_name(device)},
        "seed_rule": SEED_RULE,
        "git": git_state(Path(imap.__file__).parent),
        "versions": versions(),
        "config": config,
    }
    write_json(output_dir / RUN, record)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record of a run all or nothing. Raises ImapError if it cannot be written."""
    try:
        with replaced(path) as new:
            new.write_text(json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    except OSError as error:
        raise ImapError(
            f"{path} cannot be written: {error.strerror}; make room, or choose another output_dir"
        ) from None


def device_name(device: torch.device) -> str:
    """Name of a GPU; of a CPU, its kind and the instructions that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the working tree that a package is run from, and whether tracked files differ from it.

    None for an installed package, also inside another project's tree, and without git.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        return {"commit": _git(folder, "rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=GIT_SECONDS)
    return ended.stdout.strip()
