"""The maps of a stock run in float64: full Gram matrices, loops, padding really repeated (imap.methods.reference).

Concept tokens go through the stock blocks themselves, in float64: each block gets the concepts in place of the prompt,
beside the video and the time that it was given in the stock run, and nothing is masked. Norms that diffusers computes
in float32 stay so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.families.stock import (
    GRID,
    STEPS,
    TEXT,
    WORDS,
    Block,
    Call,
    in_float64,
    models_of,
    of_row,
    pictures_of,
    recorded,
    sample,
    spied,
)
from benchmarks.families.words import (
    WINDOW,
    Place,
    conditional,
    own_slots,
    place_of,
    slots_before,
    slots_of_words,
    text_given,
    tokenized,
    tokens_dropped,
)
from imap.backbones.base import Backbone
from imap.methods import reference as method

NEAR = 1e-6  # of the largest logit: float32 may choose another patch than float64
Models = Mapping[nn.Module, Sequence[nn.Module]]


@dataclass(frozen=True)
class Layer:
    """One layer of one step: q, o (h, f, p, d); prompt_keys, keys (h, t, d) of the prompt and of the padded concepts.

    keys is None without a concept stream. concepts: (h, t, d) head outputs of the concepts; None where text has none.
    """

    q: np.ndarray
    o: np.ndarray
    prompt_keys: np.ndarray
    keys: np.ndarray | None
    concepts: np.ndarray | None


@dataclass(frozen=True)
class Run:
    """A stock run: its latents, its layers by [step][layer], and the slots of each of WORDS in the prompt."""

    latents: Tensor
    layers: list[list[Layer]]
    spans: list[list[int]]


def stock_run(backbone: Backbone, seed: int, by_hand: bool) -> Run:
    """Run the stock pipeline, and read it without imap. by_hand: leave out the concept stream."""
    pipe = backbone.pipe
    with tokenized(pipe) as found, recorded(models_of(pipe)) as calls:
        latents = sample(pipe, seed=seed)
    per_step = len(calls) // STEPS
    first, row, changed = conditional(pipe, calls, per_step)
    chosen = calls[first::per_step]
    slots = chosen[0].arguments[TEXT].shape[-2]
    text = text_given(found)
    dropped = tokens_dropped(pipe, text, slots, changed)
    before = slots_before(pipe, text, dropped)
    read = slice(before, own_slots(text, slots) if backbone.padding == "unread" else slots)
    own = slots - before if len(text.ids) < slots else slots  # without those of a picture
    own = max(own, backbone.text_length)  # a pipeline may pad nothing, and concepts are padded
    padded = None if by_hand else _padded(backbone, first, row, own, before)
    twins = {model: in_float64(model, blocks) for model, blocks in models_of(pipe).items()}
    place = place_of(twins[chosen[0].model], chosen[0], row)
    layers = [list(_layers(twins[call.model], call, row, place, padded, read)) for call in chosen]
    spans = [[slot - before for slot in span] for span in slots_of_words(pipe, text, dropped)]
    return Run(latents, layers, spans)


def _padded(backbone: Backbone, call: int, row: int, slots: int, before: int) -> Tensor:
    """WORDS as the stock pipeline gives them to the transformer, each encoded alone in a short window, then zeros.

    slots: of the text. before: slots of a template, which the window must hold too, or of a picture. Registers of
    connectors fill a whole window. A text that is read after a picture is read after a black one.
    """
    pipe, found = backbone.pipe, []
    black = {name: x.point(lambda _: 0) for name, x in pictures_of(pipe).items()}
    window = None if hasattr(pipe, "connectors") else before + WINDOW
    for word in WORDS:
        with tokenized(pipe) as texts, recorded(models_of(pipe), stop=call + 1) as calls:
            sample(pipe, word, max_sequence_length=window, **black)
        states, text = calls[call].arguments[TEXT][row].flatten(0, -2), text_given(texts, word)
        (own,) = slots_of_words(pipe, text, tokens_dropped(pipe, text, len(states), before), [word])
        found.append(states[own[{"first": 0, "last": -1}[backbone.default_concept_token]]])
    return torch.nn.functional.pad(torch.stack(found), (0, 0, 0, slots - len(WORDS)))


def _layers(models: Models, call: Call, row: int, place: Place, padded: Tensor | None, read: slice) -> Iterator[Layer]:
    stream = repeat((None, None)) if padded is None else _concept_stream(models, call, row, place, padded)
    for block, (keys, concepts) in zip(call.blocks, stream, strict=padded is not None):
        q, k, _, o = block.of_row(row, call.rows)[
            place.attention
        ]  # image tokens may have another, which maps do not read
        video = place.visual[-GRID.frames * GRID.patches :]  # a frame that is not shown may come before
        q, o = (x[:, video].unflatten(1, (GRID.frames, -1)).numpy() for x in (q, o))
        prompt_keys = k[:, place.text][:, read].numpy()
        yield Layer(q, o, prompt_keys, *(None if x is None else x.numpy() for x in (keys, concepts)))


@torch.no_grad()
def _concept_stream(
    models: Models, call: Call, row: int, place: Place, padded: Tensor
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Keys of the concepts, and their head outputs in joint attention, for each block: (h, t, d)."""
    (blocks,) = models.values()
    tokens = _embedded(models, call, row, padded)
    tokens = tokens[:, _own(models, call, row, padded, tokens)] if place.joint else tokens
    for module, block in zip(blocks, call.blocks, strict=True):
        given = {name: of_row(x, row, call.rows) for name, x in block.arguments.items()}
        given = {name: _all_seen(x) if "mask" in name else x for name, x in given.items()}
        seen = Block({})
        with spied([module], lambda seen=seen: seen, masks=False):
            out = module(**given | {block.text_name: tokens})
        _, k, _, o = seen.attention[place.attention]
        own = slice(-len(padded), None) if place.joint and place.video_leads else slice(len(padded))
        yield k[0][:, own], o[0][:, own] if place.joint else None
        tokens = out[1] if place.joint else tokens


