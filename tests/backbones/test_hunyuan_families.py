"""HunyuanVideo-1.5 and SkyReels-V1: where the prompt is in the text, guidance by an object, sizes of pictures."""

import numpy as np
import pytest
import torch

import imap
from benchmarks.families.oracle import Layer, maps_of
from benchmarks.families.stock import GRID, models_of, recorded, sample
from benchmarks.families.stock import WORDS as WRITTEN
from imap.backbones import backbone_of, family
from imap.backbones.features import Slots, call_arguments
from imap.jobs.timing import Stages
from imap.testing import tiny
from tests.shared import PROMPT, pictures_for, sizes_of
from tests.tracing.test_trace import WORDS, call

pytestmark = pytest.mark.slow

diffusers = pytest.importorskip("diffusers", minversion="0.36")  # the first with HunyuanVideo-1.5
FAMILIES = ("hunyuanvideo1_5", "hunyuanvideo1_5_i2v")
GUIDERS = {
    "ClassifierFreeGuidance": {},
    "AdaptiveProjectedGuidance": {},
    "SkipLayerGuidance": {"skip_layer_guidance_layers": [1]},
    "AutoGuidance": {"auto_guidance_layers": [1], "dropout": 0.1},
}
QUOTED = {  # text in quotes: tokens of ByT5, a byte each and the end
    PROMPT: 0,
    f'{PROMPT} A sign says "go".': len('Text "go". ') + 1,
    f'{PROMPT} Signs say "go", “é” and "go".': len('Text "go". Text "é". ') + 1 + 1,
}


@pytest.mark.parametrize("prompt", QUOTED)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_prompt_follows_a_picture_and_what_is_in_quotes(pipes, name, prompt):
    pipe = pipes(name)
    model, calls, embedded, texts = pipe.transformer, [], [], []

    def keep(module, args, kwargs):
        calls.append(call_arguments(module, args, kwargs))

    handles = [
        model.register_forward_pre_hook(keep, with_kwargs=True),
        model.context_embedder.register_forward_hook(lambda _, args, out: embedded.append(out[0])),
        model.transformer_blocks[0].register_forward_pre_hook(lambda _, args: texts.append(args[1][0])),
    ]
    call(pipe, steps=1, prompt=prompt, **sizes_of(name))
    for handle in handles:
        handle.remove()
    pieces = backbone_of(pipe).tokenize(prompt).pieces
    slots = backbone_of(pipe).prompt_slots(calls[0], 0, len(pieces))
    assert slots == Slots((16 if name.endswith("i2v") else 0) + QUOTED[prompt], len(pieces))
    own = embedded[0][: len(pieces)] + model.cond_type_embed.weight[0]
    assert torch.equal(texts[0][slots.own], own)


def test_an_effect_that_leaves_quoted_words_in_says_so(pipes):
    pipe = pipes("hunyuanvideo1_5")
    for prompt, neutral, notes in (
        ('A "red ball" rolls past a dog.', "mean", 1),
        ("A “red ball” rolls past a dog.", "mean", 1),
        ('A "red ball" rolls past a dog.', "dropped", 0),
        ("A red ball rolls past a dog.", "mean", 0),
    ):
        trace = imap.trace(pipe, prompt, ["ball"], imap_layer=[0], effect=[0], effect_neutral=neutral)
        assert sum("words in quotes are also read" in note for note in trace.text_slots.notes) == notes, (
            prompt,
            neutral,
        )


