"""Hooks on, running means, hooks off: joins one backbone to the mathematics while a stock pipeline runs."""

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone
from imap.backbones.features import call_arguments, text_of
from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.registry import SaliencyMap
from imap.saliency import Maps
from imap.tracing.blocks import BlockReader, Observer
from imap.tracing.collect import collect, map_config
from imap.tracing.compatibility import check_traceable, size_notes
from imap.tracing.effect import Effect
from imap.tracing.encodings import Encoding, connected_into, encodings_into, ids_of
from imap.tracing.keep_memory import check_memory
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.section import Section, first_facts, placed, read_section
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
        observe: Observer | None = None,
        prompt_cache: PromptCache | None = None,
        maps: Sequence[SaliencyMap] = (),
        only_size: tuple[int, int, int] | None = None,
        attention: bool = True,
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
            attention: read attention. Without it only the effect is read, and any attention code may run.
        """
        self.backbone, self.method, self.text_slots, self.observe = backbone, method, text_slots, observe
        self.prompt_cache = PromptCache(backbone) if prompt_cache is None else prompt_cache
        self.prompt_cache.check_pipeline(backbone)
        self.own_maps, self.only_size, self.attention = maps, only_size, attention
        self.config = map_config(backbone, method, text_slots, maps)
        self.steps = Steps(backbone, method.maps_timesteps)
        self.blocks = BlockReader(backbone, method, text_slots, self.config, observe)
        self.effect = Effect(backbone, text_slots, method, self.prompt_cache) if method.effect else None
        self.grid: Any = None  # Grid, from the first call on
        self._finished: list[Section] = []  # earlier sections of the video
        self._section_facts: Mapping[str, Any] = {}
        self._made_once: Any = None  # as of `Backbone.made_once`, of the first call
        self._row: Any = None  # int, the conditional row while a call is read, else None
        self._call: Mapping[str, Any] = {}
        self._reads_effect = False
        self._read_by: dict[str, list[int]] = {}  # steps, by the name of the transformer
        self.reads: int | None = None  # steps that will be read, if the caller knows it better than the schedule
        self._encoded: list[Encoding] = []  # until the first call
        self._handles: list[Any] = []

    def __enter__(self) -> "Trace":
        transformers = [part.transformer for part in self.backbone.parts]
        if not _traced.isdisjoint(transformers):
            raise ImapError("this pipeline is being traced already; leave the first `with imap.trace(...)` block")
        if self.steps.read or self._finished:
            raise ImapError("this trace has read a pipeline call already; open a new one with imap.trace(...)")
        check_traceable(self.backbone, self.attention)
        if self.effect is not None:
            self.effect.encode()
        if self.attention:
            self.blocks.encode_concepts(self.prompt_cache)
        _traced.update(transformers)
        try:
            self._install()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._remove()

    def _install(self) -> None:
        self.steps.open()
        backbone, keep = self.backbone, self._handles.append
        for part in backbone.parts:
            keep(part.transformer.register_forward_pre_hook(partial(self._call_begins, part), with_kwargs=True))
            keep(part.transformer.register_forward_hook(partial(self._call_ends, part)))
        if self.text_slots.needs_prompt:
            hook = encodings_into(self._encoded, backbone)
            keep(backbone.pipe.text_encoder.register_forward_hook(hook, with_kwargs=True))
            if backbone.connector is not None:
                keep(backbone.connector.register_forward_hook(connected_into(self._encoded, backbone)))
        if self.attention:
            self.blocks.install(keep)

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._row, self._call, self._made_once = None, {}, None
        self._encoded.clear()
        self.blocks.forget()
        self.steps.forget()
        _traced.difference_update(part.transformer for part in self.backbone.parts)

    def _call_begins(self, part: Backbone, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self._reads_effect:  # the call is imap's own
            return
        call = call_arguments(module, args, kwargs)
        self._row = None
        self.blocks.forget()
        row = self.steps.conditional_row(len(call["hidden_states"]), call["timestep"], part.guidance_branch(call))
        if self.effect is not None and not self.effect.every_step:
            self.method.check_steps(self.steps.count)
        if self.steps.section > len(self._finished):
            self._next_section(part.made_once(call))
        if row is None:
            return
        if self.grid is None:
            self.grid = part.grid(call)
            self._begin_section(part, call, row)
        if self.attention:
            self.blocks.begin_call(call, row, self.grid, self.steps.index)
        self._call, self._row = call, row

    def _begin_section(self, part: Backbone, call: Mapping[str, Any], row: int) -> None:
        """Take the facts of a section, and the notes on its frames, from its first call that is read."""
        self._section_facts = first_facts(part, call, row, self.grid)
        if self._made_once is None:
            self._made_once = part.made_once(call)
            self._check_first_call(call, row)
        for note in self._section_facts["notes"]:
            self.text_slots.log(note)

    def _next_section(self, made_once: Any) -> None:
        """Put away what was read of the latest section. Raises ImapError for a new pipeline call."""
        if self._made_once is not None and made_once is not self._made_once:
            raise ImapError(
                "this trace has read a pipeline call and meets another one; "
                "open a new `with imap.trace(...)` block for every call"
            )
        self._finished += [self._section()] if self.steps.read else []
        self.steps.section = len(self._finished)  # one without a step that is read has no maps
        self.steps.read, self._read_by, self.grid = [], {}, None
        self.blocks.restart()
        if self.effect is not None:
            self.effect.restart()

    def _check_first_call(self, call: Mapping[str, Any], row: int) -> None:
        """Note what readers of the maps must know, and refuse a text or a transformer that is not the trace's."""
        check_traceable(self.backbone, self.attention)
        self.backbone.check_call(call)
        if self.attention:
            self.blocks.check_hooked()
        if self.method.keep:
            self._check_memory()
        for note in size_notes(self.backbone, self.grid, call, self.only_size):
            self.text_slots.note(note)
        text = text_of(call, row)[self.backbone.offset(call, row, len(self.text_slots.prompt_text.pieces)) :]
        ids = None
        if self.text_slots.needs_prompt:
            ids = ids_of(text, self._encoded, self.backbone.tokenizer.pad_token_id)
            self._encoded.clear()
        self.text_slots.check_call(len(text), ids)

    def _check_memory(self) -> None:
        """Log how much memory the maps of single layers and steps take, and refuse more than there is."""
        wanted = self.method.maps_timesteps or (0, self.steps.count)
        steps = len(range(max(self.steps.index, wanted[0]), min(self.steps.count, wanted[1])))
        keys, cells = self.backbone.maps_of_layer(self.config.maps), self.grid.frames * self.grid.patches
        device = self.backbone.pipe._execution_device
        check_memory(self.method, self.reads or steps, len(self.text_slots.texts), keys, cells, device)

    def encode_prompt(self, prompt: str, negative_prompt: str | None) -> dict[str, Tensor]:
        """Text arguments of the pipeline call, as `Backbone.encode_prompt` returns them, encoded once per cache."""
        encoded = self.prompt_cache.prompt(prompt, negative_prompt)
        self._encoded += encoded.texts  # a cached encoding has not passed this trace's hook
        return encoded.tensors

    def _call_ends(self, part: Backbone, module: nn.Module, args: tuple, output: Any) -> None:
        if self._row is None or self._reads_effect:
            return
        row, call, step = self._row, self._call, self.steps.index
        self._row, self._call = None, {}
        if self.attention:
            self.blocks.end_call()
        self.steps.read.append(step)
        self._read_by.setdefault(part.component, []).append(step)
        if self.effect is not None and self.effect.wants(step, self.steps.count):
            self._reads_effect = True
            try:
                with torch.no_grad():
                    self.effect.add(module, call, row, output, self.grid, step)
            finally:
                self._reads_effect = False

    def maps(self) -> Maps:
        """The maps of all steps that were read, moved to the host once.

        Raises ImapError when no step was read, and for a video of several sections.
        """
        if self._finished:
            raise ImapError(
                f"this video was made in {len(self._finished) + bool(self.steps.read)} sections, with a schedule each; "
                "trace.sections() has the maps of each"
            )
        return self._collect(self._section())

    def sections(self) -> list[Maps]:
        """The maps of each section of the video, in the order in which they were made; `facts` has their numbers.

        Most pipelines make one. Raises ImapError when no step was read.
        """
        latest = [self._section()] if self.steps.read or not self._finished else []
        return [self._collect(section) for section in placed(self.backbone, [*self._finished, *latest])]

    def _section(self) -> Section:
        """What was read since the latest section began."""
        if not self.steps.read:
            called = f"maps_timesteps={self.method.maps_timesteps}" if self.steps.index >= 0 else "it was not called"
            raise ImapError(f"no step was read ({called}); call the pipeline inside the `with imap.trace(...)` block")
        return read_section(self.backbone, self.blocks, self.effect, self.grid, self._read_by, self._section_facts)

    def _collect(self, section: Section) -> Maps:
        own = (section.means, section.choices, section.grid)
        return collect(*own, self.config, self.method, self.text_slots, section.facts, section.kept)
