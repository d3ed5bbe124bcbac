"""Whole traces against the naive reference: float64, real padding, full attention, full Gram matrices, loops.

Queries, keys, values and head outputs come from torch's attention function itself, where imap does not look.
"""

import copy
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from inspect import signature

import numpy as np
import pytest
import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from PIL import Image
from sklearn.metrics import calinski_harabasz_score
from torch.nn.functional import silu

import imap
from imap.methods import reference as method
from imap.testing import tiny
from tests.shared import FAMILIES, pictures_for, sizes_of

PROMPT = "A red kangaroo rolls past a small dog on the grass."
CONCEPTS, MOTIONS = ["small dog", "kangaroo", "xylophone"], ["rolling"]
IN_PROMPT = {"small dog": "small dog", "kangaroo": "kangaroo", "rolling": "rolls", "xylophone": None}
LENGTHS = {
    "cogvideox": 226,
    "cogvideox1_5": 226,
    "hunyuanvideo": 256,
    "wan": 512,
    "wan2_2": 512,
    "mochi": 256,
    "ltx": 128,
    "ltx_i2v": 128,
    "ltx_condition": 256,
    **({"cosmos2_5": 512} if "cosmos2_5" in tiny.NOT_SAVED else {}),
    **({"ltx2": 1024, "ltx2_i2v": 1024} if "ltx2" in tiny.FURTHER else {}),
    "allegro": 512,
}
ATTENTION = {"cogvideox": "attn1", "cogvideox1_5": "attn1", "hunyuanvideo": "attn", "mochi": "attn1"}  # else attn2
CROSS = ("cosmos2_5", "wan", "wan2_2", "ltx", "ltx_i2v", "ltx_condition", "ltx2", "ltx2_i2v", "allegro")
CONNECTED = ("ltx2", "ltx2_i2v")  # text passes connectors, behind a start token
UNREAD = (
    "mochi",
    "ltx",
    "ltx_i2v",
    "ltx_condition",
    "allegro",
)  # whose padded slots are masked, and no part of the statistics over the prompt
BEFORE = 58  # tokens of Cosmos 2.5 before a prompt, of the tiny tokenizer
PARTS = {  # of a joint sequence: visual tokens, prompt tokens
    "cogvideox": (slice(226, None), slice(226)),
    "cogvideox1_5": (slice(226, None), slice(226)),
    "hunyuanvideo": (slice(-256), slice(-256, None)),
    "mochi": (slice(18), slice(18, None)),  # then the valid tokens alone
    "ltx_condition": (slice(-18, None), slice(None)),  # after those of a condition
    "cosmos2_5": (slice(None), slice(BEFORE, None)),
}
# families whose words and concept tokens are written out here; the others: tests/backbones/test_every_family.py
BY_HAND = (*FAMILIES, *(pytest.param(x, marks=pytest.mark.slow) for x in LENGTHS if x not in FAMILIES))
CONDITION = {"image": Image.new("RGB", (96, 64), "red"), "frame_index": 8}  # one that has tokens of its own
STEPS, FRAMES, TOPK = 2, 3, 2
SEED = 1  # of the starting noise: without near ties
TEMPLATE, CROP = DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"]


@cache
def pipeline(family, **options):
    pipe = import_module(f"imap.testing.tiny.{family}").build(0, **options) if options else tiny.build(family)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# -- what the model did


@dataclass
class Call:
    """One transformer call: its arguments; of every block temb, and what its attention took and gave."""

    arguments: dict
    model: torch.nn.Module
    temb: list = field(default_factory=list)
    gates: list = field(default_factory=list)  # of the head outputs of each block, (rows, heads, tokens, 1), or None
    attention: list = field(default_factory=list)  # (q, k, v, o) of each block, by row (heads, tokens, width) each


