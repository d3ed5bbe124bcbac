"""Attention of the concept tokens, which never changes the video (docs/method.md, 4)."""

import torch
from torch import Tensor

from imap.methods.chunking import head_groups


def concept_head_outputs(
    q: Tensor, k: Tensor, v: Tensor, weights: Tensor, visual_k: Tensor, visual_v: Tensor
) -> Tensor:
    """Attention of concept tokens to [concepts, visual tokens], linear in the visual tokens.

    A slot that counts for m equal texts is m equal keys, which adds log m to its attention logit.

    Args:
        q, k, v: (h, t, d) of the concept slots.
        weights: (t,) how many equal texts each slot counts for.
        visual_k, visual_v: (h, n, d).

    Returns:
        (h, t, d) in float32.
    """
    groups = head_groups(visual_k, q.shape[1])
    with torch.autocast(q.device.type, enabled=False):
        bias = weights.log()
        if len(groups) == 1:
            return _attend(q.float(), k.float(), v.float(), visual_k.float(), visual_v.float(), bias)
        grouped = ([x[group].float() for x in (q, k, v, visual_k, visual_v)] for group in groups)
        parts = [_attend(q, k, v, visual_k, visual_v, bias) for q, k, v, visual_k, visual_v in grouped]
    return torch.cat(parts)


def _attend(q: Tensor, k: Tensor, v: Tensor, visual_k: Tensor, visual_v: Tensor, bias: Tensor) -> Tensor:
    q = q * q.shape[-1] ** -0.5
    among = q @ k.transpose(-1, -2) + bias
    to_video = q @ visual_k.transpose(-1, -2)
    attention = torch.cat([among, to_video], dim=-1).softmax(dim=-1)
    among, to_video = attention.split([k.shape[1], visual_k.shape[1]], dim=-1)
    return among @ v + to_video @ visual_v
