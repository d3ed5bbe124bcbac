"""The adapter contract: queries, text keys, head outputs, token grid, words and clips of one model family.

To add a family, write one module in this folder with one subclass of `Backbone`, and a preset in `configs/backbone/`
(docs/adding_a_backbone.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imap.backbones.features import BlockActivations, ConceptStep, Features, Grid, TokenizedText
from imap.methods.registry import SaliencyMap


class Backbone(ABC):
    """Adapter of one stock pipeline: what the method needs to know about it."""

    family: ClassVar[str]
    transformer_class: ClassVar[str]
    pipeline_class: ClassVar[str]
    processor_class: ClassVar[str]
    joint_attention: ClassVar[bool] = False
    batched_guidance: ClassVar[bool] = False  # guidance as one call on [unconditional, conditional] rows
    default_concept_token: ClassVar[str] = "first"
    processor_reads_fused_flag: ClassVar[bool] = False  # else fusing sets another processor
    takes_negative_prompt: ClassVar[bool] = True
    masks_padding: ClassVar[bool] = False  # its attention does not see the prompt's padded slots
    rivals_are_words: ClassVar[bool] = True  # of the whole-video column (docs/method.md, 10.1)
    # arguments of the transformer by names of `encode_prompt`; the first holds the token embeddings
    text_arguments: ClassVar[Mapping[str, str]] = {"prompt_embeds": "encoder_hidden_states"}
    layer_threshold: ClassVar[float] = 0.7  # imap_layer=auto keeps layers of a higher lambda_2 (paper; ours for Wan)
    takes_attention_backend: ClassVar[bool] = True  # its stock processor runs through diffusers' dispatcher

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe  # a stock diffusers pipeline
        self.transformer: Any = pipe.transformer

    # -- structure

    @property
    def num_layers(self) -> int:
        return len(self.blocks)

    @property
    def num_heads(self) -> int:
        return self.transformer.config.num_attention_heads

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Any]:
        """Blocks with maps, in order; layer numbers count these."""

    @abstractmethod
    def attention(self, block: Any) -> Any:
        """The attention module whose head outputs are read. Its `to_out[0]` is the output projection."""

    @abstractmethod
    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        """Modules inside the attention whose outputs `features` reads, by names that the family chooses."""

    def refusal(self) -> str | None:
        """Why this pipeline cannot be traced, and what to do; None when it can."""
        return None

    @property
    def cross_attention_scale(self) -> float | None:
        """Scale of logits before the cross-attention map's softmax over texts; None: plain logits (method.md 5)."""
        return None

    # -- one transformer call

    @abstractmethod
    def grid(self, latents: Tensor) -> Grid:
        """Token grid of the transformer's input latents."""

    @classmethod
    @abstractmethod
    def text_slots(cls, transformer: Mapping[str, Any]) -> int:
        """Text slots that the stock pipeline pads to, from the transformer's configuration."""

    @property
    def text_length(self) -> int:
        return self.text_slots(self.transformer.config)

    def prompt_slots(self, call: Mapping[str, Any], prompt_tokens: int) -> tuple[int, int]:
        """Distinct prompt slots of a transformer call, and how many equal slots the last one counts for."""
        return call["encoder_hidden_states"].shape[1], 1

    # -- one block

    @abstractmethod
    def features(self, block: Any, activations: BlockActivations, row: int, slots: int, is_read: bool) -> Features:
        """Attention of one block for one batch row, with `slots` prompt keys. Without `is_read`, q may be None."""

    @abstractmethod
    def start_concepts(self, embeddings: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        """Concept embeddings (c, text width), zero padding last, to tokens (1, c, width) for the first block."""

    @abstractmethod
    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        """Take the concept tokens through one block. weights: (c,) multiplicity of each slot."""

    # -- words

    @abstractmethod
    def tokenize(self, prompt: str) -> TokenizedText:
        """Prompt tokens in the order of the transformer's text slots, the end token last."""

    @staticmethod
    def clean(text: str) -> str:
        """The text as the stock pipeline hands it to the tokenizer."""
        return text

    @classmethod
    @abstractmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        """Token ids of a text of any length, the end token included; needs no weights."""

    @abstractmethod
    def encoder_tokens(self, output: Any) -> Tensor:
        """(rows, slots, width) of a text encoder's output: what the pipeline cuts the token embeddings from."""

    @abstractmethod
    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        """One embedding per text, encoded alone: its first or last token, or the mean; (texts, text width)."""

    @abstractmethod
    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        """Text arguments of a pipeline call. negative_prompt=None means no guidance, so no negative half."""

    # -- clips

    spatial_factor: ClassVar[int] = 8  # pixels per latent cell
    temporal_factor: ClassVar[int] = 4  # frames per latent frame after the first
    channel_axis: ClassVar[int] = 1  # of the pipeline's latents; the other of axes 1 and 2 is frames

    def latent_frames(self, latents: Tensor) -> int:
        return latents.shape[3 - self.channel_axis]

    @classmethod
    def size_multiple(cls, patch_size: int | Sequence[int]) -> tuple[int, int]:
        """Height and width in pixels must be multiples of these, for a transformer's patch size."""
        high, wide = patch_size[-2:] if isinstance(patch_size, Sequence) else (patch_size, patch_size)
        return (cls.spatial_factor * high, cls.spatial_factor * wide)

    @property
    def latent_frames_per_patch(self) -> int:
        return self.temporal_patch(self.transformer.config)

    @staticmethod
    def temporal_patch(transformer: Mapping[str, Any]) -> int:
        """Latent frames per frame of a map, from the transformer's configuration."""
        patch = transformer["patch_size"]
        return patch[0] if isinstance(patch, Sequence) else transformer.get("patch_size_t") or 1

    @classmethod
    def maps_of_layer(cls, maps: Sequence[SaliencyMap]) -> int:
        """How many of some maps a layer has: text has head outputs in joint attention only."""
        return sum(x.slots != "concepts" or cls.joint_attention for x in maps)

    def video_size(self, grid: Grid) -> tuple[int, int, int]:
        """Frames, height and width in pixels of the video of a token grid."""
        high, wide = self.size_multiple(self.transformer.config.patch_size)
        # a checkpoint may have another factor than its family
        factor = getattr(self.pipe, "vae_scale_factor_spatial", None) or self.spatial_factor
        return (
            (grid.frames * self.latent_frames_per_patch - 1) * self.temporal_factor + 1,
            grid.height * high * factor // self.spatial_factor,
            grid.width * wide * factor // self.spatial_factor,
        )

    def set_schedule(self, num_inference_steps: int) -> None:
        """Set the scheduler's schedule as the stock pipeline does."""
        self.pipe.scheduler.set_timesteps(num_inference_steps, device=self.pipe._execution_device)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of the pipeline's latents for a video of this size."""
        latent_frames = (frames - 1) // self.temporal_factor + 1
        size = (height // self.spatial_factor, width // self.spatial_factor)
        return (1, self.transformer.config.in_channels, latent_frames, *size)

    @property
    def latent_dtype(self) -> torch.dtype:
        """Dtype of the stock pipeline's starting noise."""
        return torch.float32

    def encode_clip(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """A clip (1, 3, frames, height, width) in [-1, 1] to latents, a seeded sample of the VAE's posterior."""
        return self.latents_of(self.posterior(video).sample(generator))

    def posterior(self, video: Tensor) -> Any:
        """The VAE's distribution of latents for a clip (1, 3, frames, height, width) in [-1, 1]. Nothing is drawn."""
        vae = self.pipe.vae
        return vae.encode(video.to(device=self.pipe._execution_device, dtype=vae.dtype)).latent_dist

    @abstractmethod
    def latents_of(self, sample: Tensor) -> Tensor:
        """A sample (1, channels, frames, height, width) of the VAE, scaled and laid out for the transformer."""

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        """Guidance arguments of a pipeline call. conditional_only: one forward pass, without the unconditional half."""
        return {"guidance_scale": 1.0 if conditional_only else guidance_scale}
