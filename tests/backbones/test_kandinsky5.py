"""Kandinsky 5: slots of words, texts that are too long, concepts as texts of their own, and what is refused."""

from importlib import import_module
from itertools import pairwise

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline
from transformers import Qwen2VLProcessor

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import PROMPT
from tests.tracing.test_trace import WORDS, call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("kandinsky5" not in tiny.FURTHER, reason="this diffusers has no Kandinsky 5"),
]

LONG = "A red ball rolls past a small dog on the grass. " * 60


@pytest.fixture
def pipe(pipes):
    return pipes("kandinsky5")


def built(**changed):
    pipe = import_module("imap.testing.tiny.kandinsky5").build(**changed)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stock_call(pipe, **given):
    """Arguments of the first transformer call of a stock pipeline call, and the ids that its text encoder got."""
    calls, ids = [], []
    handles = [
        pipe.transformer.register_forward_pre_hook(lambda _, args, given: calls.append(given), with_kwargs=True),
        pipe.text_encoder.register_forward_pre_hook(lambda _, args, given: ids.append(given), with_kwargs=True),
    ]
    call(pipe, steps=1, **given)
    for handle in handles:
        handle.remove()
    return calls[0], ids[0]["input_ids"][0].tolist()


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        "  a\n\nball &amp; a  dog ",
        "red" * 30,
        LONG,
        # the pipeline counts characters: how many are left depends on the words at the window's end and at the text's
        *(LONG[: 2000 + shift] + " internationalization kangaroo" * 20 for shift in range(0, 40, 7)),
        *("ball " * count for count in (510, 511, 512, 513, 514)),
    ],
)
def test_tokens_of_a_prompt_are_those_that_its_encoder_gets(pipe, prompt):
    backbone = backbone_of(pipe)
    _, ids = stock_call(pipe, prompt=prompt)
    own = backbone.tokenize(prompt)
    assert list(own.ids) == ids[pipe.prompt_template_encode_start_idx :]
    assert len(own.ids) <= 512
    clean = backbone.clean(prompt)
    for piece, (start, stop) in list(zip(own.pieces, own.spans, strict=True))[:500]:
        if stop <= len(clean):
            assert piece.replace("Ġ", " ").strip() == clean[start:stop].strip()


@pytest.mark.parametrize("other", ["A red cat rolls", "A blue ball rolls", "A red ball falls"])
def test_the_text_of_a_call_differs_from_the_changed_words_slot_on(pipe, other):
    prompt, backbone = "A red ball rolls", backbone_of(pipe)
    one, two = (stock_call(pipe, prompt=x)[0]["encoder_hidden_states"][0] for x in (prompt, other))
    changed = next(i for i, (a, b) in enumerate(zip(prompt.split(), other.split(), strict=True)) if a != b)
    assert (one - two[: len(one)]).abs().amax(dim=-1).gt(1e-6).nonzero().flatten()[0] == changed
    slots = backbone.prompt_slots({"encoder_hidden_states": one[None]}, 0, len(backbone.tokenize(prompt).ids))
    assert (slots.first, slots.count, slots.last_stands_for) == (0, len(one), 1)
    assert len(one) == len(backbone.tokenize(prompt).ids)


@pytest.mark.parametrize("length", [1, 15])
def test_a_concept_is_encoded_as_a_prompt_of_its_own(pipe, length):
    concept, backbone = " ".join(["ball"] * length), backbone_of(pipe)
    own = stock_call(pipe, prompt=concept)[0]["encoder_hidden_states"][0, :length]
    for chosen, expected in {"first": own[0], "last": own[-1], "mean": own.mean(dim=0)}.items():
        found = backbone.encode_concepts(["a kangaroo", concept], chosen)[1]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_concepts_enter_the_blocks_as_texts_of_one_token(pipe):
    """Whatever comes with them, and wherever they are: the stock transformer gives its first block the same."""
    backbone, (given, _) = backbone_of(pipe), stock_call(pipe)
    embeddings = torch.cat([given["encoder_hidden_states"][0, :3], torch.zeros(1, 32)])
    with torch.no_grad():
        found = backbone.start_concepts(embeddings, given, 0)
        assert found.shape == (1, 4, 96)
        for place in (0, 7):
            for one, embedding in zip(found[0], embeddings, strict=True):
                seen = []
                block = pipe.transformer.visual_transformer_blocks[0]
                handle = block.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[1]))
                alone = {"encoder_hidden_states": embedding.expand(1, 1, -1), "text_rope_pos": torch.tensor([place])}
                pipe.transformer(**given | alone)
                handle.remove()
                torch.testing.assert_close(one, seen[0][0, 0], atol=1e-5, rtol=1e-5)
        later = backbone.start_concepts(embeddings, given | {"timestep": given["timestep"] / 2}, 0)
    assert (later - found).abs().max() > 1e-2


