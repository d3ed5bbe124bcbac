"""The maps that GramCol and IMAP are compared with (METHOD 5), and the attention of the concept stream (METHOD 4)."""

import torch
from torch import Tensor


def text_softmax(x: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Softmax over text slots in which slot t stands for weights[t] equal texts: exp(x_t) / sum_t w_t exp(x_t).

    A slot of weight 0 gets a value and takes no part in the sum.
    """
    shape = [1] * x.ndim
    shape[dim] = -1
    return (x - torch.logsumexp(x + weights.log().view(shape), dim=dim, keepdim=True)).exp()


def concept_attention(c: Tensor, o: Tensor) -> Tensor:
    """ConceptAttention (arXiv 2502.04320): sum over heads of <C[h, t], O[h, f, p]>.

    c: (h, t, d) head outputs of the concept tokens, o: (h, f, p, d). Returns (f, t, p).
    """
    return torch.einsum("htd,hfpd->ftp", c, o)


def concept_head_outputs(
    q: Tensor, k: Tensor, v: Tensor, weights: Tensor, visual_k: Tensor, visual_v: Tensor
) -> Tensor:
    """Attention of concept tokens to [concepts, visual tokens], linear in the visual tokens (METHOD 4).

    q, k, v: (h, t, d) of the concept slots, weights: (t,) their multiplicity, visual_k, visual_v: (h, n, d).
    A slot of multiplicity m is m equal keys, which is log m on its attention logit. Returns (h, t, d) in float32.
    """
    q, k, v, visual_k, visual_v = (x.float() for x in (q, k, v, visual_k, visual_v))
    q = q * q.shape[-1] ** -0.5
    among = q @ k.transpose(-1, -2) + weights.log()
    to_video = q @ visual_k.transpose(-1, -2)
    attention = torch.cat([among, to_video], dim=-1).softmax(dim=-1)
    among, to_video = attention.split([k.shape[1], visual_k.shape[1]], dim=-1)
    return among @ v + to_video @ visual_v
