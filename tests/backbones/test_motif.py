"""Motif-Video: where a prompt's words are in the text of a call, blocks with two attentions, and what is refused."""

from dataclasses import astuple
from importlib import import_module

import diffusers
import pytest
import torch

import imap
from benchmarks.families.checks import measure
from imap.backbones import backbone_of
from imap.backbones.features import call_arguments
from imap.testing import tiny
from tests.shared import PROMPT, SIZES, pictures_for
from tests.tracing.test_trace import WORDS, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("motif" not in tiny.FURTHER, reason="this diffusers has no Motif-Video"),
]
BOTH = pytest.mark.parametrize("family", ["motif", "motif_i2v"])
SIDES = pytest.mark.parametrize("side", ["left", "right"])
PICTURE = 16  # tokens of the picture


@pytest.fixture
def padded(pipes, monkeypatch):
    """A tiny pipeline whose tokenizer pads on a side."""

    def build(family, side):
        monkeypatch.setattr(pipes(family).tokenizer, "padding_side", side)
        return pipes(family)

    return build


def stock_call(pipe, prompt):
    """Arguments of the conditional call, the text of the first block, and the token ids that the encoder got."""
    model, calls, texts, ids = pipe.transformer, [], [], []
    handles = [
        model.register_forward_pre_hook(lambda *x: calls.append(call_arguments(*x)), with_kwargs=True),
        model.transformer_blocks[0].register_forward_pre_hook(lambda _, args: texts.append(args[1][0])),
        pipe.text_encoder.register_forward_pre_hook(lambda *x: ids.append(x[2]["input_ids"][0]), with_kwargs=True),
    ]
    call(pipe, steps=1, prompt=prompt)
    for handle in handles:
        handle.remove()
    return calls[0], texts[0], ids[0]


@BOTH
@SIDES
def test_slots_of_a_prompt_are_its_tokens_behind_the_picture_and_the_padding(padded, family, side):
    pipe = padded(family, side)
    given, text, ids = stock_call(pipe, PROMPT)
    backbone = backbone_of(pipe)
    own = backbone.tokenize(PROMPT)
    slots = backbone.prompt_slots(given, 0, len(own.ids))
    picture, padding = PICTURE if family == "motif_i2v" else 0, 512 - len(own.ids) if side == "left" else 0
    assert astuple(slots) == (picture + padding, len(own.ids), 1)
    assert len(text) == picture + 512
    assert ids[padding : padding + len(own.ids)].tolist() == list(own.ids)
    alone = pipe.text_encoder(torch.tensor([own.ids]))[0]
    torch.testing.assert_close(text[slots.own], pipe.transformer.context_embedder(alone)[0], atol=1e-5, rtol=1e-4)
    words = [PROMPT[a:b].strip() for a, b in own.spans]
    assert words[0] == "" and words[1:4] == ["A", "red", "ball"]  # the start token first


@SIDES
@pytest.mark.parametrize("length", [1, 15])
def test_a_concept_is_encoded_as_a_prompt_of_its_own(padded, side, length):
    pipe, concept = padded("motif", side), " ".join(["ball"] * length)
    backbone = backbone_of(pipe)
    given, _, _ = stock_call(pipe, concept)
    start = backbone.offset(given, 0, length) + 1  # behind the start token
    own = given["encoder_hidden_states"][0, start : start + length]
    for chosen, expected in {"first": own[0], "last": own[-1], "mean": own.mean(dim=0)}.items():
        found, _ = backbone.encode_concepts([concept, "dog"], chosen)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@BOTH
@SIDES
def test_another_prompt_is_refused_and_the_same_is_known(padded, family, side):
    pipe, settings = padded(family, side), {"imap_qk_matching_target": "prompt"}
    with imap.trace(pipe, PROMPT, **WORDS, **settings) as trace:
        call(pipe, steps=1)
    assert not [note for note in trace.text_slots.notes if "could not be checked" in note]
    with (
        pytest.raises(imap.ImapError, match="called with another prompt"),
        imap.trace(pipe, PROMPT, **WORDS, **settings),
    ):
        call(pipe, steps=1, prompt="A red ball rolls past a small cat on the grass.")