def test_queries_and_keys_in_bfloat16_are_those_of_the_attention(monkeypatch):
    pipe = DiffusionPipeline.from_pretrained(tiny.folder("kandinsky5"), torch_dtype=torch.bfloat16)
    if not pipe.transformer._keep_in_fp32_modules:
        pytest.skip("this diffusers runs its time embeddings in bfloat16 on a GPU only")
    pipe.set_progress_bar_config(disable=True)
    attend, seen, read, inside = torch.nn.functional.scaled_dot_product_attention, [], [], []

    def spy(query, key, value, *args, **kwargs):
        if inside:
            seen.append((query[0], key[0]))
        return attend(query, key, value, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    for block in pipe.transformer.visual_transformer_blocks:
        block.cross_attention.register_forward_pre_hook(lambda *_: inside.append(1))
        block.cross_attention.register_forward_hook(lambda *_: inside.clear())

    def observe(layer, step, activations, *_):
        read.append((activations.q.flatten(1, 2), activations.keys))

    layers = {"imap_layer": [0], "maps_layers": [0, 3], "imap_qk_matching_target": "prompt"}
    words = {"concepts": ["ball", "small dog"], "motions": ["rolls"]}
    with imap.trace(pipe, PROMPT, **words, **layers, observe=observe) as trace:
        latents = call(pipe, steps=1, guidance_scale=1.0)
    assert latents.dtype == torch.bfloat16 and len(seen) == len(read) == 3
    for (q, keys), (own_q, own_keys) in zip(read, seen, strict=True):
        assert torch.equal(q.float(), own_q.float()) and torch.equal(keys.float(), own_keys.float())
    assert trace.maps().imap.std() > 0
    assert torch.equal(latents, call(pipe, steps=1, guidance_scale=1.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0), (5.0, 5.0, 5.0), (5.0, 1.0, 5.0), (5.0, 5.0, 1.0)])
def test_each_step_is_read_once_from_its_conditional_call(dtype, scales):
    pipe, seen = DiffusionPipeline.from_pretrained(tiny.folder("kandinsky5"), torch_dtype=dtype), []
    if dtype == torch.bfloat16 and not pipe.transformer._keep_in_fp32_modules:
        pytest.skip("this diffusers runs its time embeddings in bfloat16 on a GPU only")
    pipe.transformer.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["encoder_hidden_states"]), with_kwargs=True
    )

    def guide(pipe, step, timestep, _):
        pipe._guidance_scale = (*scales, None)[step + 1]
        return {}

    def observe(layer, step, *_):
        seen.append(step) if not layer else None

    with imap.trace(pipe, PROMPT, **WORDS, observe=observe) as trace:
        call(pipe, steps=3, guidance_scale=scales[0], callback_on_step_end=guide)
    read = [(x, earlier) for earlier, x in pairwise(seen) if isinstance(x, int)]
    assert [step for step, _ in read] == [0, 1, 2] == trace.maps().facts["steps"]
    assert all(torch.equal(text, seen[0]) for _, text in read)  # the first call is the conditional one
    assert len(seen) - len(read) == 3 + sum(scale > 1 for scale in scales)


def test_a_second_call_and_a_call_of_the_transformer_alone_are_refused(pipe):
    given, _ = stock_call(pipe)
    fresh = built()
    with pytest.raises(imap.ImapError, match="outside a call"), imap.trace(fresh, PROMPT, **WORDS):
        fresh.transformer(**given | {"timestep": given["timestep"] / 3})
    with pytest.raises(imap.ImapError, match="meets another one"), imap.trace(pipe, PROMPT, **WORDS):
        call(pipe)
        call(pipe)


