"""Cosmos 2.5: the prompt inside a conversation, and frames of a clip at noise levels of their own."""

import numpy as np
import pytest
import torch

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import PROMPT
from tests.tracing.test_trace import WORDS, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("cosmos2_5" not in tiny.NOT_SAVED, reason="an old diffusers"),
]


def test_the_tokens_of_a_prompt_are_those_of_its_conversation(pipes):
    pipe, given = pipes("cosmos2_5"), []
    backbone = backbone_of(pipe)
    hook = lambda module, args, kwargs: given.append(args[0])  # noqa: E731
    handle = pipe.text_encoder.register_forward_pre_hook(hook, with_kwargs=True)
    pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    handle.remove()
    ids, own = given[0][0].tolist(), backbone.tokenize(PROMPT)
    slots = backbone.prompt_slots({"encoder_hidden_states": torch.zeros(1, 512, 1)}, 0, len(own.ids))
    assert ids[slots.first : slots.first + len(own.ids)] == list(own.ids)
    assert ids[slots.first + len(own.ids) :] == [pipe.tokenizer.pad_token_id] * (512 - slots.first - len(own.ids))
    assert slots.first + slots.count == 512
    assert [PROMPT[max(a, 0) : b].strip() for a, b in own.spans[:4]] == ["A", "red", "ball", "rolls"]


@pytest.mark.parametrize("latent_frames", [1, 2])
def test_a_clip_that_it_continues_changes_no_bit_under_a_trace(pipes, latent_frames):
    pipe, levels = pipes("cosmos2_5"), []
    clip = torch.rand(1, 3, 9, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    given = {"video": clip, "num_latent_conditional_frames": latent_frames}
    plain = call(pipe, steps=3, **given)
    with imap.trace(pipe, PROMPT, **WORDS, maps_timesteps=[1, 3], effect=[1]) as trace:
        keep = lambda module, args, kwargs: levels.append(kwargs["timestep"].flatten())  # noqa: E731
        handle = pipe.transformer.register_forward_pre_hook(keep, with_kwargs=True)
        traced = call(pipe, steps=3, **given)
        handle.remove()
    assert torch.equal(plain, traced) and trace.maps().facts["steps"] == [1, 2]
    effect = trace.maps()["effect"]
    assert not effect[:, :latent_frames].any() and effect[:, latent_frames:].all()
    assert any("prediction is not used" in note for note in trace.maps().facts["notes"])
    levels = [x for x in levels if len(x) == 3]  # else it is a call for the effect, of three words
    assert len(levels) == 6 and all((x[:latent_frames] == 1e-4).all() for x in levels)
    assert all(x.std() > 0 and np.isfinite(x).all() for x in trace.maps().values())


def test_another_prompt_is_refused_and_the_same_is_known(pipes):
    pipe, settings = pipes("cosmos2_5"), {"imap_qk_matching_target": "prompt"}
    with imap.trace(pipe, PROMPT, **WORDS, **settings) as trace:
        call(pipe, steps=1)
    assert not [note for note in trace.text_slots.notes if "could not be checked" in note]
    other = {"prompt": "A red ball rolls past a small cat on the grass."}
    match = "called with another prompt"
    with pytest.raises(imap.ImapError, match=match), imap.trace(pipe, PROMPT, **WORDS, **settings):
        call(pipe, steps=1, **other)


def test_the_effect_of_a_word_is_that_of_its_slots(pipes):
    pipe, calls = pipes("cosmos2_5"), []
    with imap.trace(pipe, PROMPT, concepts=["ball", "small dog"], effect=[0]):
        keep = lambda module, args, kwargs: calls.append(kwargs)  # noqa: E731
        handle = pipe.transformer.register_forward_pre_hook(keep, with_kwargs=True)
        call(pipe, steps=1, guidance_scale=1.0)
        handle.remove()
    (plain,), changed = (kwargs["encoder_hidden_states"] for kwargs in calls)
    assert [len(kwargs["padding_mask"]) for kwargs in calls] == [1, 1]  # the model repeats it for every video
    own, first = backbone_of(pipe).tokenize(PROMPT), backbone_of(pipe)._before
    for row, places in zip(changed, ([2], [7, 8]), strict=True):
        expected = plain.clone()
        expected[[first + place for place in places]] = plain[first : first + len(own.ids)].mean(dim=0)
        assert torch.equal(row, expected) and own.pieces[2] == "Ġball" and own.pieces[7:9] == ("Ġsmall", "Ġdog")


def test_padding_on_the_left_is_refused():
    pipe = tiny.build("cosmos2_5")
    pipe.tokenizer.padding_side = "left"
    with pytest.raises(imap.ImapError, match=r"pads on the left, .*padding_side = 'right'"):
        imap.trace(pipe, PROMPT, **WORDS).__enter__()
