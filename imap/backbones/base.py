"""What a model family must tell: where queries, text keys and head outputs are, its token grid, its words, its clips.

To add a family, write one module in this folder with one subclass of `Backbone`, and give it a preset in
`configs/backbone/`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

CONCEPT_WINDOW = 16  # tokens that a concept may have, end token included (METHOD 4)


@dataclass(frozen=True)
class Grid:
    """Visual tokens of one video: frames x height x width patches, frame-major."""

    frames: int
    height: int
    width: int

    @property
    def patches(self) -> int:
        return self.height * self.width


@dataclass
class BlockActivations:
    """What hooks have seen of one block in the current forward pass, by reference: nothing is copied."""

    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the block
    outputs: dict[str, Tensor] = field(default_factory=dict)  # of the modules that `hooked_modules` names
    head_outputs: Tensor | None = None  # attention output before the projection, (rows, tokens, heads * width)

    def clear(self) -> None:
        self.arguments, self.outputs, self.head_outputs = {}, {}, None


@dataclass(frozen=True)
class Features:
    """Attention of one block for the conditional row: (h, n, d) visual queries and head outputs (None in blocks that
    are not read) and, in joint attention, keys and values; (h, t, d) keys of the prompt."""

    q: Tensor | None
    o: Tensor
    prompt_keys: Tensor
    visual_keys: Tensor | None = None
    visual_values: Tensor | None = None


@dataclass(frozen=True)
class ConceptStep:
    """Concept tokens in one block: (h, c, d) keys and head outputs, and the tokens (1, c, width) for the next block."""

    keys: Tensor
    head_outputs: Tensor | None
    tokens: Tensor


@dataclass(frozen=True)
class TokenizedText:
    """A text as its encoder sees it: token ids, pieces, and for each the characters [start, stop) that it covers."""

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def call_arguments(module: nn.Module, args: tuple, kwargs: dict) -> Mapping[str, Any]:
    """Arguments of a module call by name, however the caller passed them."""
    # of the class: an instance's forward may be wrapped by offload or cache hooks that hide its parameters
    return signature(type(module).forward).bind(module, *args, **kwargs).arguments


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(tokens, heads * width) to (heads, tokens, width), a view."""
    return x.unflatten(-1, (heads, -1)).transpose(0, 1)


