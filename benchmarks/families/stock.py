"""What a stock pipeline does, untraced: its transformer calls, with all that torch's attention function took and gave.

Nothing here reads a tensor through imap. The adapter only says which transformers and blocks there are, and which
arguments of a pipeline call are pictures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import torch
from diffusers.models.embeddings import Timesteps
from PIL import Image
from torch import Tensor, nn

from imap.backbones import backbone_of
from imap.backbones.features import Grid

PROMPT = "A red kangaroo rolls past a small dog on the grass."
OTHER = "Two ships under a bridge."
CONCEPTS, MOTIONS = ("small dog", "kangaroo"), ("rolls",)  # words of the prompt, as it writes them
WORDS = (*CONCEPTS, *MOTIONS)
REASONS = {"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 100}  # at every step, with all frames
GRID = Grid(3, 2, 4)  # of tokens; no two sides are equal
STEPS = 2
Attention = list[tuple[Tensor, ...]]  # (q, k, v, o) of the attention calls of a block
TEXT = "encoder_hidden_states"  # name of the text in a transformer's and a block's call


@dataclass
class Block:
    """One block: its arguments, and (q, k, v, o), each (rows, heads, tokens, width), of every attention inside it."""

    arguments: dict[str, Any]
    attention: Attention = field(default_factory=list)

    @property
    def text_name(self) -> str:
        """Name of the text among its arguments."""
        return TEXT if TEXT in self.arguments else "text_embed"

    def of_row(self, row: int, rows: int) -> Attention:
        """(q, k, v, o), each (heads, tokens, width), of one of the call's rows. Mochi attends row by row."""
        if len(self.attention[0][0]) == rows:
            return [tuple(x[row] for x in one) for one in self.attention]
        share = len(self.attention) // rows
        return [tuple(x[0] for x in one) for one in self.attention[row * share : (row + 1) * share]]


@dataclass
class Call:
    """One transformer call. Tensors with fractions are in float64."""

    model: nn.Module
    arguments: dict[str, Any]
    blocks: list[Block] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.arguments[TEXT])


class _Enough(Exception):
    """Ends a call whose rest is not needed."""


def size_of(pipe: Any) -> dict[str, Any]:
    """Size of a video of GRID, as arguments of a pipeline call."""
    frames, height, width = backbone_of(pipe).video_size(GRID)
    size: dict[str, Any] = {"num_frames": frames, "frames": frames, "height": height, "width": width}
    return size | {"latent_window_size": GRID.frames, "use_resolution_binning": False} | REASONS


def pictures_of(pipe: Any) -> dict[str, Image.Image]:
    """Pictures of the video's size that a pipeline call needs, by argument."""
    drawn, size = np.random.default_rng(3), size_of(pipe)
    shape = (size["height"], size["width"], 3)
    names = backbone_of(pipe).images
    return {name: Image.fromarray(drawn.integers(0, 255, shape, dtype=np.uint8)) for name in names}


def sample(pipe: Any, prompt: str = PROMPT, seed: int = 0, **more: Any) -> Tensor:
    """Latents that the pipeline returns."""
    chosen = {"num_inference_steps": STEPS, "max_sequence_length": None, "negative_prompt": ""} | more
    known = signature(type(pipe).__call__).parameters
    chosen = {
        name: x for name, x in (size_of(pipe) | pictures_of(pipe) | chosen).items() if name in known and x is not None
    }
    generator = torch.Generator().manual_seed(seed)
    latents = pipe(prompt=prompt, **chosen, generator=generator, output_type="latent").frames
    return torch.cat(latents, dim=2) if isinstance(latents, list) else latents  # one of each section


def models_of(pipe: Any) -> dict[nn.Module, list[nn.Module]]:
    """The pipeline's transformers, each with its blocks: all of the list that the adapter's first block is in."""
    return {part.transformer: _list_with(part.transformer, part.blocks[0]) for part in backbone_of(pipe).parts}


def _list_with(model: nn.Module, block: nn.Module) -> list[nn.Module]:
    lists = [list(x) for x in model.children() if isinstance(x, nn.ModuleList)]
    return next(blocks for blocks in lists if block in blocks)