@SIDES
def test_the_effect_of_a_word_changes_its_slots_alone(padded, side):
    pipe, given = padded("motif", side), []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda *x: given.append(x[2]["encoder_hidden_states"]), with_kwargs=True
    )
    with imap.trace(pipe, PROMPT, **WORDS, effect=True) as trace:
        call(pipe, steps=1)
    handle.remove()
    plain, changed, _ = given  # the third is of guidance
    spans = backbone_of(pipe).tokenize(PROMPT).spans
    before = 512 - len(spans) if side == "left" else 0
    for text, word in zip(changed, trace.text_slots.texts, strict=True):
        written = trace.text_slots.places[word].as_written[0]
        start = PROMPT.index(written)
        expected = [before + i for i, (a, b) in enumerate(spans) if a < start + len(written) and b > start]
        assert (text != plain[0]).any(dim=-1).nonzero().flatten().tolist() == expected


@BOTH
def test_a_call_with_encoded_text_is_the_stock_call(pipes, family):
    pipe = pipes(family)
    text = backbone_of(pipe).encode_prompt(PROMPT, "blurry")
    given = call(pipe, **{"prompt": None} | text)
    assert torch.equal(given, call(pipe, negative_prompt="blurry"))
    assert not torch.equal(given, call(pipe, negative_prompt=""))


@BOTH
def test_noise_is_drawn_in_the_transformers_dtype(family):
    pipe, seen = tiny.build(family).to(torch.bfloat16), []
    pipe.set_progress_bar_config(disable=True)
    pipe.transformer.register_forward_pre_hook(lambda *x: seen.append(x[2]["hidden_states"]), with_kwargs=True)
    call(pipe, steps=1)
    backbone, drawn = backbone_of(pipe), torch.Generator().manual_seed(7)
    shape = backbone.latent_shape(SIZES["num_frames"], SIZES["height"], SIZES["width"])
    assert torch.equal(seen[0][:, :16], torch.randn(shape, generator=drawn, dtype=backbone.latent_dtype))


@pytest.mark.parametrize("layout", [{"enable_text_cross_attention_dual": True}, {"qk_norm": "layer_norm"}])
def test_blocks_of_another_layout_are_read_right(layout):
    """Where a block has cross-attention to text too, its joint attention is read."""
    pipe = import_module("imap.testing.tiny.motif").build(**layout)
    pipe.set_progress_bar_config(disable=True)
    assert measure(pipe).faults == []


def test_cross_attention_to_text_is_not_in_the_concepts_way():
    """Maps of the first block do not depend on it; those of a later one do, for it changes the video."""
    pipe = import_module("imap.testing.tiny.motif").build(enable_text_cross_attention_dual=True)
    pipe.set_progress_bar_config(disable=True)
    found, chosen = [], {"imap_qk_matching_target": "concepts", "imap_layer": [0, 1]}
    for scale in (1.0, 2.0):
        pipe.transformer.transformer_blocks[0].cross_attn.to_out[0].weight.data.mul_(scale)
        by_layer = {}
        observe = lambda layer, step, _, __, read, kept=by_layer: kept.setdefault(layer, dict(read.maps))  # noqa: E731
        with imap.trace(pipe, PROMPT, **WORDS, **chosen, observe=observe):
            call(pipe, steps=1)
        found.append(by_layer)
    one, other = found
    for key in one[0]:
        assert torch.equal(one[0][key], other[0][key]), key
        assert not torch.equal(one[1][key], other[1][key]), key


def test_what_cannot_be_read_is_refused():
    pipe = tiny.build("motif")
    pipe.guider = diffusers.SkipLayerGuidance(skip_layer_guidance_layers=[1])
    with pytest.raises(imap.ImapError, match="its guider, a SkipLayerGuidance, changes the"):
        imap.trace(pipe, PROMPT, **WORDS).__enter__()
    pipe = import_module("imap.testing.tiny.motif").build(qk_norm=None)
    with pytest.raises(imap.ImapError, match=r"no norms to read queries and keys from \(qk_norm=None\)"):
        imap.trace(pipe, PROMPT, **WORDS).__enter__()


def test_a_picture_is_an_argument_of_image_to_video_alone(pipes):
    assert set(pictures_for(pipes("motif_i2v"))) == {"image"} and not pictures_for(pipes("motif"))