@pytest.fixture
def record(monkeypatch):
    """Starts to record the transformer calls of a pipeline, for the rest of the test."""
    attend = torch.nn.functional.scaled_dot_product_attention
    calls, handles, entered = [], [], []

    def spy(query, key, value, *args, **kwargs):
        out = attend(query, key, value, *args, **kwargs)
        if entered:
            for parts, x in zip(calls[-1].attention[-1], (query, key, value, out), strict=True):
                parts.extend(x.double())
            if len(calls[-1].attention[-1][0]) == len(calls[-1].arguments["hidden_states"]):  # Mochi goes row by row
                entered.clear()
        return out

    def attention_begins(attention, args):
        gate = getattr(attention, "to_gate_logits", None)
        if gate is not None:
            logits = args[0].double() @ gate.weight.double().T + gate.bias.double()
            gate = 2 / (1 + torch.exp(-logits.transpose(1, 2).unsqueeze(-1)))
        calls[-1].gates.append(gate)
        entered.append(1)
        calls[-1].attention.append(([], [], [], []))

    def call_begins(transformer, args, kwargs):
        calls.append(Call(kwargs, transformer))

    def block_begins(block, args, kwargs):
        calls[-1].temb.append(signature(block.forward).bind(*args, **kwargs).arguments["temb"].double())

    def start(pipe, family):
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
        for transformer in filter(None, (pipe.transformer, getattr(pipe, "transformer_2", None))):
            handles.append(transformer.register_forward_pre_hook(call_begins, with_kwargs=True))
            for block in blocks_of(transformer):
                handles.append(block.register_forward_pre_hook(block_begins, with_kwargs=True))
                attention = getattr(block, ATTENTION.get(family, "attn2"))
                handles.append(attention.register_forward_pre_hook(attention_begins))
        return calls

    yield start
    for handle in handles:
        handle.remove()


# -- words


def encode(pipe, family, text, length):
    """Text encoder states (length, width) as the transformer is given them, and how many tokens are the text's own."""
    template, before = (TEMPLATE, CROP) if family == "hunyuanvideo" else ("{}", 0)
    length = LENGTHS[family] if family in CONNECTED else length  # of registers too
    long = {"padding": "max_length", "max_length": before + length, "truncation": True, "return_tensors": "pt"}
    text = text.lower() if family == "allegro" else text
    tokens = pipe.tokenizer(template.format(text), **long)
    ids, mask = tokens.input_ids, tokens.attention_mask
    if family.startswith("cogvideox") or family in ("ltx", "ltx_i2v"):
        states = pipe.text_encoder(ids)[0][0]
    elif family in ("mochi", "allegro", "ltx_condition"):
        states = pipe.text_encoder(ids, mask)[0][0]
    elif family in CONNECTED:
        given = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
        states = torch.stack(pipe.text_encoder(**given).hidden_states, dim=-1)
        states = pipe.connectors(states.flatten(2), mask)[0][0]
    elif family == "cosmos2_5":
        return states_of_conversation(pipe, text)
    elif family.startswith("wan"):
        states = pipe.text_encoder(ids, mask)[0][0] * mask[0, :, None]
    else:
        states = pipe.text_encoder(ids, mask, output_hidden_states=True).hidden_states[-3][0]
    return states[before:], int(mask.sum()) - before - 1  # an end token follows the text


def states_of_conversation(pipe, text):
    """Joined states of Cosmos 2.5 from the text on, and how many tokens are its own."""
    said = {"system": "You are a helpful assistant who will provide prompts to an image generator.", "user": text}
    turns = [{"role": role, "content": [{"type": "text", "text": x}]} for role, x in said.items()]
    ids = pipe.tokenizer.apply_chat_template(turns, padding="max_length", max_length=512, truncation=True)
    ids = torch.tensor([ids if isinstance(ids, list) else ids["input_ids"]])
    states = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[1:]
    states = [(x - x.mean(dim=-1, keepdim=True)) / (x.std(dim=-1, keepdim=True) + 1e-8) for x in states]
    return torch.cat(states, dim=-1)[0, BEFORE:], len(pipe.tokenizer(text)["input_ids"])