def in_float64(model: nn.Module, blocks: Sequence[nn.Module]) -> dict[nn.Module, list[nn.Module]]:
    """A copy of a transformer in float64, with its blocks."""
    names, twin = {x: name for name, x in model.named_modules()}, deepcopy(model).double()
    for module in twin.modules():
        if isinstance(module, Timesteps):  # it gives float32, which not every model casts to its own dtype
            module.register_forward_hook(lambda *given: given[-1].double())
        if isinstance(module, nn.Linear | nn.RMSNorm):  # what a model rounds to float32 goes on in float64
            module.register_forward_pre_hook(lambda _, args: (args[0].double(),))
    return {twin: [twin.get_submodule(names[block]) for block in blocks]}


@contextmanager
def recorded(models: Mapping[nn.Module, Sequence[nn.Module]], stop: int | None = None) -> Iterator[list[Call]]:
    """Calls of transformers. stop: end the work before the call of this index."""
    calls: list[Call] = []

    def begins(module: nn.Module, args: tuple, kwargs: dict) -> None:
        if len(calls) == stop:
            raise _Enough
        calls.append(Call(module, _named(module, args, kwargs)))

    def block_begins(module: nn.Module, args: tuple, kwargs: dict) -> None:
        calls[-1].blocks.append(Block(_named(module, args, kwargs)))

    handles = [x.register_forward_pre_hook(begins, with_kwargs=True) for x in models]
    blocks = [block for blocks in models.values() for block in blocks]
    handles += [x.register_forward_pre_hook(block_begins, with_kwargs=True) for x in blocks]
    try:
        with spied(blocks, lambda: calls[-1].blocks[-1]), torch.no_grad():
            yield calls
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def spied(blocks: Sequence[nn.Module], current: Callable[[], Block], masks: bool = True) -> Iterator[None]:
    """Note attention calls inside blocks, with outputs after their gates. Without `masks`, nothing is masked there."""
    attend, inside, gates = torch.nn.functional.scaled_dot_product_attention, [], []

    def spy(query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        out = attend(query, key, value, attn_mask if masks or not inside else None, *args, **kwargs)
        if inside:
            gate = 2 / (1 + (-gates.pop()).exp()) if gates else 1.0
            current().attention.append((*doubled((query, key, value)), gate * doubled(out)))
        return out

    def gated(module: nn.Module, args: tuple, logits: Tensor) -> None:
        gates[:] = [doubled(logits).transpose(1, 2).unsqueeze(-1)]  # (rows, heads, tokens, 1)

    handles = [x.register_forward_pre_hook(lambda *_: inside.append(True)) for x in blocks]
    handles += [x.register_forward_hook(lambda *_: inside.clear(), always_call=True) for x in blocks]
    named = [pair for block in blocks for pair in block.named_modules()]
    handles += [x.register_forward_hook(gated) for name, x in named if name.endswith("to_gate_logits")]
    torch.nn.functional.scaled_dot_product_attention = spy
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = attend
        for handle in handles:
            handle.remove()


def doubled(x: Any) -> Any:
    """A copy of tensors, with those of fractions in float64."""
    if isinstance(x, Tensor):
        return x.detach().double().clone() if x.is_floating_point() else x.detach().clone()
    if isinstance(x, dict):
        return {name: doubled(value) for name, value in x.items()}
    return type(x)(doubled(value) for value in x) if isinstance(x, tuple | list) else x


def of_row(x: Any, row: int, rows: int) -> Any:
    """What belongs to one row of a call's argument."""
    if isinstance(x, tuple | list):  # tables of rotations have no rows, and are as long as a side of the video
        return type(x)(of_row(one, row, rows) if isinstance(one, Tensor) and one.ndim > 2 else one for one in x)
    return x[row : row + 1] if isinstance(x, Tensor) and x.ndim and len(x) == rows else x


def _named(module: nn.Module, args: tuple, kwargs: dict) -> dict[str, Any]:
    return doubled(dict(signature(module.forward).bind(*args, **kwargs).arguments))
