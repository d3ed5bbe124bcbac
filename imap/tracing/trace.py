"""Hooks on, running means, hooks off: joins one backbone to the mathematics while a stock pipeline runs."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone
from imap.backbones.features import BlockActivations, Features, call_arguments
from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.accumulate import RunningMaps
from imap.methods.layer_maps import LayerActivations, LayerMaps, MapConfig, SlotWeights, layer_maps
from imap.methods.motion_heads import SCORES
from imap.methods.registry import SaliencyMap, check_maps
from imap.saliency import Maps
from imap.tracing.collect import HeadChoices, collect
from imap.tracing.compatibility import check_traceable, size_notes
from imap.tracing.prompt_cache import PromptCache, token_ids_into
from imap.tracing.steps import Steps
from imap.tracing.text_slots import TextSlots

_traced: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()  # transformers with an open trace


class Trace:
    """Reads one pipeline call inside its `with` block. `maps()` returns the result.

    The pipeline is not changed. Torch hooks read tensors that its attention computes anyway, and the concept tokens run
    beside it. All hooks are removed when the block ends, also after an exception. Results stay on the device until
    `maps()`.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        text_slots: TextSlots,
        observe: Callable[[int, int, LayerActivations, SlotWeights, LayerMaps], None] | None = None,
        prompt_cache: PromptCache | None = None,
        maps: Sequence[SaliencyMap] = (),
        only_size: tuple[int, int, int] | None = None,
    ) -> None:
        """Prepare a trace; `imap.trace` is the public way.

        Args:
            backbone: the pipeline's adapter.
            method: the settings.
            text_slots: the words.
            observe: called as observe(layer, step, LayerActivations, SlotWeights, LayerMaps) for each layer that is
                read. The tensors belong to the model: do not change them.
            prompt_cache: shared by the traces of one pipeline, so that each text is encoded once.
            maps: the user's maps, beside the registered ones.
            only_size: frames, height and width of a model that was trained on no other size.
        """
        self.backbone, self.method, self.text_slots, self.observe = backbone, method, text_slots, observe
        self.prompt_cache = PromptCache(backbone) if prompt_cache is None else prompt_cache
        self.prompt_cache.check_pipeline(backbone)
        self.config = MapConfig(
            score=SCORES[method.imap_sep_score],
            topk=method.imap_sep_topk,
            standardize=text_slots.standardize,
            softmax=method.softmax,
            consensus=method.surrogate == "consensus",
            cross_attention_scale=backbone.cross_attention_scale,
            rivals_are_words=backbone.rivals_are_words,
            maps=check_maps(maps),
        )
        self.running = RunningMaps(
            range(*method.maps_layers),
            method.imap_layer,
            method.softmax,
            len(text_slots.texts),
            plain=[x.key for x in self.config.maps if x.slots == "words"],
        )
        self.steps = Steps(backbone, method.maps_timesteps)
        self.choices = HeadChoices(self.config.score)
        self.grid: Any = None  # Grid, from the first call on
        self._only_size = only_size
        self._row: Any = None  # int, the conditional row while a call is read, else None
        self._in_hook = False
        self._embeddings: Any = None  # Tensor of the concepts, the zero padding last
        self._tokens: Any = None  # Tensor of the concepts, on their way through the blocks
        self._call: Mapping[str, Any] = {}
        self._encoded: list[list[int]] = []  # token ids of every text that the pipeline has encoded
        self._slots: Any = None  # SlotWeights, from the first call on
        self._prompt_slots = 0  # slots of the prompt, which come first
        self._handles: list[Any] = []

    def __enter__(self) -> "Trace":
        transformer = self.backbone.transformer
        if transformer in _traced:
            raise ImapError("this pipeline is being traced already; leave the first `with imap.trace(...)` block")
        if self.steps.read:
            raise ImapError("this trace has read a pipeline call already; open a new one with imap.trace(...)")
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
            block, activations = backbone.blocks[layer], BlockActivations()
            begins = self._guarded(partial(self._block_begins, activations))
            keep(block.register_forward_pre_hook(begins, with_kwargs=True))
            for name, module in backbone.hooked_modules(block).items():
                keep(module.register_forward_hook(self._guarded(partial(self._module_ends, activations, name))))
            attended = self._guarded(partial(self._attended, layer, block, activations))
            keep(backbone.attention(block).to_out[0].register_forward_pre_hook(attended))

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._row, self._tokens, self._call = None, None, {}
        self.steps.forget()
        _traced.discard(self.backbone.transformer)

    def _hooked_layers(self) -> Sequence[int]:
        """Layers that are read. Concept tokens need all blocks up to the last of these."""
        wanted = self.method.layers
        return range(max(wanted) + 1) if self.text_slots.reads_concepts and self.backbone.joint_attention else wanted

    def _guarded(self, hook: Callable[..., None]) -> Callable[..., None]:
        """The hook, inactive outside conditional calls and while concept tokens run through the same modules."""

        def guarded(*args: Any) -> None:
            if self._row is not None and not self._in_hook:
                self._in_hook = True
                try:
                    with torch.no_grad():
                        hook(*args)
                finally:
                    self._in_hook = False

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
        if self._slots is None:
            for note in size_notes(self.backbone, self.grid, call, self._only_size):
                self.text_slots.note(note)
            self._lay_out(call, latents.device)
        self._call, self._tokens, self._row = call, None, row

    def encode_prompt(self, prompt: str, negative_prompt: str | None) -> dict[str, Tensor]:
        """Text arguments of the pipeline call, as `Backbone.encode_prompt` returns them, encoded once per cache."""
        encoded = self.prompt_cache.prompt(prompt, negative_prompt)
        self._encoded += encoded.ids  # a cached encoding has not passed this trace's hook
        return encoded.tensors

    def _lay_out(self, call: Mapping[str, Any], device: torch.device) -> None:
        prompt = (0, 1)
        if self.text_slots.reads_prompt:
            self.text_slots.check_encoded(self._encoded)
            prompt = self.backbone.prompt_slots(call, len(self.text_slots.tokenized.pieces))
        self._prompt_slots = prompt[0]
        self._slots = self.text_slots.layout(*prompt).to(device)

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

    def _block_begins(self, activations: BlockActivations, block: nn.Module, args: tuple, kwargs: dict) -> None:
        activations.arguments = call_arguments(block, args, kwargs)
        if self.text_slots.reads_concepts and self._tokens is None:
            # not earlier: offloaded weights arrive with the transformer's forward
            embeddings = self._embeddings.to(self._call["encoder_hidden_states"].device)
            self._tokens = self.backbone.start_concepts(embeddings, self._call, self._row)

    def _module_ends(self, block: BlockActivations, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        block.outputs[name] = output

    def _attended(
        self, layer: int, block: nn.Module, activations: BlockActivations, module: nn.Module, args: tuple
    ) -> None:
        """After a block's attention: take the concept tokens through the block, and read its maps."""
        activations.head_outputs = args[0]
        slots, is_read = self._slots.to(args[0].device), layer in self.method.layers
        features = self.backbone.features(block, activations, self._row, self._prompt_slots, is_read)
        keys, concepts = [features.prompt_keys] if self._prompt_slots else [], None
        if self.text_slots.reads_concepts:
            weights = slots.baseline_weights if self.backbone.joint_attention else slots.weights
            tokens = self._tokens.to(args[0].device)
            step = self.backbone.concept_step(
                block, activations, self._row, tokens, weights[self._prompt_slots :], features
            )
            self._tokens, concepts = step.tokens, step.head_outputs
            keys.append(step.keys)
        if is_read:
            self._read(layer, features, torch.cat(keys, dim=1), concepts, slots)
        activations.clear()

    def _read(self, layer: int, features: Features, keys: Tensor, concepts: Tensor | None, slots: SlotWeights) -> None:
        """Add the maps of one layer to the running means."""
        frames, patches = self.grid.frames, self.grid.patches
        q, o = (x.unflatten(1, (frames, patches)) for x in (features.q, features.o) if x is not None)
        with torch.autocast(o.device.type, enabled=False):  # statistics are float32, whatever the model runs in
            activations = LayerActivations(q, o, keys, concepts)
            maps = layer_maps(activations, slots, self.config)
            if self.observe is not None:
                self.observe(layer, self.steps.index, activations, slots, maps)
        self.running.add(layer, maps.maps)
        self.choices.add(layer, maps)

    def maps(self) -> Maps:
        """The maps of all steps that were read, moved to the host once. Raises ImapError when no step was read."""
        if not self.steps.read:
            called = f"maps_timesteps={self.method.maps_timesteps}" if self.steps.index >= 0 else "it was not called"
            raise ImapError(f"no step was read ({called}); call the pipeline inside the `with imap.trace(...)` block")
        facts = {"family": self.backbone.family, "grid": asdict(self.grid), "steps": sorted(self.steps.read)}
        return collect(self.running.means(), self.choices, self.grid, self.config, self.method, self.text_slots, facts)
