"""Text encoders in which a token is its word and the half of the caption that it stands in; nothing in them is trained.

"a ball rises while a box falls": each token looks for the conjunction before it and after it, and carries a mark of
what it found. So a denoiser can tell who does what, yet a word is to be found at its own token alone. Tokens that carry
each other's words, as a trained encoder would have them, leave words unread: then there is no map to find.
"""

import torch
from torch import Tensor, nn
from transformers import LlamaModel, T5EncoderModel, UMT5EncoderModel

CONJUNCTION, ONE, SECOND, FIRST = range(4)  # coordinates of a state that are not the word's
LOUD = 6.0  # of the conjunction's coordinate, and so of the marks; a word's norm is about 8
STRONG = 20.0  # on an attention logit: exp(-20) is no share worth naming
HIDDEN = -1000.0  # added to the logit of what a head must not see


@torch.no_grad()
def set_t5(encoder: T5EncoderModel | UMT5EncoderModel, conjunction: int) -> None:
    """Set the one layer of a T5 or UMT5 encoder; `conjunction` is that word's token number."""
    attention, feed_forward = encoder.encoder.block[0].layer
    attention, feed_forward = attention.SelfAttention, feed_forward.DenseReluDense
    bias = attention.relative_attention_bias.weight  # (buckets, heads): 0 the token itself, then behind, then ahead
    bias.zero_()
    ahead = len(bias) // 2
    for head, (hidden, mark) in enumerate(((slice(ahead, None), SECOND), (slice(1, ahead), FIRST))):
        bias[hidden, head] = HIDDEN
        _look(attention.q.weight, attention.k.weight, attention.v.weight, attention.o.weight, head, mark)
    feed_forward.wo.weight.zero_()
    _set_words(encoder, conjunction)


@torch.no_grad()
def set_llama(model: LlamaModel, conjunction: int) -> None:
    """Set the first layer of a Llama, which sees only what is behind: the first half of a caption stays unmarked."""
    layer = model.layers[0]
    attention = layer.self_attn
    # the slowest pair of rotary coordinates hardly turns within a caption
    slowest = attention.head_dim // 2 - 1
    projections = [getattr(attention, f"{name}_proj").weight for name in "qkvo"]
    _look(*projections, head=0, mark=SECOND, inner=slowest)
    layer.mlp.down_proj.weight.zero_()
    _set_words(model, conjunction)


def _look(query: Tensor, key: Tensor, value: Tensor, output: Tensor, head: int, mark: int, inner: int = 0) -> None:
    """Let one of four heads look for the conjunction, and write down at `mark` whether it found it."""
    if head == 0:
        for weight in (query, key, value, output):
            weight.zero_()
    row = head * len(query) // 4 + inner
    query[row, ONE] = key[row, CONJUNCTION] = STRONG**0.5
    value[row, CONJUNCTION] = output[mark, row] = 1


def _set_words(encoder: nn.Module, conjunction: int) -> None:
    words = encoder.get_input_embeddings().weight
    words.normal_()
    words[:, : FIRST + 1] = 0
    words[:, ONE] = 1
    words[conjunction, CONJUNCTION] = LOUD
    encoder.requires_grad_(False)
