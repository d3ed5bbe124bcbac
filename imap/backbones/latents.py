"""Clips and latents of a backbone: sizes, the VAE's scaling, and the pipeline's layout."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from imap.backbones.features import Grid
from imap.backbones.part import Part


class Latents(Part):
    """A VAE. Latents are (1, channels, frames, height, width) in imap, whatever layout the pipeline has."""

    spatial_factor: ClassVar[int] = 8  # pixels per latent cell
    temporal_factor: ClassVar[int] = 4  # frames per latent frame; see `causal` for the first
    causal: ClassVar[bool] = True  # the first latent frame is of one frame; else of as many as the others
    channel_axis: ClassVar[int] = 1  # of the pipeline's latents; frames, height and width are in order
    noise_as_text: ClassVar[bool] = False  # the stock pipeline's starting noise has the text's dtype, else float32

    @classmethod
    def size_multiple(cls, patch_size: int | Sequence[int]) -> tuple[int, int]:
        """Height and width in pixels must be multiples of these, for a transformer's patch size."""
        high, wide = patch_size[-2:] if isinstance(patch_size, Sequence) else (patch_size, patch_size)
        return (cls.spatial_factor * high, cls.spatial_factor * wide)

    @classmethod
    def latent_frames(cls, frames: int) -> int:
        """Latent frames of a video."""
        return (frames - 1) // cls.temporal_factor + 1 if cls.causal else frames // cls.temporal_factor

    @classmethod
    def frames_of(cls, latent_frames: int) -> int:
        """Frames of a video, from its latent frames."""
        return (latent_frames - 1) * cls.temporal_factor + 1 if cls.causal else latent_frames * cls.temporal_factor

    @staticmethod
    def temporal_patch(transformer: Mapping[str, Any]) -> int:
        """Latent frames per frame of a map, from the transformer's configuration."""
        patch = transformer["patch_size"]
        return patch[0] if isinstance(patch, Sequence) else transformer.get("patch_size_t") or 1

    @property
    def channels(self) -> int:
        """Channels of latents. The transformer may get more: those of a condition."""
        return self.transformer.config.out_channels or self.transformer.config.in_channels

    @property
    def latent_frames_per_patch(self) -> int:
        return self.temporal_patch(self.transformer.config)

    def video_size(self, grid: Grid) -> tuple[int, int, int]:
        """Frames, height and width in pixels of the video of a token grid."""
        high, wide = self.size_multiple(self.transformer.config.patch_size)
        # a checkpoint may have another factor than its family
        factor = getattr(self.pipe, "vae_scale_factor_spatial", None) or self.spatial_factor
        return (
            self.frames_of(grid.frames * self.latent_frames_per_patch),
            grid.height * high * factor // self.spatial_factor,
            grid.width * wide * factor // self.spatial_factor,
        )

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of the latents of a video of this size."""
        size = (height // self.spatial_factor, width // self.spatial_factor)
        return (1, self.channels, self.latent_frames(frames), *size)

    def grid_of(self, frames: int, height: int, width: int) -> Grid:
        """Token grid of a video of this size."""
        config, cells = self.transformer.config, self.latent_shape(frames, height, width)[2:]
        high, wide = (x // self.spatial_factor for x in self.size_multiple(config.patch_size))
        return Grid(cells[0] // self.latent_frames_per_patch, cells[1] // high, cells[2] // wide)

    def pixels_of(self, latents: Tensor) -> dict[str, int]:
        """Size of a video, as arguments of a pipeline call, that has latents of this shape."""
        frames, height, width = latents.shape[2:]
        return {
            "height": height * self.spatial_factor,
            "width": width * self.spatial_factor,
            "num_frames": self.frames_of(frames),
        }

    def to_pipeline(self, latents: Tensor) -> Tensor:
        """Latents in the pipeline's layout."""
        return latents.movedim(1, self.channel_axis).contiguous()

    def from_pipeline(self, latents: Tensor, grid: Grid) -> Tensor:
        """Latents, or predictions of any number of rows, from the pipeline's layout. grid: of their tokens."""
        return latents.movedim(self.channel_axis, 1)

    def start(self, noised: Tensor, pictures: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        """Noised latents as the pipeline starts from them. Image-to-video models may hold their picture in them.

        Args:
            noised: (1, channels, frames, height, width).
            pictures: PIL images of the video's size, by argument of the call.
            generator: draws the sample of a picture's encoding.
        """
        return noised

    @property
    def latent_dtype(self) -> torch.dtype:
        """Dtype of the stock pipeline's starting noise."""
        return self.pipe.text_encoder.dtype if self.noise_as_text else torch.float32

    def posterior(self, video: Tensor) -> Any:
        """The VAE's distribution of latents for a clip (1, 3, frames, height, width) in [-1, 1]. Nothing is drawn."""
        vae = self.pipe.vae
        return vae.encode(video.to(device=self.pipe._execution_device, dtype=vae.dtype)).latent_dist

    def latents_of(self, sample: Tensor) -> Tensor:
        """A sample (1, channels, frames, height, width) of the VAE, scaled for the transformer."""
        latents, config = sample.float(), self.pipe.vae.config
        mean, std = (self._statistic(name) for name in ("latents_mean", "latents_std"))
        if mean is not None and std is not None:
            mean, std = (torch.as_tensor(x).to(latents).view(1, -1, 1, 1, 1) for x in (mean, std))
            latents = (latents - mean) / std
        return latents * config.get("scaling_factor", 1.0)

    def _statistic(self, name: str) -> Any:
        """Mean or deviation of the latents' channels, which some VAEs have as a buffer; None for none."""
        buffers = dict(self.pipe.vae.named_buffers(recurse=False))
        return buffers[name] if name in buffers else self.pipe.vae.config.get(name)

    def encode_clip(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """A clip (1, 3, frames, height, width) in [-1, 1] to a seeded sample of the VAE, in the pipeline's layout."""
        return self.to_pipeline(self.latents_of(self.posterior(video).sample(generator)))
