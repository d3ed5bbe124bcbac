"""Planted attention: activations whose maps are known in closed form, without a model or training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from imap.methods.layer_maps import LayerActivations, SlotWeights


@dataclass(frozen=True)
class Planted:
    """Input of `imap.methods.layer_maps.layer_maps`, with the expected results.

    Attributes:
        layer: Activations of one layer.
        texts: Slots of three texts.
        gramcol: (texts, f, p), standardized Gram columns, summed over heads.
        imap: (texts, f, p), their mean over motion heads.
        motion_heads: Indices of the motion heads.
        chi: (h,), Calinski-Harabasz index of each head.
    """

    layer: LayerActivations
    texts: SlotWeights
    gramcol: Tensor
    imap: Tensor
    motion_heads: tuple[int, ...]
    chi: Tensor


def planted(frames: int = 5, size: int = 6, heads: int = 4, motion_heads: int = 2, drift: float = 3.0) -> Planted:
    """Two squares exchange places. There is one text for each square, and one for the background.

    Every token's head output is a unit vector of its region (e_1, e_2 or e_3). Each text's key matches one patch of the
    text's region. So a Gram column is 1 on its region and 0 elsewhere. Over three texts a token has one 1 and two 0:
    mean 1/3 and unbiased deviation 1/sqrt(3). So z = 2/sqrt(3) on the text's region and -1/sqrt(3) elsewhere.

    In motion heads a fourth coordinate adds `drift` times the frame's number (from 0) to all outputs of a frame. So
    frames lie apart, and their scatter is known. Between frames, B = p * drift^2 * sum_f (f - mean f)^2. Regions have
    the same size in every frame, so they add nothing to B; W is the scatter of the regions. The Gram column of
    surrogate s gains (drift * f)^2 for every text alike. Standardization removes it, so the maps do not change.

    Args:
        frames: Latent frames.
        size: Rows and columns of the square grid.
        heads: Attention heads.
        motion_heads: Number of motion heads; they come first.
        drift: Distance between the outputs of neighbouring frames in motion heads.
    """
    region = torch.zeros(frames, size, size, dtype=torch.long)
    for f in range(frames):
        first, second = f * (size - 2) // max(frames - 1, 1), (frames - 1 - f) * (size - 2) // max(frames - 1, 1)
        region[f, first : first + 2, 0:2] = 1
        region[f, second : second + 2, size - 2 :] = 2
    region = region.flatten(1)  # (f, p)
    patches = region.shape[1]
    one_hot = torch.nn.functional.one_hot(region, 3).float().roll(-1, dims=-1)  # texts: first, second, ground

    o = torch.zeros(heads, frames, patches, 5)
    o[..., :3] = one_hot
    o[:motion_heads, ..., 3] = drift * torch.arange(frames).float()[:, None]
    q = torch.zeros(heads, frames, patches, 5)
    for text in range(3):
        matches = one_hot[..., text].argmax(dim=1)  # the first patch of the region
        q[:, torch.arange(frames), matches, text] = 1
    keys = torch.eye(3, 5).expand(heads, 3, 5).contiguous()

    z = (one_hot * 3**0.5 - 3**-0.5).permute(2, 0, 1)
    share = one_hot.mean(dim=(0, 1))
    within = frames * patches * (1 - share.square().sum())
    time = torch.arange(frames).float()
    between = patches * drift**2 * (time - time.mean()).square().sum()
    index = (between / (frames - 1)) / (within / (frames * patches - frames))
    chi = torch.where(torch.arange(heads) < motion_heads, index, torch.zeros(()))
    weights, rows = torch.ones(3), torch.eye(3)
    slots = SlotWeights(weights, rows, weights, rows)
    return Planted(LayerActivations(q, o, keys), slots, heads * z, z, tuple(range(motion_heads)), chi)