class Backbone(ABC):
    """One stock pipeline, seen through the eyes of the method."""

    family: ClassVar[str]
    transformer_class: ClassVar[str]
    pipeline_class: ClassVar[str]
    processor_class: ClassVar[str]
    joint_attention: ClassVar[bool] = False
    batched_guidance: ClassVar[bool] = False  # guidance as one call on [unconditional, conditional] rows
    default_concept_token: ClassVar[str] = "first"
    processor_reads_fused_flag: ClassVar[bool] = False  # or whether fusing sets another processor
    takes_negative_prompt: ClassVar[bool] = True
    layer_threshold: ClassVar[float] = (
        0.7  # of lambda_2, above which a layer is read: the paper's for CogVideoX, ours for Wan
    )
    takes_attention_backend: ClassVar[bool] = True  # whether its stock processor runs through diffusers' dispatcher

    def __init__(self, pipe: DiffusionPipeline) -> None:
        self.pipe = pipe
        self.transformer: nn.Module = pipe.transformer

    # -- structure

    @property
    def num_layers(self) -> int:
        return len(self.blocks)

    @property
    def num_heads(self) -> int:
        return self.transformer.config.num_attention_heads

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """Blocks with maps, in order; layer numbers count these."""

    @abstractmethod
    def attention(self, block: nn.Module) -> nn.Module:
        """The attention module whose head outputs are read. Its `to_out[0]` is the output projection."""

    @abstractmethod
    def hooked_modules(self, block: nn.Module) -> dict[str, nn.Module]:
        """Modules inside the attention whose outputs `features` needs, by a name of the family's own."""

    def refusal(self) -> str | None:
        """Why this particular pipeline cannot be traced, with the way out; None when it can."""
        return None

    @property
    def cross_attention_scale(self) -> float | None:
        """Scale of the logits under the cross-attention map's softmax over text; None for plain logits (METHOD 5)."""
        return None

    # -- one transformer call

    @abstractmethod
    def grid(self, latents: Tensor) -> Grid:
        """Token grid of the latents that the transformer is given."""

    @property
    @abstractmethod
    def text_length(self) -> int:
        """Text slots that the stock pipeline pads to."""

    def prompt_slots(self, call: Mapping[str, Any], prompt_tokens: int) -> tuple[int, int]:
        """Distinct prompt slots of a transformer call, and how many equal ones the last of them stands for."""
        return call["encoder_hidden_states"].shape[1], 1

    # -- one block

    @abstractmethod
    def features(self, block: nn.Module, seen: BlockActivations, row: int, slots: int, is_read: bool) -> Features:
        """Attention of one block for one row, with `slots` prompt keys; a block that is not read needs no queries."""

    @abstractmethod
    def start_concepts(self, embeddings: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        """Concept embeddings (c, text width), the zero padding last, to the tokens (1, c, width) of the first block."""

    @abstractmethod
    def concept_step(
        self, block: nn.Module, seen: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        """Take the concept tokens through one block. weights: (c,) multiplicity of each slot."""

    # -- words

    @abstractmethod
    def tokenize(self, prompt: str) -> TokenizedText:
        """Prompt tokens in the order of the transformer's text slots, the end token last."""

    @classmethod
    @abstractmethod
    def concept_length(cls, tokenizer: Any, text: str) -> int:
        """Tokens of a concept, the end token included; needs no weights."""

    @abstractmethod
    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        """Each text alone to one embedding (texts, text width): its first or last token, or the mean of its tokens."""

    @abstractmethod
    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        """Text arguments of a pipeline call, so that a prompt is encoded once. None: no guidance, no negative half."""

    # -- clips

    spatial_factor: ClassVar[int] = 8  # pixels per latent cell
    temporal_factor: ClassVar[int] = 4  # frames per latent frame after the first
    channel_axis: ClassVar[int] = 1  # of the pipeline's latents; the other of axes 1 and 2 is frames

    def latent_frames(self, latents: Tensor) -> int:
        return latents.shape[3 - self.channel_axis]

    @classmethod
    def size_multiple(cls, patch_size: int | Sequence[int]) -> tuple[int, int]:
        """What height and width in pixels must be multiples of, for a transformer's patch size."""
        high, wide = patch_size[-2:] if isinstance(patch_size, Sequence) else (patch_size, patch_size)
        return (cls.spatial_factor * high, cls.spatial_factor * wide)

    def set_schedule(self, num_inference_steps: int) -> None:
        """Set the scheduler's schedule as the stock pipeline does."""
        self.pipe.scheduler.set_timesteps(num_inference_steps, device=self.pipe._execution_device)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of the pipeline's latents for a video of that many pixels."""
        latent_frames = (frames - 1) // self.temporal_factor + 1
        size = (height // self.spatial_factor, width // self.spatial_factor)
        return (1, self.transformer.config.in_channels, latent_frames, *size)

    @property
    def latent_dtype(self) -> torch.dtype:
        """What the stock pipeline draws its starting noise in."""
        return torch.float32

    @abstractmethod
    def encode_clip(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """A clip (1, 3, frames, height, width) in [-1, 1] to latents, scaled and laid out for the transformer."""

    def posterior_sample(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """Seeded sample of the VAE's posterior, (1, channels, frames, height, width), not scaled."""
        vae = self.pipe.vae
        video = video.to(device=self.pipe._execution_device, dtype=vae.dtype)
        return vae.encode(video).latent_dist.sample(generator)

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        """Guidance arguments of a pipeline call; conditional_only asks for one forward pass without a second half."""
        return {"guidance_scale": 1.0 if conditional_only else guidance_scale}


def pick_token(tokens: Tensor, first: int, stop: int, concept_token: str) -> Tensor:
    """One embedding for a concept from its own tokens [first, stop) of (tokens, width)."""
    own = tokens[first : max(stop, first + 1)]
    return {"first": own[0], "last": own[-1], "mean": own.mean(dim=0)}[concept_token]
