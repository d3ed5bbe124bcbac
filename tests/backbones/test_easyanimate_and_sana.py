"""EasyAnimate and Sana-Video: where a prompt's words are in the text of a call, and what is refused."""

from importlib import import_module

import diffusers
import pytest
import torch

import imap
from benchmarks.families.checks import measure
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import PROMPT
from tests.tracing.test_trace import WORDS, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("sana_video" not in tiny.FURTHER, reason="this diffusers has no Sana-Video"),
]
BOTH = pytest.mark.parametrize("family", ["easyanimate", "sana_video"])


def stock_call(pipe, prompt, **more):
    """Text of the conditional row of a stock pipeline call, and the token ids that its encoder got."""
    text, ids = [], []
    handles = [
        pipe.transformer.register_forward_pre_hook(lambda _, args, given: text.append(given), with_kwargs=True),
        pipe.text_encoder.register_forward_pre_hook(lambda _, args, given: ids.append((args, given)), with_kwargs=True),
    ]
    call(pipe, steps=1, prompt=prompt, height=64, width=96, **more)
    for handle in handles:
        handle.remove()
    args, given = ids[0]  # the negative prompt's come second
    mask = text[0].get("encoder_attention_mask", torch.ones(2, text[0]["encoder_hidden_states"].shape[1]))
    return text[0]["encoder_hidden_states"][-1], mask[-1].bool(), (args[0] if args else given["input_ids"])[0].tolist()


@BOTH
@pytest.mark.parametrize("other", ["A red cat rolls", "A blue ball rolls", "A red ball falls"])
def test_the_text_of_a_call_differs_from_the_changed_words_slot_on(pipes, family, other):
    """The encoders are causal, so the first slot with another state is that of the first other word."""
    pipe, prompt = pipes(family), "A red ball rolls"
    backbone, (one, _, _), (two, _, _) = backbone_of(pipe), stock_call(pipe, prompt), stock_call(pipe, other)
    changed = next(i for i, (a, b) in enumerate(zip(prompt.split(), other.split(), strict=True)) if a != b)
    first = (one - two).abs().amax(dim=-1).gt(1e-6).nonzero().flatten()[0].item()
    slots = backbone.prompt_slots({"encoder_hidden_states": one[None]}, 0, len(backbone.tokenize(prompt).ids))
    assert first == slots.first + changed
    spans = backbone.tokenize(prompt).spans[:4]
    assert [prompt[max(a, 0) : b].strip() for a, b in spans] == prompt.split()


@BOTH
def test_slots_of_a_prompt_are_the_encoders_tokens_from_its_first_on(pipes, family):
    pipe = pipes(family)
    text, mask, ids = stock_call(pipe, PROMPT)
    own = backbone_of(pipe).tokenize(PROMPT)
    slots = backbone_of(pipe).prompt_slots({"encoder_hidden_states": text[None]}, 0, len(own.ids))
    start = next(i for i in range(len(ids)) if ids[i : i + len(own.ids)] == list(own.ids))
    assert set(ids[start + len(own.ids) :]) == {pipe.tokenizer.pad_token_id}
    if family == "sana_video":
        assert (slots.first, slots.count) == (1, len(own.ids))
        assert mask.tolist() == [i < 1 + len(own.ids) for i in range(300)]
        states = pipe.text_encoder(torch.tensor([ids[: start + len(own.ids)]]))[0][0, start:]
    else:
        assert slots.first == start and slots.first + slots.count == 256
        encode = {"input_ids": torch.tensor([ids[: start + len(own.ids)]]), "output_hidden_states": True}
        states = pipe.text_encoder(**encode).hidden_states[-2][0, start:]
    torch.testing.assert_close(text[slots.first :][: len(own.ids)], states, atol=1e-5, rtol=1e-5)


@BOTH
@pytest.mark.parametrize("length", [1, 15, 16])
def test_a_concept_is_encoded_as_a_prompt_of_its_own(pipes, family, length):
    pipe, concept = pipes(family), " ".join(["ball"] * length)
    backbone = backbone_of(pipe)
    text, _, _ = stock_call(pipe, concept)
    start = backbone.prompt_slots({"encoder_hidden_states": text[None]}, 0, length).first
    own = text[start : start + length]
    for chosen, expected in {"first": own[0], "last": own[-1], "mean": own.mean(dim=0)}.items():
        (found,) = backbone.encode_concepts([concept], chosen)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@BOTH
def test_another_prompt_is_refused_and_the_same_is_known(pipes, family):
    pipe, settings = pipes(family), {"imap_qk_matching_target": "prompt"}
    size = {"height": 64, "width": 96}
    with imap.trace(pipe, PROMPT, **WORDS, **settings) as trace:
        call(pipe, steps=1, **size)
    assert not [note for note in trace.text_slots.notes if "could not be checked" in note]
    with (
        pytest.raises(imap.ImapError, match="called with another prompt"),
        imap.trace(pipe, PROMPT, **WORDS, **settings),
    ):
        call(pipe, steps=1, prompt="A red ball rolls past a small cat on the grass.", **size)


def test_sana_video_without_norms_and_with_other_heads_is_read():
    layout = {"qk_norm": None, "num_cross_attention_heads": 8, "cross_attention_head_dim": 18}
    pipe = import_module("imap.testing.tiny.sana_video").build(**layout)
    pipe.set_progress_bar_config(disable=True)
    assert backbone_of(pipe).num_heads == 8
    assert measure(pipe).faults == []


def test_sana_video_takes_sizes_of_its_pipeline_only(pipes):
    backbone = backbone_of(pipes("sana_video"))
    assert backbone.size_arguments(9, 64, 96)["frames"] == 9
    with pytest.raises(imap.ImapError, match="multiples of 32 pixels, got 720x1280.*set height=704 and width=1280"):
        backbone.size_arguments(9, 720, 1280)


def test_blocks_and_pipelines_of_easyanimate_that_are_not_read_are_refused():
    pipe, layers = tiny.build("easyanimate"), {"imap_layer": [0]}
    control = diffusers.EasyAnimateControlPipeline(**pipe.components)
    match = "no family reads the conditions of this pipeline; load a EasyAnimatePipeline"
    with pytest.raises(imap.ImapError, match=match), imap.trace(control, PROMPT, **WORDS, **layers):
        pass
    pipe.transformer.register_to_config(mmdit_layers=2)
    match = "text shares the projections of the video in its blocks from 2 on"
    with pytest.raises(imap.ImapError, match=match), imap.trace(pipe, PROMPT, **WORDS, **layers):
        pass


@BOTH
def test_a_call_with_encoded_text_is_the_stock_call(pipes, family):
    """Sana-Video puts no instruction before a negative prompt."""
    pipe, size = pipes(family), {"height": 64, "width": 96}
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        text = trace.encode_prompt(PROMPT, "blurry")
        if family == "sana_video":
            text["negative_prompt"] = None
        given = call(pipe, prompt=None, **({"negative_prompt": None} | text), **size)
    both = backbone_of(pipe).encode_prompt(PROMPT, "blurry")
    assert set(both) == set(text) - {"negative_prompt"}
    assert all(torch.equal(x, text[name]) for name, x in both.items())
    assert torch.equal(given, call(pipe, negative_prompt="blurry", **size))
