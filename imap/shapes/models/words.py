"""Text encoders in which a noun's token is its word and what it does; nothing in them is trained.

"a ball rises while a box falls": the ball's token tells that it rises, as a trained encoder's would. So to know who
does what, a denoiser must read the right noun's token at the right place, and it finds no noun anywhere but there. A
decoder sees only what is behind: in it the verb's token carries its noun.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import LlamaModel, T5EncoderModel, UMT5EncoderModel

CARRIED = 16  # coordinates of what a neighbour may carry, and as many that it carries it in
STRONG = 20.0  # on an attention logit: exp(-20) is no share worth naming


@torch.no_grad()
def bind_t5(encoder: T5EncoderModel | UMT5EncoderModel, carried: Sequence[int]) -> None:
    """Set the one layer of a T5 or UMT5 encoder: attention to the token ahead, and no feed-forward.

    carried: token numbers of the words that the token before them carries; other words are carried by none.
    """
    attention, feed_forward = encoder.encoder.block[0].layer
    attention, feed_forward = attention.SelfAttention, feed_forward.DenseReluDense
    bias = attention.relative_attention_bias.weight  # (buckets, heads): 0 the token itself, then behind, then ahead
    bias.zero_()
    bias[len(bias) // 2 + 1] = 2 * STRONG
    bias[0] = STRONG  # the last token has none ahead
    attention.q.weight.zero_()
    attention.k.weight.zero_()
    _carry(attention.v.weight, attention.o.weight)
    feed_forward.wo.weight.zero_()
    _set_words(encoder, carried)


@torch.no_grad()
def bind_llama(model: LlamaModel, carried: Sequence[int]) -> None:
    """Set the first layer of a Llama whose attention has biases: rotary attention to the token before, no MLP.

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
    _carry(attention.v_proj.weight, attention.o_proj.weight)
    attention.v_proj.bias.zero_()
    attention.o_proj.bias.zero_()
    layer.mlp.down_proj.weight.zero_()
    _set_words(model, carried)


def _carry(value: Tensor, output: Tensor) -> None:
    value.zero_()
    output.zero_()
    own = torch.arange(CARRIED)
    value[own, own] = output[own + CARRIED, own] = 1


def _set_words(encoder: nn.Module, carried: Sequence[int]) -> None:
    words = encoder.get_input_embeddings().weight
    words.normal_()
    own = words[list(carried), :CARRIED].clone()
    words[:, : 2 * CARRIED] = 0
    words[list(carried), :CARRIED] = own
    encoder.requires_grad_(False)
