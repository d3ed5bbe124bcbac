"""Layers for a checkpoint without tuned ones: lambda_2 of each layer's attention (docs/method.md, 6)."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from imap.atomic import replaced
from imap.backbones.base import Backbone
from imap.backbones.features import call_arguments
from imap.errors import ImapError
from imap.methods.spectral import second_eigenvalue
from imap.tracing.compatibility import check_traceable
from imap.tracing.steps import Steps

log = logging.getLogger("imap")


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
    def above(self) -> list[int]:
        """Layers above the threshold."""
        return [layer for layer, mean in self.means.items() if mean > self.threshold]

    @property
    def layers(self) -> list[int]:
        """Layers above the threshold; if there is none, the better half."""
        means = self.means
        best = sorted(means, key=lambda layer: means[layer], reverse=True)
        return self.above or sorted(best[: (len(best) + 1) // 2])

    @property
    def rule(self) -> str:
        """Why these layers, in words."""
        return f"{'above' if self.above else 'the better half, for none is above'} {self.threshold}"

    def __str__(self) -> str:
        scores = ", ".join(f"{layer}: {mean:.2f}" for layer, mean in self.means.items())
        return f"imap_layer={self.layers} ({self.rule}); lambda_2 by layer at step {self.step}: {scores}"


class Lambda2Probe(TorchFunctionMode):
    """Reads lambda_2 of every layer at one step of a pipeline call in its `with` block. `choice()` returns the result.

    Queries and keys are those of the model's call of `scaled_dot_product_attention`, which is not changed. In Wan they
    belong to the self-attention. Masked text is left out.
    """

    def __init__(self, backbone: Backbone, step: int, first: int = 0) -> None:
        """step: index into the schedule; first: that of the pipeline call's first step."""
        super().__init__()
        check_traceable(backbone)
        check_attention_matrix(type(backbone))
        self.backbone, self.step = backbone, step
        self.steps = Steps(backbone, (step - first, step - first + 1))
        self._row: int | None = None
        self._layer: int | None = None
        self._passed = 0  # rows of the block whose attention has run
        self._visual = 0  # tokens
        self._lambda_2: dict[int, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> "Lambda2Probe":
        try:
            self._install()
            return super().__enter__()
        except BaseException:
            self._remove()
            raise

    def _install(self) -> None:
        self.steps.open()
        keep = self._handles.append
        for part in self.backbone.parts:
            keep(part.transformer.register_forward_pre_hook(self._call_begins, with_kwargs=True))
            keep(part.transformer.register_forward_hook(self._call_ends))
            for layer, block in enumerate(part.blocks):
                keep(block.register_forward_pre_hook(partial(self._block_begins, layer)))
                keep(block.register_forward_hook(lambda *_: setattr(self, "_layer", None)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._remove()
        # reset only what `_call_ends` set: some pipelines have no such attribute
        if getattr(self.backbone.pipe, "_interrupt", False):
            self.backbone.pipe._interrupt = False

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._row = self._layer = None
        self.steps.forget()

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is scaled_dot_product_attention and self._row is not None and self._layer is not None:
            given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
            q, k, mask = given["query"], given["key"], given.get("attn_mask")
            # only the first of a block: Wan's cross-attention comes later and may be square too
            if q.shape[2] == k.shape[2] >= self._visual and self._layer not in self._lambda_2:
                row, self._passed = self._row - self._passed, self._passed + len(q)  # Mochi goes row by row
                if row < len(q):
                    self._lambda_2[self._layer] = _of_attention(q[row], k[row], None if mask is None else mask[row])
        return function(*args, **kwargs)

    def _call_begins(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        call = call_arguments(module, args, kwargs)
        self._row = self.steps.conditional_row(len(call["hidden_states"]), call["timestep"])
        grid = self.backbone.grid(call)
        self._visual = grid.frames * grid.patches

    def _block_begins(self, layer: int, *_: Any) -> None:
        self._layer, self._passed = layer, 0

    def _call_ends(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._row is not None:
            self.backbone.pipe._interrupt = True  # the stock way to skip the remaining steps
        self._row = None

    def choice(self) -> LayerChoice:
        """The result. Raises ImapError when the step was not run, or attention used another function."""
        missed = sorted(set(range(self.backbone.num_layers)) - set(self._lambda_2))
        if missed:
            raise ImapError(
                f"lambda_2 of layers {missed} was not read at step {self.step}: their attention does not run through "
                "torch's scaled_dot_product_attention; set backbone.attention_backend=default"
            )
        values = {layer: x.tolist() for layer, x in sorted(self._lambda_2.items())}
        return LayerChoice(values, self.backbone.layer_threshold, self.step)


@torch.no_grad()
def _of_attention(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """lambda_2 (h,) of queries and keys (h, n, d) under a mask over keys, in float32 whatever the model runs in."""
    if mask is not None:
        if mask.dtype != torch.bool:
            raise ImapError("lambda_2 needs a boolean attention mask, and this model adds its mask to the logits")
        kept = mask.reshape(-1, k.shape[1]).any(dim=0)
        q, k = q[:, kept], k[:, kept]
    # the model's own backend, such as cuDNN's, may not take float32
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with torch.autocast(q.device.type, enabled=False), sdpa_kernel(backends):
        return second_eigenvalue(q, k)


def check_attention_matrix(adapter: type[Backbone]) -> None:
    """Raise ImapError for a family without the attention that lambda_2 is of."""
    if not adapter.has_attention_matrix:
        raise ImapError(
            f"lambda_2 is of the softmax attention over a video, and that of {adapter.family} is linear; "
            "list its layers in imap_layer instead of imap_layer=auto"
        )


def choose_once(path: Path, of: Mapping[str, Any], measure: Callable[[], LayerChoice]) -> LayerChoice:
    """The choice in a file if it was made for `of` (model and settings), else a measured one, which is written there.

    So a resumed run keeps its layers. Raises ImapError for a damaged file.
    """
    if path.is_file():
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            values = {int(layer): heads for layer, heads in saved["lambda_2"].items()}
            if saved["of"] == of:
                return LayerChoice(values, saved["threshold"], saved["step"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ImapError(
                f"{path} is not what imap_layer=auto has written; delete it, and it is made again"
            ) from None
        log.info("%s is of another model or other settings; lambda_2 is measured again", path)
    choice = measure()
    text = json.dumps({"of": of, **asdict(choice), "layers": choice.layers}, indent=1)
    with replaced(path) as part:
        part.write_text(f"{text}\n", encoding="utf-8")
    return choice
