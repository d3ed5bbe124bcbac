"""Which layers to read, for a checkpoint that nobody has tuned: lambda_2 of each layer's attention (METHOD 6)."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from imap.backbones.base import Backbone, call_arguments
from imap.backbones.probe import refuse_untraceable
from imap.errors import ImapError
from imap.maps.markov import second_eigenvalue
from imap.presets import preset_for
from imap.settings.method import method_settings
from imap.steps import Steps


@dataclass(frozen=True)
class LayerChoice:
    """lambda_2 of every head by layer, and the layers whose mean is above the threshold."""

    lambda_2: Mapping[int, list[float]]
    threshold: float
    step: int

    @property
    def means(self) -> dict[int, float]:
        """Score of each layer: the mean over its heads."""
        return {layer: sum(values) / len(values) for layer, values in self.lambda_2.items()}

    @property
    def layers(self) -> list[int]:
        """Layers above the threshold; where there is none, the better half."""
        means = self.means
        above = [layer for layer, mean in means.items() if mean > self.threshold]
        return above or sorted(sorted(means, key=means.get, reverse=True)[: (len(means) + 1) // 2])

    def __str__(self) -> str:
        means = self.means
        scores = ", ".join(f"{layer}: {mean:.2f}" for layer, mean in means.items())
        rule = f"above {self.threshold}"
        if not any(mean > self.threshold for mean in means.values()):
            rule = f"the better half, for none is above {self.threshold}"
        return f"imap_layer={self.layers} ({rule}); lambda_2 by layer at step {self.step}: {scores}"


class Spectrum(TorchFunctionMode):
    """Reads lambda_2 of every layer at one step of a pipeline call in the `with` block; `choice()` gives what was read.

    Queries and keys are those of the model's own call of `scaled_dot_product_attention`, which is left as it is. In Wan
    it is the self-attention: the other one, to text, is not square. Padded text that is masked out is no part of it.
    """

    def __init__(self, backbone: Backbone, step: int, first: int = 0) -> None:
        """step: index into the schedule; first: that of the pipeline call's first step."""
        super().__init__()
        refuse_untraceable(backbone)
        self.backbone, self.step = backbone, step
        preset = preset_for(backbone.family, backbone.num_layers, backbone.num_heads)
        one_step = {"maps_timesteps": [step - first, step - first + 1]}
        self.steps = Steps(
            backbone, method_settings(one_step, preset.paper, backbone.num_layers, backbone.num_heads, "first")
        )
        self._row: int | None = None
        self._layer: int | None = None
        self._visual = 0  # tokens
        self._lambda_2: dict[int, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> "Spectrum":
        transformer, keep = self.backbone.transformer, self._handles.append
        keep(transformer.register_forward_pre_hook(self._call_begins, with_kwargs=True))
        keep(transformer.register_forward_hook(self._call_ends))
        for layer, block in enumerate(self.backbone.blocks):
            keep(block.register_forward_pre_hook(lambda *_, layer=layer: setattr(self, "_layer", layer)))
            keep(block.register_forward_hook(lambda *_: setattr(self, "_layer", None)))
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.steps.forget()
        self.backbone.pipe._interrupt = False

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is scaled_dot_product_attention and self._row is not None and self._layer is not None:
            given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
            q, k, mask = given["query"][self._row], given["key"][self._row], given.get("attn_mask")
            if q.shape[1] == k.shape[1] >= self._visual:
                if mask is not None:
                    kept = mask[self._row].reshape(-1, k.shape[1]).any(dim=0)
                    q, k = q[:, kept], k[:, kept]
                with torch.no_grad():
                    self._lambda_2[self._layer] = second_eigenvalue(q, k)
        return function(*args, **kwargs)

    def _call_begins(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        latents = call_arguments(module, args, kwargs)["hidden_states"]
        self._row = self.steps.conditional_row(len(latents))
        grid = self.backbone.grid(latents)
        self._visual = grid.frames * grid.patches

    def _call_ends(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._row is not None:
            self.backbone.pipe._interrupt = True  # as a stock pipeline is told to skip the steps that are left
        self._row = None

    def choice(self) -> LayerChoice:
        """What was read. Raises ImapError when the step did not come, or attention went another way."""
        missed = sorted(set(range(self.backbone.num_layers)) - set(self._lambda_2))
        if missed:
            raise ImapError(
                f"lambda_2 of layers {missed} was not read at step {self.step}: their attention does not run through "
                "torch's scaled_dot_product_attention; set backbone.attention_backend=default"
            )
        values = {layer: x.tolist() for layer, x in sorted(self._lambda_2.items())}
        return LayerChoice(values, self.backbone.layer_threshold, self.step)


def choose_once(path: Path, measure: Callable[[], LayerChoice]) -> LayerChoice:
    """The choice that a file holds, else the measured one, which is written there: a run goes on with the layers that
    it began with."""
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8"))
        values = {int(layer): heads for layer, heads in told["lambda_2"].items()}
        return LayerChoice(values, told["threshold"], told["step"])
    choice = measure()
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**asdict(choice), "layers": choice.layers}, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
    return choice
