"""ChronoEdit: the frames of a call with and without temporal reasoning."""

import pytest
import torch

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import PROMPT
from tests.tracing.test_trace import WORDS, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("chronoedit" not in tiny.FURTHER, reason="this diffusers has no ChronoEdit"),
]


def test_an_edit_without_reasoning_has_two_latent_frames(pipes):
    pipe = pipes("chronoedit")
    plain = call(pipe, enable_temporal_reasoning=False)
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        traced = call(pipe, enable_temporal_reasoning=False)
    assert torch.equal(plain, traced) and trace.maps()["imap"].shape == (3, 2, 2, 3)


def test_frames_that_are_dropped_on_the_way_are_refused(pipes):
    pipe, given = pipes("chronoedit"), {"steps": 3, "num_temporal_reasoning_steps": 1}
    match = "2x2x3 tokens at step 1, and had 3x2x3 before; .*maps_timesteps"
    with pytest.raises(imap.ImapError, match=match), imap.trace(pipe, PROMPT, **WORDS):
        call(pipe, **given)
    with imap.trace(pipe, PROMPT, **WORDS, maps_timesteps=[1, 3]) as trace:
        call(pipe, **given)
    assert trace.maps()["imap"].shape == (3, 2, 2, 3)


def test_all_frames_of_a_run_are_kept_at_every_step(pipes):
    pipe = pipes("chronoedit")
    assert backbone_of(pipe).size_arguments(5, 32, 48) == {"num_frames": 5, "height": 32, "width": 48}
    size = backbone_of(pipe).size_arguments(9, 32, 48)
    assert call(pipe, steps=3, **size).shape[2] == 3
    assert len(pipe(prompt=PROMPT, image=torch.zeros(1, 3, 32, 48), num_inference_steps=2, **size).frames[0]) == 9
