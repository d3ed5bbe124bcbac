"""The checks of one family: the same bits, the right maps, the right noise."""

import time
from dataclasses import dataclass
from inspect import getsourcefile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import imap
from benchmarks.families.oracle import Run, is_near_tie, maps_of, stock_run
from benchmarks.families.stock import (
    CONCEPTS,
    GRID,
    MOTIONS,
    PROMPT,
    WORDS,
    models_of,
    pictures_of,
    recorded,
    sample,
    size_of,
)
from imap.backbones import backbone_of
from imap.backbones.base import Backbone
from imap.tracing.trace import Trace

TARGETS = ("prompt", "concepts")
# Worst error that a right map may have, over its deviation: about 4 times what was measured. The tiny Allegro has the
# largest ones, as its head outputs differ little.
BOUNDS = {"imap": 2e-2, "video_col": 2e-2, "cross_attention_maps": 3e-4, "concept_attention_maps": 5e-5}
LATENTS_BOUND = 1e-5
SEEDS = range(20)  # of the starting noise: the first without a near tie is taken
RENOISING = {"num_inference_steps": 4, "renoise_timestep": [1, 3]}
# families whose concept tokens go another way than `oracle` can follow: maps that need them are compared in tests only
BY_HAND: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Maps:
    """Of one target: whether the latents have the untraced run's bits, and the worst error of each map by key."""

    same_bits: bool
    errors: dict[str, float]


@dataclass(frozen=True)
class Renoising:
    """How far what the transformer is given is from the stock schedule: timestep, and latents."""

    timestep: float
    latents: float


@dataclass(frozen=True)
class Row:
    """All of a family. maps: by target. renoising: the reason if clips are refused."""

    family: str
    lines: int
    joint: bool
    maps: dict[str, Maps]
    renoising: Renoising | str
    seconds: float

    @property
    def compared(self) -> dict[str, set[str]]:
        """Keys of the maps that must be compared, by target."""
        keys = set(BOUNDS) - (set() if self.joint else {"concept_attention_maps"})
        if self.family not in BY_HAND:
            return dict.fromkeys(TARGETS, keys)
        of_prompt = keys - {"cross_attention_maps", "concept_attention_maps"} if self.joint else keys
        return {"prompt": of_prompt, "concepts": set()}

    @property
    def faults(self) -> list[str]:
        """What is not as it must be."""
        found = [f"other latents with target {target}" for target, x in self.maps.items() if not x.same_bits]
        for target, x in self.maps.items():
            if set(x.errors) != self.compared[target]:
                found.append(f"target {target}: maps {sorted(x.errors)}, expected {sorted(self.compared[target])}")
            wrong = {key: off for key, off in x.errors.items() if not off < BOUNDS[key]}
            found += [f"target {target}: {key} is off by {off:.1e} deviations" for key, off in wrong.items()]
        if isinstance(self.renoising, Renoising):
            if self.renoising.timestep != 0:
                found.append(f"renoising: timestep off by {self.renoising.timestep}")
            if not self.renoising.latents < LATENTS_BOUND:
                found.append(f"renoising: latents off by {self.renoising.latents:.1e}")
        return found


def measure(pipe: Any) -> Row:
    """The row of a pipeline's family."""
    began, backbone = time.perf_counter(), backbone_of(pipe)
    seed, run = untied(pipe)
    maps = {target: check_maps(pipe, run, seed, target) for target in TARGETS}
    try:
        renoising = check_renoising(pipe)
    except imap.ImapError as error:
        renoising = str(error)
    seconds = time.perf_counter() - began
    return Row(backbone.family, lines(backbone), backbone.joint_attention, maps, renoising, seconds)


def lines(backbone: Backbone) -> int:
    """Lines of the adapter's file."""
    return len(Path(getsourcefile(type(backbone)) or "").read_text(encoding="utf-8").splitlines())


def tracing(pipe: Any, target: str, observe: Any = None) -> Trace:
    """A trace that reads every layer."""
    layers = list(range(backbone_of(pipe).num_layers))
    return imap.trace(
        pipe,
        PROMPT,
        CONCEPTS,
        MOTIONS,
        imap_qk_matching_target=target,
        imap_layer=layers,
        maps_layers=[0, len(layers)],
        observe=observe,
    )