@pytest.mark.parametrize("prompt", QUOTED)
def test_words_and_their_effect_are_read_beside_quotes(pipes, prompt):
    pipe, given = pipes("hunyuanvideo1_5"), []
    size = sizes_of("hunyuanvideo1_5")

    def keep(module, args, kwargs):
        given.append(kwargs["encoder_hidden_states"])

    handle = pipe.transformer.register_forward_pre_hook(keep, with_kwargs=True)
    with imap.trace(pipe, prompt, **WORDS, imap_qk_matching_target="prompt", effect=True) as trace:
        call(pipe, steps=1, prompt=prompt, **size)
    handle.remove()
    maps = trace.maps()
    assert all(x.std() > 0 for x in maps.values())
    spans, expected = backbone_of(pipe).tokenize(prompt).spans, []
    for word in ("ball", "small dog", "rolls"):
        start = prompt.index(word)
        expected.append([i for i, (a, b) in enumerate(spans) if a < start + len(word) and b > start])
    plain, changed, _ = given  # the third is of guidance
    assert [(x != plain[0]).any(dim=-1).nonzero().flatten().tolist() for x in changed] == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_beside_quotes_are_those_of_plain_loops(pipes, name):
    """Queries, keys and head outputs are those of torch's attention call in an untraced run, in float64."""
    pipe, prompt = pipes(name), 'A sign says "go" where a red kangaroo rolls past a small dog.'
    with recorded(models_of(pipe)) as calls:
        latents = sample(pipe, prompt)
    stock, read = calls[0], {}
    tokens = GRID.frames * GRID.patches
    first = tokens + (16 if name.endswith("i2v") else 0) + len('Text "go". ') + 1
    own = slice(first, first + int(stock.arguments["encoder_attention_mask"].sum()))
    places = pipe.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    starts = [(prompt.index(word), prompt.index(word) + len(word)) for word in WRITTEN]
    spans = [[i for i, (a, b) in enumerate(places) if a < stop and b > start] for start, stop in starts]

    def observe(layer, step, _, __, found):
        read[layer, step] = {key: x.double().numpy() for key, x in found.maps.items()}

    chosen = {"imap_qk_matching_target": "prompt", "imap_layer": [0, 1, 2], "observe": observe}
    with imap.trace(pipe, prompt, WRITTEN[:2], WRITTEN[2:], **chosen):
        assert torch.equal(sample(pipe, prompt), latents)
    for layer, block in enumerate(stock.blocks):
        ((q, k, _, o),) = block.of_row(0, 1)
        q, o = (x[:, :tokens].unflatten(1, (GRID.frames, -1)).numpy() for x in (q, o))
        for key, expected in maps_of(
            Layer(q, o, k[:, own].numpy(), None, None), "prompt", spans, backbone_of(pipe)
        ).items():
            off = np.abs(read[layer, 0][key] - expected).max(axis=(1, 2)) / expected.std(axis=(1, 2))
            assert off.max() < 5e-3, (layer, key, off)


def test_masks_are_counted_exactly_in_bfloat16():
    mask = torch.zeros(1, 1000, dtype=torch.bfloat16)
    mask[:, :301] = 1
    arguments = {"encoder_attention_mask": mask, "encoder_attention_mask_2": mask, "image_embeds": torch.zeros(1, 9, 4)}
    adapter = family("hunyuanvideo1_5")
    assert adapter.prompt_slots(adapter.__new__(adapter), arguments, 0, 301) == Slots(301, 301)


@pytest.mark.parametrize(("scale", "alone", "calls"), [(6.0, False, 2), (6.0, True, 1), (1.0, False, 1)])
def test_guidance_is_another_guider_for_the_time_of_a_call(pipes, scale, alone, calls):
    pipe = pipes("hunyuanvideo1_5")
    own, seen = pipe.guider, []
    handle = pipe.transformer.register_forward_hook(lambda *_: seen.append(1))
    with backbone_of(pipe).guidance(scale, conditional_only=alone) as arguments:
        assert arguments == {} and pipe.guider.guidance_scale == scale
        call(pipe, steps=1, **sizes_of("hunyuanvideo1_5"))
    handle.remove()
    assert len(seen) == calls and pipe.guider is own and own.guidance_scale == 6.0 and own._enabled


