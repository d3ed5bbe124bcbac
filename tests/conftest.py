"""Shared by the tests: tiny pipelines, and the optional folders with the release's arrays and real clips."""

import gc
import os
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from imap.cli.overrides import literal
from imap.config.presets import config_folder
from imap.testing import tiny

PROMPT = "A red ball rolls past a small dog on the grass."
SIZES = {"height": 32, "width": 48, "num_frames": 9}
FAMILIES = tiny.FAMILIES


def composed(command: str, *arguments: str) -> DictConfig:
    """The configuration of a command line. command: sampling, renoising, figures ..."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose(command, [literal(argument) for argument in arguments])


@pytest.fixture(scope="session", autouse=True)
def _threads():
    torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings
    gc.freeze()  # imageio collects garbage after each clip, which takes 0.2 s with all libraries loaded


@pytest.fixture(scope="session")
def pipes():
    """One pipeline per family, shared by the session: a test must leave it as it was."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = tiny.build(family)
            made[family].set_progress_bar_config(disable=True)
        return made[family]

    return get


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
