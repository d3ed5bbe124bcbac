"""Small shipped models know one size and one text length: a trace warns of any other, and records it."""

import pytest
from diffusers import DiffusionPipeline

import imap


@pytest.fixture(scope="module")
def pipe():
    pipe = DiffusionPipeline.from_pretrained(imap.demo_model("cogvideox"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def notes(pipe, **call):
    prompt = "a ball jumps while a kite grows"
    with imap.trace(pipe, prompt, concepts=["ball", "kite"], motions=["jumps"], maps_timesteps=[0, 1]) as trace:
        pipe(prompt=prompt, num_inference_steps=2, guidance_scale=1.0, output_type="latent", **call)
    return trace.maps().facts["notes"]


def test_the_trained_size_and_text_length_need_no_note(pipe):
    assert notes(pipe, max_sequence_length=16) == []


def test_another_text_length_is_noted_with_the_setting(pipe):
    (note,) = notes(pipe)
    assert "texts of 16 tokens only, and this call has 226" in note and "max_sequence_length=16" in note


def test_another_size_is_noted_with_the_settings(pipe):
    (note,) = notes(pipe, max_sequence_length=16, height=32, width=48, num_frames=9)
    assert "25 frames of 64x64 only, and this video has 9 of 32x48" in note
    assert "num_frames=25, height=64, width=64" in note


def test_a_trace_that_has_read_a_call_is_not_entered_again(pipe):
    call = {"num_inference_steps": 2, "guidance_scale": 1.0, "output_type": "latent", "max_sequence_length": 16}
    with imap.trace(pipe, concepts=["ball", "kite"]) as trace:
        pipe(prompt="a ball jumps", **call)
    with pytest.raises(imap.ImapError, match="has read a pipeline call already"), trace:
        pass


def test_no_steps_are_refused_and_not_the_papers(pipe):
    with pytest.raises(imap.ImapError, match="num_inference_steps=0 is not a whole number"):
        imap.renoise(pipe, "clip.mp4", prompt="a ball jumps", concepts=["ball", "kite"], num_inference_steps=0)
