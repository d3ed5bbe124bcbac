"""Text encoders in which each token is its own word and a share of the word before it.

A verb then knows its noun, as in a pretrained encoder, and no word spreads further: a trained mixture of all words
would leave no token to look for. Only the embeddings are trained; the rest is set here and stays.
"""

import torch
from torch import Tensor, nn
from transformers import LlamaModel, T5EncoderModel, UMT5EncoderModel

SHARE = 0.7  # of the word before, over the word itself
AHEAD = 24  # first bucket of relative positions of 8 and more ahead, of 32 buckets
STRONG = 20.0  # on an attention logit: exp(-20) is no share worth naming


@torch.no_grad()
def bind_t5(encoder: T5EncoderModel | UMT5EncoderModel) -> None:
    """Set the one layer of a T5 or UMT5 encoder: attention by relative position alone, and no feed-forward."""
    attention, feed_forward = encoder.encoder.block[0].layer
    attention, feed_forward = attention.SelfAttention, feed_forward.DenseReluDense
    bias = attention.relative_attention_bias.weight  # (buckets, heads): 0 is the token itself, 1 the one before
    bias.zero_()
    # the first token has none before it: it takes what stands far behind, padding, or where that is masked, itself
    bias[0], bias[AHEAD:], bias[1] = STRONG, 1.5 * STRONG, 2 * STRONG
    attention.q.weight.zero_()
    attention.k.weight.zero_()
    _carry(attention.v.weight, attention.o.weight)
    feed_forward.wo.weight.zero_()
    _train_only(encoder, encoder.get_input_embeddings())


@torch.no_grad()
def bind_llama(model: LlamaModel) -> None:
    """Set the first layer of a Llama whose attention has biases: rotary attention to the token before, no MLP.

    Constant queries and keys leave sum_i cos((d - 1) theta_i) of two frequencies, which is largest at distance d = 1.
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
    model.get_input_embeddings().weight.normal_()  # as large as what is carried over to it
    _train_only(model, model.get_input_embeddings())


def _carry(value: Tensor, output: Tensor) -> None:
    """Let attention carry a word over, turned into directions of its own: not taken for the token's word."""
    nn.init.orthogonal_(value)
    output.copy_(SHARE * torch.eye(*output.shape))


def _train_only(encoder: nn.Module, embeddings: nn.Module) -> None:
    encoder.requires_grad_(False)
    embeddings.requires_grad_(True)
