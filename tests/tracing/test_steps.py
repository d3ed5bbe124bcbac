"""Steps are those of the traced call: their index in the full schedule, conditional rows only, or a refusal."""

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXVideoToVideoPipeline, WanVideoToVideoPipeline
from PIL import Image

import imap
from imap.testing import tiny
from tests.shared import FAMILIES, PROMPT, SIZES
from tests.tracing.test_trace import WORDS, call

VIDEO = [Image.fromarray(np.full((32, 48, 3), 20 * i, np.uint8)) for i in range(9)]
OUTSIDE = "called outside a call of the traced"


def pair(family):
    """A text-to-video pipeline, and a video-to-video one that shares its transformer."""
    pipe = tiny.build(family)
    kind = {"wan": WanVideoToVideoPipeline, "cogvideox": CogVideoXVideoToVideoPipeline}[family]
    other = kind.from_pipe(pipe)
    if family == "cogvideox":
        other.scheduler = CogVideoXDDIMScheduler()
    for x in (pipe, other):
        x.set_progress_bar_config(disable=True)
    return pipe, other


def to_video(pipe, strength=0.5, steps=4, **given):
    settings = {"prompt": PROMPT, "negative_prompt": "sand", "video": VIDEO, "height": 32, "width": 48}
    settings |= {"num_inference_steps": steps, "strength": strength, "output_type": "latent"}
    return pipe(**settings, generator=torch.Generator().manual_seed(0), **given)


@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_a_transformer_that_another_pipeline_calls_is_refused(family, called_before):
    pipe, other = pair(family)
    if called_before:
        call(pipe, steps=1)
    with pytest.raises(imap.ImapError, match=OUTSIDE), imap.trace(pipe, **WORDS):
        to_video(other)
    with imap.trace(pipe, **WORDS) as trace:  # and nothing is left of it
        call(pipe)
    assert trace.maps().facts["steps"] == [0, 1]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_loop_of_ones_own_is_refused(interrupted):
    pipe = tiny.build("wan")
    pipe.set_progress_bar_config(disable=True)
    if interrupted:  # it leaves its timestep on the pipeline

        def stop(pipe, step, timestep, kwargs):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pipe(prompt=PROMPT, num_inference_steps=2, callback_on_step_end=stop, **SIZES)
        assert pipe._current_timestep is not None
    timestep = pipe._current_timestep.expand(1) if interrupted else torch.tensor([900.0])
    positive, _ = pipe.encode_prompt(PROMPT, "", True, max_sequence_length=512)
    x = torch.zeros(1, 16, 3, 4, 6)
    with pytest.raises(imap.ImapError, match=OUTSIDE), imap.trace(pipe, **WORDS), torch.no_grad():
        pipe.transformer(x, timestep, positive)


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
@pytest.mark.parametrize(("strength", "steps", "expected"), [(0.5, 4, [2, 3]), (0.6, 5, [2, 3, 4]), (1.0, 2, [0, 1])])
def test_video_to_video_counts_steps_of_the_full_schedule(family, strength, steps, expected):
    _, pipe = pair(family)
    with imap.trace(pipe, **WORDS) as trace:
        to_video(pipe, strength, steps)
    assert trace.maps().facts["steps"] == expected
    last = expected[-1]
    with imap.trace(pipe, **WORDS, maps_timesteps=[last, last + 1]) as trace:
        to_video(pipe, strength, steps)
    assert trace.maps().facts["steps"] == [last]


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_steps_that_a_call_never_reaches_are_refused_at_its_first(family):
    _, pipe = pair(family)
    calls = []
    handle = pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(imap.ImapError, match="starts at step 2 of 4"), imap.trace(pipe, **WORDS, maps_timesteps=[0, 2]):
        to_video(pipe)
    handle.remove()
    assert not calls


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_that_fails_and_its_repetition_are_not_mixed(pipes, family):
    pipe = pipes(family)

    def stop(pipe, step, timestep, kwargs):
        raise RuntimeError("stopped")

    with imap.trace(pipe, **WORDS) as trace:
        with pytest.raises(RuntimeError, match="stopped"):
            call(pipe, callback_on_step_end=stop)
        with pytest.raises(imap.ImapError, match="meets another one"):
            call(pipe)
    assert trace.maps().facts["steps"] == [0]


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "transformer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_part_is_named(family, part):
    pipe = tiny.build(family)
    setattr(pipe, part, None)
    with pytest.raises(imap.ImapError, match=f"has no {part}") as error:
        imap.trace(pipe, PROMPT, **WORDS)
    assert part in str(error.value) and "\n" not in str(error.value)
