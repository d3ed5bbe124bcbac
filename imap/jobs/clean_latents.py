"""Clean latents and noise, the two parts of a renoised clip (docs/method.md, 7)."""

from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from imap.backbones.base import Backbone
from imap.errors import ImapError
from imap.jobs.posterior_cache import PosteriorCache
from imap.jobs.timing import Stages
from imap.media.clips import check_video_size, to_tensor


def clean_and_noise(
    backbone: Backbone,
    source: np.ndarray | Tensor,
    noise: Tensor | None,
    generator: torch.Generator,
    stages: Stages,
    cache: PosteriorCache | None = None,
) -> tuple[Tensor, Tensor]:
    """Clean latents and noise (1, channels, frames, height, width), float32, on the pipeline's device.

    The noise is drawn first, even when it is given. So it is the same on every device, and later draws do not depend
    on the kind of input.

    Args:
        source: a clip, uint8 frames (frames, height, width, 3), or clean latents in either layout.
        noise: noise of the latents' shape, or None to draw it.
        cache: has the VAE's encodings of clips. The sample of an encoding is drawn from the seed in any case.

    Raises:
        ImapError: for a clip size or a shape that the model cannot take.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.uint8:
        frames, height, width, _ = source.shape
        multiple = backbone.size_multiple(backbone.transformer.config.patch_size)
        try:
            check_video_size(height, width, frames, multiple, backbone.temporal_factor, backbone.causal)
        except ImapError as error:
            raise ImapError(f"{error}, and frames='uniform' or resize='crop' to resample the clip") from None
        shape = backbone.latent_shape(frames, height, width)
    else:
        source = _one_layout(backbone, dense("latents", source), "latents")
        shape = tuple(source.shape)
    noise = None if noise is None else dense("noise", noise)
    # in the order of the pipeline's axes, so that a seed gives the pipeline's own noise
    own, order = backbone.channel_axis, list(shape)
    order.insert(own, order.pop(1))
    drawn = randn_tensor(tuple(order), generator=generator, dtype=backbone.latent_dtype).movedim(own, 1)
    noise = drawn if noise is None else _one_layout(backbone, noise, "noise")
    if noise.shape != shape:
        raise ImapError(f"noise of shape {tuple(noise.shape)} is not of the latents' shape {shape}")
    latents = source if isinstance(source, Tensor) else _encode(backbone, source, generator, stages, cache)
    device = backbone.pipe._execution_device
    return latents.to(device=device, dtype=torch.float32), noise.to(device=device, dtype=torch.float32)


def _encode(
    backbone: Backbone, clip: np.ndarray, generator: torch.Generator, stages: Stages, cache: PosteriorCache | None
) -> Tensor:
    with stages.stage("encode_clip"), torch.no_grad():
        posterior = backbone.posterior(to_tensor(clip)) if cache is None else cache.posterior(backbone, clip)
        latents = backbone.latents_of(posterior.sample(generator))
        backbone.pipe.maybe_free_model_hooks()  # under model offload, the VAE need not stay
    return latents


def dense(name: str, value: Any) -> Tensor:
    """A tensor or an array of numbers as a tensor. Raises ImapError for anything else, and for NaN."""
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.number):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor):
        raise ImapError(f"{name} must be a tensor (1, channels, frames, height, width); got {type(value).__name__}")
    if value.layout is not torch.strided or not value.is_floating_point():
        raise ImapError(f"{name} must be a dense tensor of floats; got {value.layout} of {value.dtype}")
    if not value.isfinite().all():
        raise ImapError(f"{name} has values that are not finite (NaN or infinity)")
    return value


def _one_layout(backbone: Backbone, latents: Tensor, name: str) -> Tensor:
    """Latents or noise as (1, channels, frames, height, width), from that, the pipeline's layout, or frames first."""
    channels = backbone.channels
    # where two axes are as long as there are channels, the pipeline's layout is taken
    axes = [axis for axis in (backbone.channel_axis, 1, 2) if latents.ndim == 5 and latents.shape[axis] == channels]
    if not axes:
        raise ImapError(
            f"{name} of shape {tuple(latents.shape)}: expected (1, {channels} channels, frames, height, width)"
        )
    latents, factor = latents.movedim(axes[0], 1), backbone.spatial_factor
    high, wide = (x // factor for x in backbone.size_multiple(backbone.transformer.config.patch_size))
    if latents.shape[3] % high or latents.shape[4] % wide:
        raise ImapError(
            f"{name} of {latents.shape[3]}x{latents.shape[4]} cells; the height must be a multiple of {high} and the "
            f"width of {wide}, as this model cuts patches"
        )
    patch = backbone.latent_frames_per_patch
    if latents.shape[2] % patch:
        raise ImapError(f"{name} of {tuple(latents.shape)}: this model cuts patches of {patch} latent frames")
    return latents
