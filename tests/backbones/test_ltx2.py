"""LTX-2: text through connectors, sound beside the video, and calls of guidance that are not read."""

from importlib import import_module

import numpy as np
import pytest
import torch

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import PROMPT, sizes_of
from tests.tracing.test_trace import WORDS, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("ltx2" not in tiny.FURTHER, reason="an old diffusers"),
]
SIZE = sizes_of("ltx2")


def calls_of(pipe, run):
    """Arguments of every transformer call of a run."""
    seen = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    try:
        run()
    finally:
        handle.remove()
    return seen


def test_one_call_a_step_is_read_and_guidance_makes_two_more(pipes):
    pipe, read = pipes("ltx2"), []
    observe = lambda layer, step, *_: read.append((step, layer))  # noqa: E731
    with imap.trace(pipe, PROMPT, **WORDS, observe=observe, imap_layer=[0, 3]) as trace:
        calls = calls_of(pipe, lambda: call(pipe, steps=2, **SIZE))
    assert [len(x["hidden_states"]) for x in calls] == [2, 1, 1] * 2
    assert [x["isolate_modalities"] for x in calls] == [False, False, True] * 2
    assert read == [(step, layer) for step in (0, 1) for layer in range(4)]
    assert trace.maps().facts["steps"] == [0, 1]


def test_without_guidance_there_is_one_row_and_one_call(pipes):
    pipe = pipes("ltx2")
    guidance = backbone_of(pipe).guidance_arguments(1.0, conditional_only=False)
    assert guidance == backbone_of(pipe).guidance_arguments(6.0, conditional_only=True)
    with imap.trace(pipe, PROMPT, **WORDS):
        calls = calls_of(pipe, lambda: call(pipe, steps=2, **SIZE, **guidance))
    assert [len(x["hidden_states"]) for x in calls] == [1, 1]


def test_the_prompt_of_a_call_is_known_behind_the_connectors(pipes):
    pipe = pipes("ltx2")
    for encoded in (False, True):
        with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target="prompt") as trace:
            text = trace.encode_prompt(PROMPT, "") if encoded else {}
            call(pipe, steps=1, **SIZE, **text, **({"prompt": None} if encoded else {}))
        assert not [note for note in trace.text_slots.notes if "could not be checked" in note]
    match = "called with another prompt"
    settings = {"imap_qk_matching_target": "prompt"}
    with pytest.raises(imap.ImapError, match=match), imap.trace(pipe, PROMPT, **WORDS, **settings):
        call(pipe, steps=1, **SIZE | {"prompt": "A red ball rolls past a small cat on the grass."})
    given = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)[:2]
    with imap.trace(pipe, PROMPT, **WORDS, **settings) as trace:
        off = backbone_of(pipe).guidance_arguments(1.0, conditional_only=True)
        call(pipe, steps=1, **SIZE, **off, prompt=None, prompt_embeds=2 * given[0], prompt_attention_mask=given[1])
    assert [note for note in trace.text_slots.notes if "could not be checked" in note]


@pytest.mark.parametrize("neutral", ["mean", "dropped"])
def test_the_effect_of_a_word_is_that_in_the_text_of_video_and_of_sound(pipes, neutral):
    pipe = pipes("ltx2")
    with imap.trace(pipe, PROMPT, concepts=["small dog", "ball"], effect=[1], effect_neutral=neutral) as trace:
        calls = calls_of(pipe, lambda: call(pipe, steps=2, **SIZE))
    found = trace.maps()["effect"].reshape(2, -1)
    kwargs = calls[5]  # of step 1, behind the pair and the effect's own
    ids = pipe.tokenizer(PROMPT)["input_ids"]
    ball = ids.index(pipe.tokenizer(" ball", add_special_tokens=False)["input_ids"][0])
    assert kwargs["isolate_modalities"] is False and len(kwargs["hidden_states"]) == 1
    with torch.no_grad():
        without = dict(kwargs)
        if neutral == "mean":
            for name in ("encoder_hidden_states", "audio_encoder_hidden_states"):
                text = kwargs[name].clone()
                text[0, ball] = text[0, : len(ids)].mean(dim=0)
                without[name] = text
        else:
            embeds, mask, *_ = pipe.encode_prompt(PROMPT.replace(" ball", ""), do_classifier_free_guidance=False)
            video, sound, _ = pipe.connectors(embeds, mask)
            without |= {"encoder_hidden_states": video, "audio_encoder_hidden_states": sound}
        one, other = (pipe.transformer(**x)[0][0].double() for x in (kwargs, without))
    expected = torch.linalg.vector_norm(one - other, dim=-1).numpy()
    np.testing.assert_allclose(found[1], expected, rtol=0.02, atol=1e-6)  # of predictions near 1 in float32


@pytest.mark.parametrize("family", ["ltx2", "ltx2_i2v"])
def test_a_clip_is_not_renoised_because_it_has_no_sound_for_the_model(pipes, family):
    latents = torch.zeros(backbone_of(pipes(family)).latent_shape(17, 64, 96))
    with pytest.raises(imap.ImapError, match="takes sound at the same noise, and a clip's sound is not read"):
        imap.renoise(pipes(family), latents=latents, prompt=PROMPT, **WORDS)


def test_connectors_without_registers_are_refused():
    pipe = import_module("imap.testing.tiny.ltx2").build()
    pipe.connectors.register_to_config(video_connector_num_learnable_registers=None)
    with pytest.raises(imap.ImapError, match="no registers, so its text is not in the first slots"):
        imap.trace(pipe, PROMPT, **WORDS).__enter__()


def test_the_processor_of_ltx2_0_is_known_too():
    pipe = import_module("imap.testing.tiny.ltx2").build(gated=False)
    assert pipe.transformer.transformer_blocks[0].attn2.processor.__class__.__name__ == "LTX2AudioVideoAttnProcessor"
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        traced = call(pipe, steps=1, **SIZE)
    assert torch.equal(traced, call(pipe, steps=1, **SIZE)) and trace.maps()["imap"].std() > 0
