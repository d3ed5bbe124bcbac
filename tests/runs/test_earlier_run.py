"""Runs of the version before the regrouping count as finished: their recorded settings are those of today."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from imap.runs.plan import Plan, plan
from tests.shared import composed

ROOT = Path(__file__).parents[2]
FOLDER = "000-a-red-ball-rolls"
COMMAND = ["backbone=tiny_wan", "backbone.device=cpu", "height=32", "width=48", "num_frames=9", "num_inference_steps=2"]
WORDS = ["prompt=a red ball rolls", "concepts=ball", "motions=rolls", "pictures=false"]
CLIP = [
    "video_path=imap/shapes/clips/000-a-ring-flashes-while-a-box-jumps.mp4",
    *("renoise_timestep=[1]", "video.resize=stretch", "video.frames=first"),
]


@pytest.fixture(params=["sampling", "renoising"])
def planned(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Plans the command of an earlier run again, on a copy of its folder."""
    name = request.param
    earlier = Path(__file__).with_name("earlier_run" if name == "sampling" else "earlier_renoising")
    shutil.copytree(earlier, tmp_path / "out")
    monkeypatch.chdir(ROOT)  # the clip's path is relative

    def plan_again(*settings: str) -> Plan:
        clip = CLIP if name == "renoising" else []
        config = composed(name, *COMMAND, *WORDS, *clip, f"output_dir={tmp_path / 'out'}", *settings)
        return plan(OmegaConf.to_container(config, resolve=True), renoising=name == "renoising")

    return plan_again


def test_an_earlier_sample_is_skipped(planned):
    todo = planned("fps=8")  # clips were written at 8 frames per second, whatever their own rate
    assert todo.tally.skipped == [FOLDER] and not todo.tasks


def test_an_earlier_sample_with_another_setting_is_redone(planned):
    todo = planned("seed=43")
    assert not todo.tally.skipped and [task.name for task in todo.tasks] == [FOLDER]
