"""Text encoders in which a word's token tells what belongs to it; nothing in them is trained.

"a ball jumps while a box dips": the ball's token tells that it jumps, and its verb's token what jumps, as a trained
encoder's would; other words keep to themselves. So to know who does what, a denoiser must read the right noun's or
verb's token at the right place. A decoder sees only what is behind: in it the verb's token tells what jumps, and it is
left to HunyuanVideo's token refiner, as in the published model, to tell the ball's token what is ahead.
"""

from collections.abc import Sequence

import torch
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTokenRefiner
from torch import Tensor, nn
from transformers import LlamaModel, PreTrainedTokenizerFast, T5EncoderModel, UMT5EncoderModel

from imap.shapes.models.base import WORDS

STRONG = 20.0  # on an attention logit: exp(-20) is no share worth naming
BLOCK = 16  # coordinates of each of these parts of a token; all words share those that are left
VERB, ITS_VERB, NOUN, ITS_NOUN = (slice(start, start + BLOCK) for start in range(0, 4 * BLOCK, BLOCK))


@torch.no_grad()
def bind_t5(encoder: T5EncoderModel | UMT5EncoderModel, nouns: Sequence[int], verbs: Sequence[int]) -> None:
    """Set the one layer of a T5 or UMT5 encoder: a head that looks at the token ahead and takes its verb, a head that
    looks at the one behind and takes its noun, and no feed-forward.

    nouns, verbs: token numbers of the words that their neighbours tell. A noun with nothing behind takes itself.
    """
    attention, feed_forward = encoder.encoder.block[0].layer
    attention, feed_forward = attention.SelfAttention, feed_forward.DenseReluDense
    bias = attention.relative_attention_bias.weight  # (buckets, heads): 0 the token itself, then behind, then ahead
    bias.zero_()
    bias[0] = STRONG  # the last token has none ahead, the first none behind
    bias[len(bias) // 2 + 1, 0] = bias[1, 1] = 2 * STRONG
    for projection in (attention.q, attention.k, attention.v, attention.o, feed_forward.wo):
        projection.weight.zero_()
    width = attention.key_value_proj_dim
    _take(attention.v.weight, attention.o.weight, 0, VERB, ITS_VERB)
    _take(attention.v.weight, attention.o.weight, width, NOUN, ITS_NOUN)
    _set_words(encoder, nouns, verbs)


@torch.no_grad()
def bind_llama(model: LlamaModel, nouns: Sequence[int], verbs: Sequence[int]) -> None:
    """Set the first layer of a Llama whose attention has biases: rotary attention to the token before, which takes its
    noun, and no MLP. nouns, verbs: as for `bind_t5`.

    Constant queries and keys leave sum_i cos((d - 1) theta_i) of two frequencies, which is largest at distance d = 1.
    (Further back, in the prompt's template, some words get a few hundredths; captions are shorter than that.)
    """
    layer = model.layers[0]
    attention, config = layer.self_attn, model.config
    width = attention.head_dim
    theta = config.rope_parameters["rope_theta"] if hasattr(config, "rope_parameters") else config.rope_theta
    angles = theta ** (-torch.arange(2) * 2 / width)
    query, key = torch.zeros(width), torch.zeros(width)
    pairs = torch.arange(2), torch.arange(2) + width // 2  # of coordinates that are rotated together
    key[pairs[0]] = 1
    query[pairs[0]], query[pairs[1]] = angles.cos(), -angles.sin()
    for projection, constant in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight.zero_()
        heads = projection.out_features // width
        projection.bias.copy_((3 * STRONG) ** 0.5 * width**0.25 * constant.repeat(heads))
    for part in (attention.v_proj.weight, attention.v_proj.bias, attention.o_proj.weight, attention.o_proj.bias):
        part.zero_()
    layer.mlp.down_proj.weight.zero_()
    _take(attention.v_proj.weight, attention.o_proj.weight, 0, NOUN, ITS_NOUN)
    _set_words(model, nouns, verbs)


@torch.no_grad()
def bind_refiner(refiner: HunyuanVideoTokenRefiner, words: Tensor) -> None:
    """Set a token refiner of one block: tokens pass as they are, and a noun takes the verb of the token that was told
    that noun by `bind_llama`. (Of two things of one noun it takes the mean of both verbs.)

    words: (nouns, width), what the text encoder says of each noun alone.
    """
    (block,) = refiner.token_refiner.refiner_blocks
    for part in (refiner.proj_in, block.attn.to_q, block.attn.to_k, block.attn.to_v, block.attn.to_out[0]):
        part.weight.zero_()
        part.bias.zero_()
    refiner.proj_in.weight.fill_diagonal_(1)
    gates = block.norm_out.linear  # of attention, then of the feed-forward; each of the token's width
    gates.weight.zero_()
    gates.bias.copy_(torch.cat([torch.ones(len(gates.bias) // 2), torch.zeros(len(gates.bias) // 2)]))
    # which noun it is, one row each; each row sums to zero, for the mean that a layer norm takes off
    which = torch.linalg.pinv(torch.cat([words[:, NOUN], torch.ones(1, BLOCK)])).T[:-1]
    count = len(which)
    block.attn.to_q.weight[:count, NOUN] = which
    block.attn.to_q.bias[count] = 1
    # a logit of STRONG for the same noun, -STRONG for another or to no noun at all, 0 for a token that was told none
    block.attn.to_k.weight[:count, ITS_NOUN] = 2 * STRONG * BLOCK**0.5 * which
    block.attn.to_k.weight[count, ITS_NOUN] = -STRONG * BLOCK**0.5 * which.sum(dim=0)
    _take(block.attn.to_v.weight, block.attn.to_out[0].weight, 0, VERB, ITS_VERB)
    block.attn.to_v.weight[:BLOCK, VERB] -= 1 / BLOCK
    refiner.requires_grad_(False)


@torch.no_grad()
def tell_alike(encoder: nn.Module, tokenizer: PreTrainedTokenizerFast, space: str) -> None:
    """Give a word with a capital, or with no space before it as at a text's start, the embedding that it has elsewhere.

    space: what a piece of the tokenizer starts with when there is a space before it.
    """
    table, pieces = encoder.get_input_embeddings().weight, tokenizer.get_vocab()
    for word in WORDS.split():
        for form in (word, word.capitalize(), space + word.capitalize()):
            if form in pieces:
                table[pieces[form]] = table[pieces[space + word]]


def _take(value: Tensor, output: Tensor, row: int, part: slice, into: slice) -> None:
    """Let a head whose rows start at `row` bring a part of the tokens that it looks at."""
    rows = slice(row, row + BLOCK)
    value[rows, part] = output[into, rows] = torch.eye(BLOCK)


def _set_words(encoder: nn.Module, nouns: Sequence[int], verbs: Sequence[int]) -> None:
    words = encoder.get_input_embeddings().weight
    words.normal_()
    drawn = words.clone()
    words[:, : 4 * BLOCK] = 0
    words[list(nouns), NOUN] = drawn[list(nouns), NOUN]
    words[list(verbs), VERB] = drawn[list(verbs), VERB]
    encoder.requires_grad_(False)
