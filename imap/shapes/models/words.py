"""Text encoders whose weights are set, not trained: a noun's token contains its verb, and a verb's token its noun.

Example: "a ball jumps while a box dips". The token of "ball" contains "jumps", and the token of "jumps" contains
"ball", as in a trained encoder. Other tokens contain only their word. So a denoiser must read the right noun's or
verb's token at the right place. A decoder attends only to earlier tokens. In Llama, the verb's token therefore contains
its noun. HunyuanVideo's token refiner then adds the verb to the noun's token, as in the published model.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imap.shapes.models.base import WORDS

STRONG = 20.0  # difference of attention logits; exp(-20) is negligible
BLOCK = 16  # coordinates of each part of a token; the remaining coordinates hold the word
VERB, ITS_VERB, NOUN, ITS_NOUN = (slice(start, start + BLOCK) for start in range(0, 4 * BLOCK, BLOCK))


@torch.no_grad()
def bind_t5(encoder: Any, nouns: Sequence[int], verbs: Sequence[int]) -> None:
    """Set the layer of a T5 or UMT5 encoder with one layer.

    One head attends to the next token and copies its verb. One head attends to the previous token and copies its noun.
    A token without that neighbour attends to itself. The feed-forward is zero.

    Args:
        encoder: T5EncoderModel or UMT5EncoderModel.
        nouns: Token numbers of the nouns.
        verbs: Token numbers of the verbs.
    """
    attention, feed_forward = encoder.encoder.block[0].layer
    attention, feed_forward = attention.SelfAttention, feed_forward.DenseReluDense
    bias = attention.relative_attention_bias.weight  # (buckets, heads): 0 the token itself, then previous, then next
    bias.zero_()
    bias[0] = STRONG  # for the last token, which has no next, and the first, which has no previous
    bias[len(bias) // 2 + 1, 0] = bias[1, 1] = 2 * STRONG
    for projection in (attention.q, attention.k, attention.v, attention.o, feed_forward.wo):
        projection.weight.zero_()
    width = attention.key_value_proj_dim
    _copy_part(attention.v.weight, attention.o.weight, 0, VERB, ITS_VERB)
    _copy_part(attention.v.weight, attention.o.weight, width, NOUN, ITS_NOUN)
    _set_words(encoder, nouns, verbs)


@torch.no_grad()
def bind_llama(model: Any, nouns: Sequence[int], verbs: Sequence[int]) -> None:
    """Set the first layer of a Llama whose attention has biases.

    Rotary attention reads the previous token and copies its noun. The MLP is zero.

    With constant queries and keys, the logit at distance d is sum_i cos((d - 1) theta_i) over two frequencies. It is
    largest at d = 1. At the larger distances of the prompt's template some words get a few hundredths of the attention;
    captions are shorter than that.

    Args:
        model: LlamaModel.
        nouns: Token numbers of the nouns.
        verbs: Token numbers of the verbs.
    """
    layer = model.layers[0]
    attention, config = layer.self_attn, model.config
    width = attention.head_dim
    theta = config.rope_parameters["rope_theta"] if hasattr(config, "rope_parameters") else config.rope_theta
    angles = theta ** (-torch.arange(2) * 2 / width)
    query, key = torch.zeros(width), torch.zeros(width)
    pairs = torch.arange(2), torch.arange(2) + width // 2  # coordinates that rotate together
    key[pairs[0]] = 1
    query[pairs[0]], query[pairs[1]] = angles.cos(), -angles.sin()
    for projection, constant in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight.zero_()
        heads = projection.out_features // width
        projection.bias.copy_((3 * STRONG) ** 0.5 * width**0.25 * constant.repeat(heads))
    for part in (attention.v_proj.weight, attention.v_proj.bias, attention.o_proj.weight, attention.o_proj.bias):
        part.zero_()
    layer.mlp.down_proj.weight.zero_()
    _copy_part(attention.v_proj.weight, attention.o_proj.weight, 0, NOUN, ITS_NOUN)
    _set_words(model, nouns, verbs)


@torch.no_grad()
def bind_refiner(refiner: Any, words: Tensor) -> None:
    """Set a token refiner with one block.

    Tokens pass unchanged, except that a noun's token copies a verb. It copies the verb of the token into which
    `bind_llama` copied this noun. If two things share a noun, it copies the mean of both verbs.

    Args:
        refiner: HunyuanVideoTokenRefiner.
        words: (nouns, width), text embedding of each noun alone.
    """
    (block,) = refiner.token_refiner.refiner_blocks
    for part in (refiner.proj_in, block.attn.to_q, block.attn.to_k, block.attn.to_v, block.attn.to_out[0]):
        part.weight.zero_()
        part.bias.zero_()
    refiner.proj_in.weight.fill_diagonal_(1)
    gates = block.norm_out.linear  # gate of attention, then of the feed-forward, each as wide as a token
    gates.weight.zero_()
    gates.bias.copy_(torch.cat([torch.ones(len(gates.bias) // 2), torch.zeros(len(gates.bias) // 2)]))
    # One row per noun detects it. Each row sums to zero, because a layer norm subtracts the mean.
    which = torch.linalg.pinv(torch.cat([words[:, NOUN], torch.ones(1, BLOCK)])).T[:-1]
    count = len(which)
    block.attn.to_q.weight[:count, NOUN] = which
    block.attn.to_q.bias[count] = 1
    # logits: STRONG for the same noun, -STRONG for another noun or for a query without noun, 0 for a key without noun
    block.attn.to_k.weight[:count, ITS_NOUN] = 2 * STRONG * BLOCK**0.5 * which
    block.attn.to_k.weight[count, ITS_NOUN] = -STRONG * BLOCK**0.5 * which.sum(dim=0)
    _copy_part(block.attn.to_v.weight, block.attn.to_out[0].weight, 0, VERB, ITS_VERB)
    block.attn.to_v.weight[:BLOCK, VERB] -= 1 / BLOCK
    refiner.requires_grad_(False)


@torch.no_grad()
def share_embeddings(encoder: Any, tokenizer: Any, space: str) -> None:
    """Give all forms of a word one embedding: with a capital, and without a space before it (at a text's start).

    Args:
        encoder: Text encoder.
        tokenizer: Its tokenizer.
        space: First character of a piece that follows a space.
    """
    table, pieces = encoder.get_input_embeddings().weight, tokenizer.get_vocab()
    for word in WORDS.split():
        for form in (word, word.capitalize(), space + word.capitalize()):
            if form in pieces:
                table[pieces[form]] = table[pieces[space + word]]


def _copy_part(value: Tensor, output: Tensor, row: int, part: slice, into: slice) -> None:
    """Set value and output weights of the head at `row`: it copies a part of the attended token into another part."""
    rows = slice(row, row + BLOCK)
    value[rows, part] = output[into, rows] = torch.eye(BLOCK)


def _set_words(encoder: Any, nouns: Sequence[int], verbs: Sequence[int]) -> None:
    words = encoder.get_input_embeddings().weight
    words.normal_()
    drawn = words.clone()
    words[:, : 4 * BLOCK] = 0
    words[list(nouns), NOUN] = drawn[list(nouns), NOUN]
    words[list(verbs), VERB] = drawn[list(verbs), VERB]
    encoder.requires_grad_(False)
