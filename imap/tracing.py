"""Hooks on, running means, hooks off: joins one backbone to the mathematics while a stock pipeline runs."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone, Grid, Seen, call_arguments
from imap.backbones.probe import refuse_untraceable
from imap.encodings import Encodings, token_ids_into
from imap.errors import ImapError
from imap.gather import HeadChoices, gather
from imap.maps.layer import Layer, LayerMaps, Rule, Texts, layer_maps
from imap.maps.running import RunningMaps
from imap.maps.separability import SCORES
from imap.results import Maps
from imap.settings.method import Method
from imap.steps import Steps
from imap.wording import Wording

_traced: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()  # transformers with an open trace


class Trace:
    """Reads one call of a pipeline while the `with` block is open; `maps()` gives what was read.

    The pipeline runs untouched: torch hooks look at tensors that its attention makes anyway, the concept tokens run
    beside it, and everything is gone when the block ends, also after an exception. Results stay on the device until
    `maps()`.

    observe: called with each layer that is read, as observe(layer number, step, Layer, Texts, LayerMaps), for measures
    of one's own; the tensors are the model's, to look at and not to change. encodings: of the run that this trace is a
    part of and of its pipeline, so that words which come again are not encoded again.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        wording: Wording,
        observe: Callable[[int, int, Layer, Texts, LayerMaps], None] | None = None,
        encodings: Encodings | None = None,
    ) -> None:
        self.backbone, self.method, self.wording, self.observe = backbone, method, wording, observe
        self.encodings = Encodings(backbone) if encodings is None else encodings
        if self.encodings.backbone.pipe is not backbone.pipe:
            raise ImapError(
                f"encodings= expected those of the {type(backbone.pipe).__name__} that is traced, and got those of "
                f"another pipeline, a {type(self.encodings.backbone.pipe).__name__}; leave encodings= out, or make "
                "one for each pipeline: imap.encodings.Encodings(imap.backbones.backbone_of(pipe))"
            )
        score = SCORES[method.imap_sep_score]
        scale = backbone.cross_attention_scale
        consensus = method.surrogate == "consensus"
        self.rule = Rule(score, method.imap_sep_topk, wording.standardize, method.softmax, consensus, scale)
        self.running = RunningMaps(range(*method.maps_layers), method.imap_layer, method.softmax, len(wording.texts))
        self.steps = Steps(backbone, method.maps_timesteps)
        self.choices = HeadChoices(score)
        self.grid: Grid | None = None
        self._row: int | None = None  # the conditional row while a call is read, else None
        self._own_call = False
        self._embeddings: Tensor | None = None
        self._tokens: Tensor | None = None
        self._call: Mapping[str, Any] = {}
        self._encoded: list[list[int]] = []  # token ids of every text that the pipeline has encoded
        self._texts: Texts | None = None
        self._prompt_slots = 0  # how many slots, coming first, are the prompt's
        self._handles: list[Any] = []

    def __enter__(self) -> "Trace":
        transformer = self.backbone.transformer
        if transformer in _traced:
            raise ImapError("this pipeline is being traced already; leave the first `with imap.trace(...)` block")
        refuse_untraceable(self.backbone)
        if self.wording.reads_concepts:
            embeddings = self.encodings.concepts(self.wording.texts, self.method.concept_token)
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
        if self.wording.reads_prompt:
            keep(backbone.pipe.text_encoder.register_forward_pre_hook(token_ids_into(self._encoded), with_kwargs=True))
        for layer in self._hooked_layers():
            block, seen = backbone.blocks[layer], Seen()
            begins = self._guarded(partial(self._block_begins, seen))
            keep(block.register_forward_pre_hook(begins, with_kwargs=True))
            for name, module in backbone.taps(block).items():
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
        return range(max(wanted) + 1) if self.wording.reads_concepts and self.backbone.joint_attention else wanted

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
        found = self.encodings.prompt(prompt, negative_prompt)
        self._encoded += found.ids  # one that was encoded before has not passed the hook of this trace
        return found.tensors

    def _check_prompt(self) -> None:
        """Rows are read by the place of words in the trace's prompt, so the pipeline must have encoded the same."""
        own = list(self.wording.tokenized.ids)
        places = ((row, start) for row in self._encoded for start in range(len(row) - len(own) + 1))
        if self._encoded and not any(row[start : start + len(own)] == own for row, start in places):
            raise ImapError(
                "the pipeline was called with another prompt than the trace was given; "
                "give both the same, or set imap_qk_matching_target=concepts"
            )

    def _lay_out(self, call: Mapping[str, Any], device: torch.device) -> None:
        prompt = (0, 1)
        if self.wording.reads_prompt:
            self._check_prompt()
            prompt = self.backbone.prompt_slots(call, len(self.wording.tokenized.pieces))
        self._prompt_slots = prompt[0]
        self._texts = self.wording.layout(*prompt).to(device)

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

    def _block_begins(self, seen: Seen, block: nn.Module, args: tuple, kwargs: dict) -> None:
        seen.arguments = call_arguments(block, args, kwargs)
        if self.wording.reads_concepts and self._tokens is None:
            # not before: offloaded weights come with the transformer's own forward
            embeddings = self._embeddings.to(self._call["encoder_hidden_states"].device)
            self._tokens = self.backbone.start_concepts(embeddings, self._call, self._row)

    def _tapped(self, seen: Seen, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        seen.outputs[name] = output

    def _attended(self, layer: int, block: nn.Module, seen: Seen, module: nn.Module, args: tuple) -> None:
        """The attention of a block is done: take the concept tokens through the block, and read its maps."""
        seen.head_outputs = args[0]
        texts, is_read = self._texts.to(args[0].device), layer in self.method.layers
        features = self.backbone.features(block, seen, self._row, self._prompt_slots, is_read)
        keys, concepts = [features.prompt_keys] if self._prompt_slots else [], None
        if self.wording.reads_concepts:
            weights = texts.baseline_weights if self.backbone.joint_attention else texts.weights
            weights = weights[self._prompt_slots :]
            tokens = self._tokens.to(args[0].device)
            step = self.backbone.concept_step(block, seen, self._row, tokens, weights, features)
            self._tokens, concepts = step.tokens, step.head_outputs
            keys.append(step.keys)
        if is_read:
            q, o = (x.unflatten(1, (self.grid.frames, self.grid.patches)) for x in (features.q, features.o))
            with torch.autocast(o.device.type, enabled=False):  # statistics are float32, whatever the model runs in
                attention = Layer(q, o, torch.cat(keys, dim=1), concepts)
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
        return gather(self.running.means(), self.choices, self.grid, self.method, self.wording, read)