def untied(pipe: Any) -> tuple[int, Run]:
    """A stock run without near ties, and its seed."""
    for seed in SEEDS:
        run = stock_run(backbone_of(pipe), seed, by_hand=backbone_of(pipe).family in BY_HAND)
        if not is_near_tie(run):
            return seed, run
    raise ValueError(f"each of {len(SEEDS)} runs has near ties")


def check_maps(pipe: Any, run: Run, seed: int, target: str) -> Maps:
    """Compare every map of every layer and step with the run's."""
    errors: dict[str, float] = {}
    read, backbone = {}, backbone_of(pipe)

    def observe(layer: int, step: int, _: Any, __: Any, found: Any) -> None:
        read[step, layer] = {key: x.double().numpy() for key, x in found.maps.items()}

    with tracing(pipe, target, observe) as trace:
        latents = sample(pipe, seed=seed)
    layers = {(step, i): layer for step, layers in enumerate(run.layers) for i, layer in enumerate(layers)}
    if set(read) != set(layers):
        raise ValueError(f"(step, layer) read: {sorted(read)}; expected {sorted(layers)}")
    shapes, expected = {x.shape for x in trace.maps().values()}, (len(WORDS), GRID.frames, GRID.height, GRID.width)
    if shapes != {expected}:
        raise ValueError(f"maps have the shapes {sorted(shapes)}; expected {expected}")
    for place, layer in layers.items():
        for key, expected in maps_of(layer, target, run.spans, backbone).items():
            errors[key] = float(np.maximum(errors.get(key, 0.0), error(read[place][key], expected)))  # keeps NaN
    return Maps(torch.equal(latents, run.latents), errors)


def error(got: np.ndarray, expected: np.ndarray) -> float:
    """The worst error of words' maps (words, f, p), each over its standard deviation."""
    off, spread = np.abs(got - expected).max(axis=(1, 2)), expected.std(axis=(1, 2))
    return float(np.max(np.divide(off, spread, out=np.where(off > 0, np.inf, 0.0), where=spread > 0)))


def check_renoising(pipe: Any) -> Renoising:
    """Renoise latents, and compare with the stock run of all steps."""
    backbone, size, count = backbone_of(pipe), size_of(pipe), RENOISING["num_inference_steps"]
    with recorded(models_of(pipe)) as calls:
        sample(pipe, num_inference_steps=count)
    stock = [call.arguments for call in calls[:: len(calls) // count]]
    shape = backbone.latent_shape(size["num_frames"], size["height"], size["width"])
    clean, noise = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    keeps, levels = noise_levels(pipe.scheduler, [float(x["timestep"].flatten()[-1]) for x in stock])
    with recorded(models_of(pipe)) as calls:
        words = {"prompt": PROMPT, "concepts": CONCEPTS, "motions": MOTIONS}
        imap.renoise(pipe, latents=clean, noise=noise, seed=0, **words, **RENOISING, **pictures_of(pipe))

    def dense(call: dict[str, Any]) -> torch.Tensor:
        """(1, channels, frames, height, width) of the conditional row. Channels of a condition may follow."""
        return backbone.from_pipeline(call["hidden_states"][-1:], GRID)[:, : shape[1]]

    first, last = dense(stock[0]), dense(stock[-1])
    timesteps, latents = [], []
    for call, index in zip(calls, RENOISING["renoise_timestep"], strict=True):
        timesteps.append((call.arguments["timestep"][-1] - stock[index]["timestep"][-1]).abs().max())
        noised = keeps[index] * clean.double() + levels[index] * noise.double()
        # what the stock run does not denoise is a picture as the first frame
        latents.append((dense(call.arguments) - torch.where(first == last, first, noised)).abs().max())
    return Renoising(*(float(torch.stack(off).max()) for off in (timesteps, latents)))


def noise_levels(scheduler: Any, timesteps: list[float]) -> tuple[list[float], list[float]]:
    """Shares of the clip and of the noise at each step, from the public numbers of a scheduler that has run."""
    config = scheduler.config
    if hasattr(scheduler, "alphas_cumprod") and not config.get("use_flow_sigmas"):
        alphas = [float(scheduler.alphas_cumprod[int(t)]) for t in timesteps]
        return [x**0.5 for x in alphas], [(1 - x) ** 0.5 for x in alphas]
    sigmas = scheduler.sigmas.double().tolist()
    levels = [1 - x for x in sigmas] if config.get("invert_sigmas") else sigmas  # Mochi's are the share of the clip
    return [1 - x for x in levels], levels