def concept_embedding(pipe, setting, text):
    states, own = encode(pipe, setting.family, text, 16)
    chosen = setting.concept_token or (
        "last" if setting.family in ("hunyuanvideo", "cosmos2_5", *CONNECTED) else "first"
    )
    states = states[setting.family in CONNECTED :]
    return {"first": states[0], "last": states[own - 1], "mean": states[:own].mean(dim=0)}[chosen].double()


def prompt_tokens(pipe, family, phrase):
    """Indices of the prompt's tokens in a phrase, by counting tokens up to its start and up to its end."""
    if phrase is None:
        return []
    start = PROMPT.index(phrase)
    counts = [encode(pipe, family, PROMPT[:stop].rstrip(), 100)[1] for stop in (start, start + len(phrase))]
    return [i + (family in CONNECTED) for i in range(*counts)]


# -- concept streams (docs/method.md, 4): each gives for every block the keys and the head outputs of all padded slots


def heads(x, like):
    return x.unflatten(-1, (like.shape[0], -1)).transpose(0, 1)


def attend(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


def merge(x):
    return x.transpose(0, 1).flatten(1)


def cogvideox_stream(model, padded, count, call, row):
    tokens = model.patch_embed.text_proj(padded)
    for block, temb, (_, k, v, _) in zip(model.transformer_blocks, call.temb, call.attention, strict=True):
        attn, video_k, video_v = block.attn1, k[row][:, 226:], v[row][:, 226:]
        shift, scale, gate = block.norm1.linear(silu(temb[row])).chunk(6)[3:]
        normed = block.norm1.norm(tokens) * (1 + scale) + shift
        q, k, v = (heads(to(normed), video_k) for to in (attn.to_q, attn.to_k, attn.to_v))
        q, k = attn.norm_q(q), attn.norm_k(k)
        c = attend(q, torch.cat([k, video_k], dim=1), torch.cat([v, video_v], dim=1))
        yield k, c
        tokens = tokens + gate * attn.to_out[0](merge(c))
        shift, scale, gate = block.norm2.linear(silu(temb[row])).chunk(6)[3:]
        tokens = tokens + gate * block.ff(block.norm2.norm(tokens) * (1 + scale) + shift)


def hunyuanvideo_stream(model, padded, count, call, row):
    mask = (torch.arange(256) < count)[None]
    tokens = model.context_embedder(padded[None], call.arguments["timestep"][row][None], mask)[0]
    for block, temb, (_, k, v, _) in zip(model.transformer_blocks, call.temb, call.attention, strict=True):
        attn, video_k, video_v = block.attn, k[row][:, :-256], v[row][:, :-256]
        shift, scale, gate, ff_shift, ff_scale, ff_gate = block.norm1_context.linear(silu(temb[row])).chunk(6)
        normed = block.norm1_context.norm(tokens) * (1 + scale) + shift
        q, k, v = (heads(to(normed), video_k) for to in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj))
        q, k = attn.norm_added_q(q), attn.norm_added_k(k)
        c = attend(q, torch.cat([k, video_k], dim=1), torch.cat([v, video_v], dim=1))
        yield k, c
        tokens = tokens + gate * attn.to_add_out(merge(c))
        tokens = tokens + ff_gate * block.ff_context(block.norm2_context(tokens) * (1 + ff_scale) + ff_shift)


def wan_stream(model, padded, count, call, row):
    tokens = model.condition_embedder.text_embedder(padded)
    for block, (q, _, _, _) in zip(model.blocks, call.attention, strict=True):
        yield heads(block.attn2.norm_k(block.attn2.to_k(tokens)), q[row]), None


def ltx_stream(model, padded, count, call, row):
    tokens = model.caption_projection(padded)
    for block, (q, _, _, _) in zip(model.transformer_blocks, call.attention, strict=True):
        yield heads(block.attn2.norm_k(block.attn2.to_k(tokens)), q[row]), None


