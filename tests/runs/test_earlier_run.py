"""A run of the version before the regrouping is still a finished one: its recorded settings are those of today."""

import shutil
from pathlib import Path

from omegaconf import OmegaConf

from imap.runs.plan import plan
from tests.conftest import composed

EARLIER = Path(__file__).with_name("earlier_run")
COMMAND = ["backbone=tiny_wan", "backbone.device=cpu", "height=32", "width=48", "num_frames=9", "num_inference_steps=2"]
WORDS = ["prompt=a red ball rolls", "concepts=ball", "motions=rolls", "pictures=false"]


def planned(folder: Path, *more: str):
    config = composed("sampling", *COMMAND, *WORDS, f"output_dir={folder}", *more)
    return plan(OmegaConf.to_container(config, resolve=True), renoising=False)


def test_a_finished_sample_of_before_is_skipped(tmp_path):
    shutil.copytree(EARLIER, tmp_path / "out")
    todo = planned(tmp_path / "out")
    assert todo.tally.skipped == ["000-a-red-ball-rolls"] and not todo.tasks


def test_another_setting_makes_it_again(tmp_path):
    shutil.copytree(EARLIER, tmp_path / "out")
    todo = planned(tmp_path / "out", "seed=43")
    assert not todo.tally.skipped and [task.name for task in todo.tasks] == ["000-a-red-ball-rolls"]
