"""Seconds go to the stage that they were spent in."""

import time

import pytest
import torch

from imap.jobs.timing import Stages


def test_a_pipeline_call_is_parted_at_the_end_of_its_last_step():
    stages = Stages(torch.device("cpu"))
    for _ in range(2):
        with stages.denoise_then(1, "decode") as timing:
            for step in range(2):
                time.sleep(0.02)
                assert timing["callback_on_step_end"](None, step, None, {"latents": step}) == {"latents": step}
            time.sleep(0.2)
    assert 0.08 <= stages.seconds["denoise"] < 0.3  # two calls of two steps
    assert 0.4 <= stages.seconds["decode"] < 0.8


def test_a_stage_counts_also_what_failed():
    stages = Stages(torch.device("cpu"))
    with pytest.raises(ValueError, match="x"), stages.stage("maps"):
        time.sleep(0.02)
        raise ValueError("x")
    assert stages.seconds["maps"] >= 0.02


def test_a_watcher_is_told_stages_and_steps_and_may_end_the_job():
    seen = []

    def progress(*place):
        seen.append(place)
        if place == ("denoise", 2, 4):
            raise KeyError("enough")

    stages = Stages(torch.device("cpu"), progress)
    with stages.stage("encode_text"), stages.denoise_then(0, "finish", (0, 4)) as timing:
        timing["callback_on_step_end"](None, 0, None, {})
    with pytest.raises(KeyError, match="enough"), stages.denoise_then(0, "finish", (1, 4)) as timing:
        timing["callback_on_step_end"](None, 0, None, {})
    first = [("encode_text", 0, 0), ("denoise", 0, 4), ("denoise", 1, 4), ("finish", 0, 0)]
    assert seen == [*first, ("denoise", 1, 4), ("denoise", 2, 4)]