def ltx2_stream(model, padded, count, call, row):
    tokens = model.caption_projection(padded)
    shift = scale = torch.zeros(())
    for block, (q, _, _, _) in zip(model.transformer_blocks, call.attention, strict=True):
        if model.config.cross_attn_mod:
            sigma = call.arguments["sigma"][row : row + 1].double()
            temb = model.prompt_adaln(sigma, batch_size=1, hidden_dtype=torch.float64)[0]
            shift, scale = block.prompt_scale_shift_table + temb.view(2, -1)
        text = tokens * (1 + scale) + shift
        yield heads(block.attn2.norm_k(block.attn2.to_k(text)), q[row]), None


def cosmos_stream(model, padded, count, call, row):
    tokens = model.crossattn_proj(padded)
    for block, (q, _, _, _) in zip(model.transformer_blocks, call.attention, strict=True):
        yield block.attn2.norm_k(heads(block.attn2.to_k(tokens), q[row])), None


def allegro_stream(model, padded, count, call, row):
    tokens = model.caption_projection(padded)
    for block, (q, _, _, _) in zip(model.transformer_blocks, call.attention, strict=True):
        yield heads(block.attn2.to_k(tokens), q[row]), None


def rms(x):
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()


def mochi_stream(model, padded, count, call, row):
    tokens = model.time_embed.caption_proj(padded)
    for block, temb, (_, k, v, _) in zip(model.transformer_blocks, call.temb, call.attention, strict=True):
        attn, video_k, video_v = block.attn1, k[row][:, :18], v[row][:, :18]
        if block.context_pre_only:  # the last one
            normed = rms(tokens) * (1 + block.norm1_context.linear_1(silu(temb[row])))
        else:
            scale, gate, ff_scale, ff_gate = block.norm1_context.linear(silu(temb[row])).chunk(4)
            normed = rms(tokens) * (1 + scale)
        q, k, v = (heads(to(normed), video_k) for to in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj))
        q, k = attn.norm_added_q(q), attn.norm_added_k(k)
        c = attend(q, torch.cat([k, video_k], dim=1), torch.cat([v, video_v], dim=1))
        yield k, c
        if not block.context_pre_only:
            tokens = tokens + rms(attn.to_add_out(merge(c))) * torch.tanh(gate)
            tokens = tokens + rms(block.ff_context(rms(tokens) * (1 + ff_scale))) * torch.tanh(ff_gate)


STREAMS = {
    "cogvideox": cogvideox_stream,
    "cogvideox1_5": cogvideox_stream,
    "hunyuanvideo": hunyuanvideo_stream,
    "wan": wan_stream,
    "wan2_2": wan_stream,
    **dict.fromkeys(("ltx", "ltx_i2v", "ltx_condition"), ltx_stream),
    "cosmos2_5": cosmos_stream,
    **dict.fromkeys(CONNECTED, ltx2_stream),
    "mochi": mochi_stream,
    "allegro": allegro_stream,
}


# -- maps of one layer: the reference, on the slots of a setting


def assert_no_near_tie(q, keys):
    """float32 may choose another patch than float64 where the two best are nearly equal."""
    logits = np.einsum("htd,hfpd->htfp", keys, q)
    second, best = np.moveaxis(np.sort(logits, axis=-1)[..., -2:], -1, 0)
    gap = (best - second) / np.abs(logits).max(axis=(1, 3))[:, None]
    assert gap.min() > 3e-7, "a near tie, where float32 may choose otherwise: take another SEED"


