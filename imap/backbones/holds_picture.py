"""Image-to-video models whose first latent frame is the picture itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imap.backbones.latents import Latents
from imap.media.clips import to_tensor


class HoldsPicture(Latents):
    """A pipeline that puts its picture into the latents, and does not look at it when it is given latents."""

    clean_frames = 1

    def start(self, noised: Tensor, pictures: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        pixels = to_tensor(np.array(pictures["image"])[None])
        picture = self.latents_of(self.posterior(pixels).sample(generator))
        return torch.cat([picture.to(noised), noised[:, :, 1:]], dim=2)
