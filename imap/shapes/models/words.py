"""Text encoders in which a word's token tells what belongs to it; nothing in them is trained.

"a ball rises while a box falls": the ball's token tells that it rises, and its verb's token what rises, as a trained
encoder's would; other words keep to themselves. So to know who does what, a denoiser must read the right noun's or
verb's token at the right place. A decoder sees only what is behind: in it the verb's token tells what rises, and the
ball's token is the word alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import LlamaModel, T5EncoderModel, UMT5EncoderModel

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