def test_a_failed_job_gives_guider_and_scheduler_back(pipes):
    pipe, size = pipes("hunyuanvideo1_5"), sizes_of("hunyuanvideo1_5")
    own, before = pipe.guider, set(vars(pipe.scheduler))

    def fail(*_):
        raise RuntimeError("on purpose")

    handle = pipe.transformer.register_forward_hook(fail)
    shape = backbone_of(pipe).latent_shape(size["num_frames"], size["height"], size["width"])
    chosen = {"num_inference_steps": 2, "renoise_timestep": [1], "guidance_scale": 3.0}
    with pytest.raises(RuntimeError, match="on purpose"):
        imap.renoise(pipe, latents=torch.zeros(shape), prompt=PROMPT, **WORDS, **chosen)
    handle.remove()
    assert pipe.guider is own and own.guidance_scale == 6.0 and set(vars(pipe.scheduler)) == before


@pytest.mark.parametrize("kind", GUIDERS)
def test_a_guider_that_changes_the_model_is_refused(kind):
    pipe = tiny.build("hunyuanvideo1_5")
    pipe.guider = getattr(diffusers, kind)(**GUIDERS[kind])
    if kind in ("ClassifierFreeGuidance", "AdaptiveProjectedGuidance"):
        plain = call(pipe, steps=1, **sizes_of("hunyuanvideo1_5"))
        with imap.trace(pipe, PROMPT, **WORDS) as trace:
            assert torch.equal(plain, call(pipe, steps=1, **sizes_of("hunyuanvideo1_5")))
        assert trace.steps.read == [0]
    else:
        with pytest.raises(imap.ImapError, match=f"its guider, a {kind}, changes the .* ClassifierFreeGuidance"):
            imap.trace(pipe, PROMPT, **WORDS).__enter__()


def test_a_changed_chat_is_refused():
    pipe = tiny.build("hunyuanvideo1_5")
    pipe.system_message = "Describe the video."
    with pytest.raises(imap.ImapError, match="its system_message was changed; set the stock"):
        imap.trace(pipe, PROMPT, **WORDS).__enter__()


def test_a_size_that_the_pipeline_does_not_make_of_a_picture_is_refused(pipes):
    pipe = pipes("hunyuanvideo1_5_i2v")
    assert backbone_of(pipe).size_arguments(9, 32, 48) == {"num_frames": 9}
    with pytest.raises(imap.ImapError, match="makes a video of 32x32 .* from a picture of 64x64; set height=32"):
        imap.renoise(
            pipe,
            np.zeros((9, 64, 64, 3), np.uint8),
            prompt=PROMPT,
            **WORDS,
            num_inference_steps=2,
            renoise_timestep=[1],
        )


def test_steps_of_a_pipeline_without_a_callback_are_told_by_its_scheduler(pipes):
    pipe, seen = pipes("hunyuanvideo1_5"), []
    before = set(vars(pipe.scheduler))
    stages = Stages(torch.device("cpu"), lambda *place: seen.append(place))
    with stages.denoise_then(1, "decode", pipe=pipe) as arguments:
        assert arguments == {}
        latents = call(pipe, steps=2, **sizes_of("hunyuanvideo1_5"))
    assert seen == [("denoise", 0, 2), ("denoise", 1, 2), ("denoise", 2, 2), ("decode", 0, 0)]
    assert torch.equal(stages.latents, latents) and set(vars(pipe.scheduler)) == before


def test_the_second_call_of_skyreels_is_not_read(pipes):
    pipe, maps, calls = pipes("hunyuan_skyreels_i2v"), [], []
    handle = pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    for scale in (6.0, 1.0):
        with imap.trace(pipe, PROMPT, **WORDS) as trace:
            call(pipe, steps=1, negative_prompt="bad", true_cfg_scale=scale)
        maps.append(trace.maps())
    handle.remove()
    assert len(calls) == 3 and all(np.array_equal(maps[0][key], maps[1][key]) for key in maps[1])
    assert set(pictures_for(pipe)) == {"image"}