@pytest.mark.parametrize("conditioned", [True, False])
def test_noised_latents_get_the_condition_that_the_pipeline_adds_to_its_own(conditioned):
    pipe, seen = built(visual_cond=conditioned), []
    pipe.transformer.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["hidden_states"].clone()), with_kwargs=True
    )
    call(pipe, steps=4, guidance_scale=1.0)
    noise = torch.randn((1, 3, 4, 6, 16), generator=torch.Generator().manual_seed(3)).movedim(-1, 1)
    clean = torch.zeros(1, 16, 3, 4, 6)
    chosen = {"prompt": PROMPT, "num_inference_steps": 4, "renoise_timestep": [0], "seed": 3}
    imap.renoise(pipe, latents=clean, **WORDS, **chosen)
    own, drawn = seen[0], seen[-1]
    assert own.shape == drawn.shape == (1, 3, 4, 6, 33 if conditioned else 16)
    assert torch.equal(own[..., 16:], drawn[..., 16:]) and not drawn[..., 16:].any()
    assert torch.equal(drawn[..., :16].movedim(-1, 1), noise)  # a seed draws what the pipeline draws from it
    maps = [imap.renoise(pipe, latents=x, **WORDS, **chosen).maps.imap for x in (clean, clean.movedim(1, -1))]
    assert (maps[0] == maps[1]).all()


def test_another_prompt_is_refused_and_the_same_is_known(pipe):
    settings = {"imap_qk_matching_target": "prompt"}
    for prompt in (PROMPT, LONG):
        with imap.trace(pipe, prompt, **WORDS, **settings) as trace:
            call(pipe, steps=1, prompt=prompt)
        assert not [note for note in trace.text_slots.notes if "could not be checked" in note]
    with (
        pytest.raises(imap.ImapError, match="called with another prompt"),
        imap.trace(pipe, PROMPT, **WORDS, **settings),
    ):
        call(pipe, steps=1, prompt="A red ball rolls past a small cat on the grass.")


def test_a_call_with_encoded_text_is_the_stock_call(pipe):
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        text = trace.encode_prompt(PROMPT, "blurry")
        given = call(pipe, prompt=None, **text)
    assert torch.equal(given, call(pipe, negative_prompt="blurry"))


def test_a_tokenizer_inside_a_processor_is_found(pipe):
    """As in the published checkpoints. A processor of pictures needs torchvision, so this one has its texts only."""
    expected = call(pipe, steps=1)
    with imap.trace(pipe, PROMPT, **WORDS, imap_qk_matching_target="prompt") as trace:
        call(pipe, steps=1)
    processor = Qwen2VLProcessor.__new__(Qwen2VLProcessor)
    processor.tokenizer, processor.image_token, processor.video_token = pipe.tokenizer, "<|image|>", "<|video|>"
    other = type(pipe)(**{**pipe.components, "tokenizer": processor})
    other.set_progress_bar_config(disable=True)
    with imap.trace(other, PROMPT, **WORDS, imap_qk_matching_target="prompt") as again:
        assert torch.equal(call(other, steps=1), expected)
    assert (again.maps().imap == trace.maps().imap).all()


def test_sparse_attention_and_other_pipelines_and_templates_are_refused_before_anything_runs():
    def refused(pipe, match):
        with pytest.raises(imap.ImapError, match=match), imap.trace(pipe, PROMPT, **WORDS):
            pytest.fail("it was opened")

    sparse = built(attention_type="nabla", attention_P=0.9, attention_wT=11, attention_wW=3, attention_wH=3)
    refused(sparse, "sparse .attention_type=nabla.*load a Lite one")
    pipe = built()
    for other in (diffusers.Kandinsky5T2IPipeline, diffusers.Kandinsky5I2VPipeline):
        refused(other(**pipe.components), "no family reads .* of this pipeline; load a Kandinsky5T2VPipeline")
    template = pipe.prompt_template
    pipe.prompt_template = "Be short. " + template
    refused(pipe, "prompt_template has 13[0-9] tokens before the text, of which it drops 12[89]")
    pipe.prompt_template = template + "\n"
    refused(pipe, "or another end than the stock pipeline's")
    pipe.prompt_template = template
    with imap.trace(pipe, PROMPT, **WORDS):
        pass
    with pytest.raises(imap.ImapError, match="effect_neutral=dropped needs texts of equal length.*=mean"):
        imap.trace(pipe, PROMPT, ["ball"], ["rolls"], effect=True, effect_neutral="dropped")
