"""Fixtures of all tests: tiny pipelines, and the optional folders with the release's arrays and real clips.

Each worker of pytest-xdist starts once the process above it has read this file, so large libraries are imported later.
"""

import gc
import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _threads():
    import torch

    torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings
    gc.freeze()  # imageio collects garbage after each clip, which takes 0.2 s with all libraries loaded


@pytest.fixture(scope="session")
def pipes():
    """One pipeline per family, shared by the session: a test must leave it as it was."""
    from imap.testing import tiny

    made = {}

    def get(family):
        if family not in made:
            made[family] = tiny.build(family)
            made[family].set_progress_bar_config(disable=True)
        return made[family]

    return get


@pytest.fixture(scope="session")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{variable} names no folder")
    return Path(value)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Pipelines and arrays of the authors' release, where they are at hand."""
    return _folder("IMAP_GOLDEN")


@pytest.fixture(scope="session")
def clips() -> Path:
    """Real 49-frame clips, where they are at hand."""
    return _folder("IMAP_CLIPS")
