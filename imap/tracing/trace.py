"""Hooks on, running means, hooks off: joins one backbone to the mathematics while a stock pipeline runs."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone, BlockActivations, Grid, call_arguments
from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.accumulate import RunningMaps
from imap.methods.layer_maps import LayerActivations, LayerMaps, MapConfig, SlotWeights, layer_maps
from imap.methods.motion_heads import SCORES
from imap.saliency import Maps
from imap.tracing.collect import HeadChoices, collect
from imap.tracing.compatibility import check_traceable
from imap.tracing.prompt_cache import PromptCache, token_ids_into
from imap.tracing.steps import Steps
from imap.tracing.text_slots import TextSlots

_traced: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()  # transformers with an open trace


class Trace:
    """Reads one call of a pipeline while the `with` block is open; `maps()` gives what was read.

    The pipeline runs untouched: torch hooks look at tensors that its attention makes anyway, the concept tokens run
    beside it, and everything is gone when the block ends, also after an exception. Results stay on the device until
    `maps()`.

    observe: called as observe(layer, step, LayerActivations, SlotWeights, LayerMaps) for each layer that is read. The
    tensors belong to the model: do not change them. prompt_cache: shared by the traces of one pipeline, so that each
    text is encoded once.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        text_slots: TextSlots,
        observe: Callable[[int, int, LayerActivations, SlotWeights, LayerMaps], None] | None = None,
        prompt_cache: PromptCache | None = None,
    ) -> None:
        self.backbone, self.method, self.text_slots, self.observe = backbone, method, text_slots, observe
        self.prompt_cache = PromptCache(backbone) if prompt_cache is None else prompt_cache
        if self.prompt_cache.backbone.pipe is not backbone.pipe:
            other = type(self.prompt_cache.backbone.pipe).__name__
            raise ImapError(
                f"prompt_cache= expected the cache of the traced {type(backbone.pipe).__name__}, got the cache of "
                f"another pipeline, a {other}; leave prompt_cache= out, or make one for each "
                "pipeline: imap.tracing.prompt_cache.PromptCache(imap.backbones.backbone_of(pipe))"
            )
        score = SCORES[method.imap_sep_score]
        scale = backbone.cross_attention_scale
        consensus = method.surrogate == "consensus"
        self.rule = MapConfig(score, method.imap_sep_topk, text_slots.standardize, method.softmax, consensus, scale)
        self.running = RunningMaps(range(*method.maps_layers), method.imap_layer, method.softmax, len(text_slots.texts))
        self.steps = Steps(backbone, method.maps_timesteps)
        self.choices = HeadChoices(score)
        self.grid: Grid | None = None
        self._row: int | None = None  # the conditional row while a call is read, else None
        self._own_call = False
        self._embeddings: Tensor | None = None
        self._tokens: Tensor | None = None
        self._call: Mapping[str, Any] = {}
        self._encoded: list[list[int]] = []  # token ids of every text that the pipeline has encoded
        self._texts: SlotWeights | None = None
        self._prompt_slots = 0  # how many slots, coming first, are the prompt's
        self._handles: list[Any] = []

    def __enter__(self) -> "Trace":
        transformer = self.backbone.transformer
        if transformer in _traced:
            raise ImapError("this pipeline is being traced already; leave the first `with imap.trace(...)` block")
        check_traceable(self.backbone)
        if self.text_slots.reads_concepts:
            embeddings = self.prompt_cache.concepts(self.text_slots.texts, self.method.concept_token)
            self._embeddings = torch.cat([embeddings, torch.zeros_like(embeddings[:1])])  # zero: the padded slots
            self.backbone.pipe.maybe_free_model_hooks()  # under model offload, the text encoder need not stay
        _traced.add(transformer)
        try:
            self._install()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _install(self) -> None:
        backbone, transformer = self.backbone, self.backbone.transformer
        keep = self._handles.append
        keep(transformer.register_forward_pre_hook(self._call_begins, with_kwargs=True))
        keep(transformer.register_forward_hook(self._call_ends))
        if self.text_slots.reads_prompt:
            keep(backbone.pipe.text_encoder.register_forward_pre_hook(token_ids_into(self._encoded), with_kwargs=True))
        for layer in self._hooked_layers():
            block, seen = backbone.blocks[layer], BlockActivations()
            begins = self._guarded(partial(self._block_begins, seen))
            keep(block.register_forward_pre_hook(begins, with_kwargs=True))
            for name, module in backbone.hooked_modules(block).items():
                keep(module.register_forward_hook(self._guarded(partial(self._tapped, seen, name))))
            attended = self._guarded(partial(self._attended, layer, block, seen))
            keep(backbone.attention(block).to_out[0].register_forward_pre_hook(attended))

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._row, self._tokens, self._call = None, None, {}
        self.steps.forget()
        _traced.discard(self.backbone.transformer)

    def _hooked_layers(self) -> Sequence[int]:
        """Layers that are read; where concept tokens live in the blocks, all up to the last of them."""
        wanted = self.method.layers
        return range(max(wanted) + 1) if self.text_slots.reads_concepts and self.backbone.joint_attention else wanted

    def _guarded(self, hook: Callable[..., None]) -> Callable[..., None]:
        """The hook, silent while no conditional call is read and while the concept tokens use the same modules."""

        def guarded(*args: Any) -> None:
            if self._row is not None and not self._own_call:
                self._own_call = True
                try:
                    with torch.no_grad():
                        hook(*args)
                finally:
                    self._own_call = False

        return guarded

    def _call_begins(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        call = call_arguments(module, args, kwargs)
        latents = call["hidden_states"]
        self._row = None
        row = self.steps.conditional_row(len(latents))
        if row is None:
            return
        self.grid = self.backbone.grid(latents)
        self.running.drop_step()
        self.choices.drop_step()
        if self.grid.frames < 2:
            raise ImapError(
                "one latent frame has no motion, and heads are scored by their frames; set num_frames=5 or more"
            )
        if self._texts is None:
            self._lay_out(call, latents.device)
        self._call, self._tokens, self._row = call, None, row

    def encode_prompt(self, prompt: str, negative_prompt: str | None) -> dict[str, Tensor]:
        """Text arguments of the pipeline call, as `Backbone.encode_prompt` gives them, encoded once in a run."""
        found = self.prompt_cache.prompt(prompt, negative_prompt)
        self._encoded += found.ids  # one that was encoded before has not passed the hook of this trace
        return found.tensors

    def _check_prompt(self) -> None:
        """Rows are read by the place of words in the trace's prompt, so the pipeline must have encoded the same."""
        own = list(self.text_slots.tokenized.ids)
        places = ((row, start) for row in self._encoded for start in range(len(row) - len(own) + 1))
        if self._encoded and not any(row[start : start + len(own)] == own for row, start in places):
            raise ImapError(
                "the pipeline was called with another prompt than the trace was given; "
                "give both the same, or set imap_qk_matching_target=concepts"
            )

    def _lay_out(self, call: Mapping[str, Any], device: torch.device) -> None:
        prompt = (0, 1)
        if self.text_slots.reads_prompt:
            self._check_prompt()
            prompt = self.backbone.prompt_slots(call, len(self.text_slots.tokenized.pieces))
        self._prompt_slots = prompt[0]
        self._texts = self.text_slots.layout(*prompt).to(device)

    def _call_ends(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._row is None:
            return
        self._row, self._tokens, self._call = None, None, {}
        step = self.steps.index
        missed = [layer for layer in self.method.layers if layer not in self.choices]
        if missed:
            raise ImapError(
                f"layers {missed} were not seen at step {step}: a cache or compiled code passes their modules by; "
                "switch it off while maps are taken"
            )
        self.running.end_step()
        self.choices.end_step(step)
        self.steps.read.append(step)

    def _block_begins(self, seen: BlockActivations, block: nn.Module, args: tuple, kwargs: dict) -> None:
        seen.arguments = call_arguments(block, args, kwargs)
        if self.text_slots.reads_concepts and self._tokens is None:
            # not before: offloaded weights come with the transformer's own forward
            embeddings = self._embeddings.to(self._call["encoder_hidden_states"].device)
            self._tokens = self.backbone.start_concepts(embeddings, self._call, self._row)

    def _tapped(self, seen: BlockActivations, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        seen.outputs[name] = output

    def _attended(self, layer: int, block: nn.Module, seen: BlockActivations, module: nn.Module, args: tuple) -> None:
        """The attention of a block is done: take the concept tokens through the block, and read its maps."""
        seen.head_outputs = args[0]
        texts, is_read = self._texts.to(args[0].device), layer in self.method.layers
        features = self.backbone.features(block, seen, self._row, self._prompt_slots, is_read)
        keys, concepts = [features.prompt_keys] if self._prompt_slots else [], None
        if self.text_slots.reads_concepts:
            weights = texts.baseline_weights if self.backbone.joint_attention else texts.weights
            weights = weights[self._prompt_slots :]
            tokens = self._tokens.to(args[0].device)
            step = self.backbone.concept_step(block, seen, self._row, tokens, weights, features)
            self._tokens, concepts = step.tokens, step.head_outputs
            keys.append(step.keys)
        if is_read:
            q, o = (x.unflatten(1, (self.grid.frames, self.grid.patches)) for x in (features.q, features.o))
            with torch.autocast(o.device.type, enabled=False):  # statistics are float32, whatever the model runs in
                attention = LayerActivations(q, o, torch.cat(keys, dim=1), concepts)
                read = layer_maps(attention, texts, self.rule)
                if self.observe is not None:
                    self.observe(layer, self.steps.index, attention, texts, read)
            self.running.add(layer, read.maps)
            self.choices.add(layer, read)
        seen.clear()

    def maps(self) -> Maps:
        """The maps of every step that was read, moved to the host once. Raises ImapError when there is none."""
        if not self.steps.read:
            called = f"maps_timesteps={self.method.maps_timesteps}" if self.steps.index >= 0 else "it was not called"
            raise ImapError(f"no step was read ({called}); call the pipeline inside the `with imap.trace(...)` block")
        read = {"family": self.backbone.family, "grid": asdict(self.grid), "steps": sorted(self.steps.read)}
        return collect(self.running.means(), self.choices, self.grid, self.method, self.text_slots, read)