def layer_maps(setting, motion_heads, q, o, prompt_keys, keys, c):
    """All maps of one layer. keys, c: of the padded concept stream."""
    every, count = np.arange(keys.shape[1]), len(setting.texts)
    slots, counted, rows = keys, every, [[i] for i in range(count)]
    if setting.target == "prompt":
        counted = np.arange(prompt_keys.shape[1])
        slots = np.concatenate([prompt_keys, keys[:, :count]], axis=1)
        rows = [setting.spans[text] or [len(counted) + i] for i, text in enumerate(setting.texts)]
        rows += [[token] for token in range(setting.prompt_tokens)]
    assert_no_near_tie(q, slots)
    columns = (
        method.standardized_columns(q, o, slots, counted) if setting.standardize else method.raw_columns(q, o, slots)
    )
    maps = {
        "imap": (method.gramcol(columns), counted, rows),
        "sel_imap": (method.imap(columns, motion_heads), counted, rows),
    }
    seen = range(setting.seen) if setting.seen else counted  # HunyuanVideo's attention masks the padded slots
    maps["text_attention"] = (method.text_attention(q, slots, seen), counted, rows)
    if c is None:
        maps["cross_attention_maps"] = (method.text_attention(q, slots, counted), counted, rows)
    else:
        own = [[i] for i in range(count)]
        maps["cross_attention_maps"] = (method.cross_attention(q, keys), every, own)
        maps["concept_attention_maps"] = (method.concept_attention(c, o), every, own)
    reduced = {key: method.reduce_rows(x, rows, counted, setting.softmax) for key, (x, counted, rows) in maps.items()}
    return reduced | {"video_col": method.above_median(video_col(setting, q, o, slots, counted, rows))}


def video_col(setting, q, o, slots, counted, rows):
    """Whole-video column of the rows: words compete with words, tokens with tokens; in CogVideoX slots with slots."""
    if setting.family.startswith("cogvideox"):
        weights = method.video_weights(q, slots, counted)
        if setting.standardize:
            return method.reduce_rows(method.standardized_video_col(o, weights, counted), rows, counted, False)
        return method.video_col(o, method.reduce_rows(weights, rows, counted, False))
    words = np.stack([slots[:, list(row)].mean(axis=1) for row in rows], axis=1)
    count = len(setting.texts)
    groups = [part for part in (words[:, :count], words[:, count:]) if part.shape[1]]
    weights = [method.video_weights(q, part, range(part.shape[1])) for part in groups]
    return method.video_col(o, np.concatenate(weights))


# -- maps of a run


@dataclass(frozen=True)
class Setting:
    family: str
    target: str
    texts: list = field(default_factory=lambda: CONCEPTS + MOTIONS)
    concept_token: str | None = None
    standardize: bool = True
    softmax: bool = False
    spans: dict = field(default_factory=dict)  # of a text, its tokens in the prompt
    seen: int = 0  # prompt slots that the model's attention sees; 0: all
    slots: int | None = None  # prompt slots that are read; None: all
    prompt_tokens: int = 0  # how many of them have rows of their own, behind the texts


@dataclass(frozen=True)
class Reference:
    """maps: by [step][layer][key]; chi, heads: of every head and the motion heads, best first, by [step][layer]."""

    maps: list
    chi: list
    heads: list
    setting: Setting

    def means(self, steps, all_layers, chosen_layers):
        found = {}
        for suffix, layers in (("", all_layers), ("_layers", chosen_layers)):
            for key in self.maps[0][0]:
                by_step = [[self.maps[step][layer][key] for layer in layers] for step in steps]
                means = [method.mean_over_layers_and_steps([layers]) for layers in by_step]
                if key != "video_col":  # no softmax over texts follows it
                    means = [self.over_texts(x) for x in means]
                found[key + suffix] = np.mean(means, axis=0)
        return found

    def over_texts(self, x):
        if not self.setting.softmax:
            return x
        parts = (part for part in np.split(x, [len(self.setting.texts)]) if len(part))
        return np.concatenate([method.text_softmax(part, range(len(part))) for part in parts])