def _embedded(models: Models, call: Call, row: int, padded: Tensor) -> Tensor:
    """The concepts as the first block is given its text, by the stock transformer.

    A transformer that cuts padded slots off has them still where its text embedder ends.
    """
    given = {name: of_row(x, row, call.rows) for name, x in call.arguments.items()}
    mask = torch.arange(len(padded)) < len(WORDS)
    for name, x in given.items():
        if "mask" in name and isinstance(x, Tensor):
            given[name] = (
                mask.to(x.dtype).expand(len(x), -1) if name == "encoder_attention_mask" else torch.zeros_like(x)
            )
        if name == "image_embeds":  # a concept has no picture
            given[name] = torch.zeros_like(x)
    (model,) = models
    if "text_rope_pos" in given:  # blocks of the text join its words by their places: a concept is a text of its own
        texts = [_alone(models, given, one) for one in padded[: len(WORDS) + 1]]
        return torch.cat([*texts[:-1], texts[-1].expand(-1, len(padded) - len(WORDS), -1)], dim=1)
    given[TEXT] = padded.reshape(*given[TEXT].shape[:-2], *padded.shape)
    embedded: list[Tensor] = []
    embedder = getattr(model, "context_embedder", nn.Identity())
    handle = embedder.register_forward_hook(lambda _, __, out: embedded.append(out))
    with recorded(models) as calls:
        model(**given)
    handle.remove()
    text = calls[0].blocks[0].arguments[TEXT]
    return text if text.shape[1] >= len(padded) else embedded[0]


def _alone(models: Models, given: Mapping[str, Any], one: Tensor) -> Tensor:
    """A text of one token as the first block is given it: (1, 1, width)."""
    (model,) = models
    with recorded(models) as calls:
        model(**given | {TEXT: one.expand(1, 1, -1), "text_rope_pos": torch.zeros(1, dtype=torch.long)})
    block = calls[0].blocks[0]
    return block.arguments[block.text_name]


def _own(models: Models, call: Call, row: int, padded: Tensor, tokens: Tensor) -> Tensor:
    """Places of the concepts' slots among the text of the first block, where other text may be too.

    Slots change with their embeddings. Those that the model replaces by padding come last.
    """
    noise = torch.randn(padded.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    changed = (_embedded(models, call, row, padded + noise) != tokens).any(dim=-1)[0]
    own, count = changed.nonzero()[:, 0], tokens.shape[1]
    return torch.cat([own, torch.arange(count - (len(padded) - len(own)), count)])


def _all_seen(mask: Any) -> Any:
    if not isinstance(mask, Tensor):
        return mask
    return torch.zeros_like(mask) if mask.is_floating_point() else torch.ones_like(mask)


def is_near_tie(run: Run) -> bool:
    """Whether the two best patches of a text are nearly equal in some head and frame."""
    for layer in (layer for layers in run.layers for layer in layers):
        for keys in filter(lambda x: x is not None, (layer.keys, layer.prompt_keys)):
            logits = np.einsum("htd,hfpd->htfp", keys, layer.q)
            best = np.sort(logits, axis=-1)
            if ((best[..., -1] - best[..., -2]) / np.abs(logits).max(axis=(1, 3))[:, None]).min() < NEAR:
                return True
    return False


def maps_of(layer: Layer, target: str, spans: Sequence[Sequence[int]], backbone: Backbone) -> dict[str, np.ndarray]:
    """Maps of WORDS, (words, f, p), by key of imap, without those that need a concept stream that is not there."""
    if target == "concepts" and layer.keys is None:
        return {}
    rows = spans if target == "prompt" else [[i] for i in range(len(WORDS))]
    slots = layer.prompt_keys if target == "prompt" else layer.keys
    counted = np.arange(slots.shape[1])
    columns = method.standardized_columns(layer.q, layer.o, slots, counted)
    maps = {"imap": method.reduce_rows(method.gramcol(columns), rows, counted, False)}
    if not backbone.joint_attention:
        attended = method.text_attention(layer.q, slots, counted)
        maps["cross_attention_maps"] = method.reduce_rows(attended, rows, counted, False)
    elif layer.keys is not None:
        maps["cross_attention_maps"] = method.cross_attention(layer.q, layer.keys[:, : len(WORDS)])
        maps["concept_attention_maps"] = method.concept_attention(layer.concepts[:, : len(WORDS)], layer.o)
    if backbone.rivals_are_words:
        words = np.stack([slots[:, list(row)].mean(axis=1) for row in rows], axis=1)
        column = method.video_col(layer.o, method.video_weights(layer.q, words, range(len(WORDS))))
    else:
        weights = method.video_weights(layer.q, slots, counted)
        column = method.reduce_rows(method.standardized_video_col(layer.o, weights, counted), rows, counted, False)
    return maps | {"video_col": method.above_median(column)}