@torch.no_grad()
def reference(pipe, calls, setting):
    family, length = setting.family, LENGTHS[setting.family]
    models = {call.model: copy.deepcopy(call.model).double() for call in calls}
    concepts = [concept_embedding(pipe, setting, text) for text in setting.texts]
    padded = torch.stack(concepts + [torch.zeros_like(concepts[0])] * (length - len(concepts)))
    prompt = encode(pipe, family, PROMPT, length)[0]
    found = Reference([], [], [], setting)
    for call in calls:
        if call.arguments.get("isolate_modalities") or call.arguments.get("spatio_temporal_guidance_blocks"):
            continue  # further calls for guidance
        rows = [
            torch.allclose(states.flatten(0, -2)[-len(prompt) :], prompt, atol=1e-5)
            for states in call.arguments["encoder_hidden_states"]
        ]
        if True not in rows:
            continue  # the unconditional half of guidance, in a call of its own
        row = rows.index(True)
        for store in (found.maps, found.chi, found.heads):
            store.append([])
        stream = STREAMS[family](models[call.model], padded, len(concepts), call, row)
        for (q, k, _, o), gate, (keys, c) in zip(call.attention, call.gates, stream, strict=True):
            o = o if gate is None else torch.stack(o) * gate
            video, text = PARTS.get(family, (slice(None), slice(None)))
            q, o = (x[row][:, video].unflatten(1, (FRAMES, -1)).numpy() for x in (q, o))
            labels = np.repeat(np.arange(FRAMES), o.shape[2])
            chi = np.array([calinski_harabasz_score(x.reshape(len(labels), -1), labels) for x in o])
            np.testing.assert_allclose([method.calinski_harabasz(x) for x in o], chi, rtol=1e-9)
            best = method.motion_heads(o, TOPK)
            c = None if c is None else c.numpy()
            found.maps[-1].append(
                layer_maps(setting, best, q, o, k[row][:, text][:, : setting.slots].numpy(), keys.numpy(), c)
            )
            found.chi[-1].append(chi)
            found.heads[-1].append(best)
    return found


def run(record, setting, pipe, guidance_scale=6.0, **choice):
    """Maps of a traced run, and the reference made of what was recorded of the same run."""
    calls = record(pipe, setting.family)
    motions = [text for text in setting.texts if text in MOTIONS]
    options = {
        "concepts": [text for text in setting.texts if text not in MOTIONS],
        "motions": motions,
        "imap_qk_matching_target": setting.target,
        "imap_sep_topk": TOPK,
        "concept_token": setting.concept_token,
        "softmax": setting.softmax,
        "prompt_tokens": setting.prompt_tokens > 0,
        "imap_layer": [0, 1, 2],
    }
    with imap.trace(pipe, PROMPT, **{**options, **choice}) as trace:
        pipe(
            prompt=PROMPT,
            **(CONDITION if setting.family == "ltx_condition" else pictures_for(pipe)),
            **sizes_of(setting.family),
            num_inference_steps=STEPS,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(SEED),
            output_type="latent",
        )
    if setting.target == "prompt":
        spans = {text: prompt_tokens(pipe, setting.family, IN_PROMPT[text]) for text in setting.texts}
        seen = encode(pipe, setting.family, PROMPT, 256)[1] + 1 if setting.family == "hunyuanvideo" else 0
        slots = encode(pipe, setting.family, PROMPT, 100)[1] + 1 if setting.family in UNREAD else None
        setting = replace(setting, spans=spans, seen=seen, slots=slots)  # with the end token
    return trace.maps(), reference(pipe, calls, setting)


def assert_maps_agree(maps, expected):
    assert set(maps) == set(expected)
    for key, value in expected.items():
        got = np.concatenate([maps[key], maps.token_arrays.get(key, maps[key][:0])]).reshape(value.shape)
        # softmaxed maps differ from their mean by little more than float32 resolves
        np.testing.assert_allclose(got, value, rtol=3e-7, atol=1e-3 * value.std(), err_msg=key)


def assert_heads_agree(maps, expected, steps=range(STEPS)):
    rtol = 1e-5 if expected.setting.family in FAMILIES else 3e-5  # the tiny Allegro's head outputs differ little
    for layer, by_step in maps.scores.items():
        assert set(by_step) == set(maps.heads[layer]) == set(steps)
        for step in steps:
            np.testing.assert_allclose(by_step[step], expected.chi[step][layer], rtol=rtol)
            assert maps.heads[layer][step] == expected.heads[step][layer]


def blocks_of(transformer):
    return transformer.blocks if hasattr(transformer, "blocks") else transformer.transformer_blocks


def layers_of(pipe):
    return range(len(blocks_of(pipe.transformer)))


def check(record, setting, built=None, **options):
    pipe = pipeline(setting.family, **(built or {}))
    maps, expected = run(record, setting, pipe, **options)
    assert_heads_agree(maps, expected)
    assert_maps_agree(maps, expected.means(range(STEPS), layers_of(pipe), [0, 1, 2]))
    return maps


# -- tests


@pytest.mark.parametrize("target", ["concepts", "prompt"])
@pytest.mark.parametrize("family", BY_HAND)
def test_every_map_is_the_plain_reference(record, family, target):
    maps = check(record, Setting(family, target))
    assert maps.facts["method"]["standardize"] == "text"
    assert len(maps) == (10 if family in CROSS else 12)


@pytest.mark.slow
@pytest.mark.skipif("ltx2" not in tiny.FURTHER, reason="an old diffusers")
@pytest.mark.parametrize("target", ["concepts", "prompt"])
def test_ltx2_without_gates_and_modulated_text_is_the_plain_reference(record, target):
    check(record, Setting("ltx2", target), built={"gated": False})


@pytest.mark.slow
@pytest.mark.parametrize("target", ["concepts", "prompt"])
def test_cogvideox_with_sincos_positions_is_the_plain_reference(record, target):
    check(record, Setting("cogvideox", target), built={"rotary": False})


@pytest.mark.parametrize("target", ["concepts", "prompt"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_without_guidance_the_maps_are_the_plain_reference(record, family, target):
    check(record, Setting(family, target), guidance_scale=1.0)


@pytest.mark.parametrize("concept_token", ["first", "last", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_each_choice_of_a_concepts_token_is_the_plain_reference(record, family, concept_token):
    check(record, Setting(family, "concepts", concept_token=concept_token))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "target"),
    [("cogvideox", "prompt"), ("hunyuanvideo", "concepts"), ("wan", "prompt"), ("wan", "concepts")],
)
def test_the_softmax_over_texts_is_the_plain_reference(record, family, target):
    check(record, Setting(family, target, softmax=True))


@pytest.mark.parametrize("softmax", [False, True], ids=["", "softmax"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_maps_of_every_prompt_token_are_the_plain_reference(record, family, softmax):
    count = encode(pipeline(family), family, PROMPT, 100)[1] + 1  # with the end token
    maps = check(record, Setting(family, "prompt", softmax=softmax, prompt_tokens=count))
    baselines = {key for key in maps if key.startswith(("cross_attention_maps", "concept_attention_maps"))}
    assert set(maps.token_arrays) == (set(maps) if family == "wan" else set(maps) - baselines)
    assert len(maps.tokens) == count


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_concept_is_not_standardized_and_says_so(record, family):
    maps = check(record, Setting(family, "concepts", ["kangaroo"], standardize=False))
    assert maps.facts["method"]["standardize"] == "none"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_word_of_the_prompt_is_standardized_over_the_prompt(record, family):
    maps = check(record, Setting(family, "prompt", ["kangaroo"]))
    assert maps.facts["method"]["standardize"] == "text"


@pytest.mark.slow
@pytest.mark.parametrize(("all_layer", "chosen_layers"), [(2, [0, 2]), (1, [2])])  # 1 is not read, or 0
@pytest.mark.parametrize("family", FAMILIES)
def test_chosen_steps_and_layers_are_the_same_choice_of_the_reference(record, family, all_layer, chosen_layers):
    choice = {"maps_timesteps": [1, 2], "maps_layers": [all_layer, all_layer + 1], "imap_layer": chosen_layers}
    maps, expected = run(record, Setting(family, "concepts"), pipeline(family), **choice)
    assert set(maps.scores) == {all_layer, *chosen_layers}
    assert_heads_agree(maps, expected, [1])
    assert_maps_agree(maps, expected.means([1], [all_layer], chosen_layers))
