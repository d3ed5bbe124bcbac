"""The attention of one pipeline, block by block: hooks that read it, and the concept tokens beside it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from imap.backbones.base import Backbone
from imap.backbones.features import BlockActivations, Features, Grid, Slots, call_arguments
from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.accumulate import RunningMaps
from imap.methods.keep import Keeper
from imap.methods.layer_maps import LayerActivations, LayerMaps, MapConfig, SlotWeights, layer_maps
from imap.tracing.collect import HeadChoices
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.text_slots import TextSlots

Observer = Callable[[int, int, LayerActivations, SlotWeights, LayerMaps], None]


class BlockReader:
    """Reads the blocks of conditional transformer calls, and accumulates their maps on the device."""

    def __init__(
        self, backbone: Backbone, method: Method, text_slots: TextSlots, config: MapConfig, observe: Observer | None
    ) -> None:
        self.backbone, self.method, self.text_slots = backbone, method, text_slots
        self.config, self.observe = config, observe
        self.restart()
        self._hooked: list[nn.Module] = []
        self._in_hook = False
        self._embeddings: Any = None  # Tensor of the concepts, the zero padding last
        self._tokens: Any = None  # Tensor of the concepts, on their way through the blocks
        self._slots: Any = None  # SlotWeights, from the first call on
        self._prompt = Slots()  # slots of the prompt in the call's text
        self._step = -1
        self._grid: Any = None
        self._row: Any = None  # int, the conditional row while a call is read, else None
        self._call: Mapping[str, Any] = {}

    def restart(self) -> None:
        """Begin anew with empty means, for the first or the next section of a video."""
        self.running = RunningMaps(
            range(*self.method.maps_layers),
            self.method.imap_layer,
            self.method.softmax,
            len(self.text_slots.texts),
            plain=[x.key for x in self.config.maps if x.slots == "words"],
        )
        self.keeper = Keeper(self.method.keep, len(self.text_slots.texts))
        self._size: Any = None  # torch.Size of the latents of one row
        self.choices = HeadChoices(self.config.score)

    def encode_concepts(self, cache: PromptCache) -> None:
        """Encode the concepts if maps or baselines read them."""
        if self.text_slots.reads_concepts:
            embeddings = cache.concepts(self.text_slots.texts, self.method.concept_token)
            self._embeddings = torch.cat([embeddings, torch.zeros_like(embeddings[:1])])  # zero: the padded slots
            self.backbone.pipe.maybe_free_model_hooks()  # under model offload, the text encoder need not stay

    def install(self, keep: Callable[[Any], None]) -> None:
        """Hook the blocks of every transformer; `keep` gets the handles."""
        self._hooked = self._modules()
        for part in self.backbone.parts:
            for layer in self._hooked_layers():
                block, activations = part.blocks[layer], BlockActivations()
                begins = self._guarded(partial(self._block_begins, part, activations))
                keep(block.register_forward_pre_hook(begins, with_kwargs=True))
                for name, module in part.hooked_modules(block).items():
                    keep(module.register_forward_hook(self._guarded(partial(self._module_ends, activations, name))))
                attended = self._guarded(partial(self._attended, part, layer, block, activations))
                keep(part.output(block).register_forward_pre_hook(attended))

    def _modules(self) -> list[nn.Module]:
        """What is hooked inside the blocks."""
        blocks = [(part, part.blocks[layer]) for part in self.backbone.parts for layer in self._hooked_layers()]
        return [x for part, block in blocks for x in (*part.hooked_modules(block).values(), part.output(block))]

    def check_hooked(self) -> None:
        """Raise ImapError if a hooked module is no longer part of its transformer."""
        if any(one is not other for one, other in zip(self._hooked, self._modules(), strict=True)):
            raise ImapError(
                "layers of the transformer were replaced inside the `with imap.trace(...)` block, as an adapter does; "
                "load, fuse or unload adapters before the block"
            )

    def begin_call(self, call: Mapping[str, Any], row: int, grid: Grid, step: int) -> None:
        """A conditional call begins. What an interrupted step has added is discarded.

        Raises ImapError for a call on another number of tokens than the earlier ones, `grid`.
        """
        size = call["hidden_states"].shape[1:]
        if self._size not in (None, size):
            now = self.backbone.grid(call)
            raise ImapError(
                f"the video has {now.frames}x{now.height}x{now.width} tokens at step {step}, and had "
                f"{grid.frames}x{grid.height}x{grid.width} before; a map is of one size, so sample with a call that "
                "keeps its size at all steps, or read some of them with maps_timesteps"
            )
        self._size = size
        self.running.drop_step()
        self.keeper.drop_step()
        self.choices.drop_step()
        if self._slots is None:
            if self.text_slots.reads_prompt:
                self._prompt = self.backbone.prompt_slots(call, row, len(self.text_slots.tokenized.pieces))
            slots = self.text_slots.layout(self._prompt.count, self._prompt.last_stands_for)
            self._slots = slots.to(call["hidden_states"].device)
        self._call, self._tokens, self._row, self._grid, self._step = call, None, row, grid, step

    def end_call(self) -> None:
        """The call ends: its maps join the running means. Raises ImapError for layers that were not seen."""
        self.forget()
        missed = [layer for layer in self.method.layers if layer not in self.choices]
        if missed:
            raise ImapError(
                f"layers {missed} were not seen at step {self._step}: a cache or compiled code passes their modules "
                "by; switch it off while maps are taken"
            )
        self.keeper.end_step(self._step, self.running.end_step())
        self.choices.end_step(self._step)

    def forget(self) -> None:
        """Release the call's tensors, and read no further."""
        self._row, self._tokens, self._call = None, None, {}

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

    def _block_begins(
        self, part: Backbone, activations: BlockActivations, block: nn.Module, args: tuple, kwargs: dict
    ) -> None:
        activations.arguments = call_arguments(block, args, kwargs)
        if self.text_slots.reads_concepts and self._tokens is None:
            # not earlier: offloaded weights arrive with the transformer's forward
            embeddings = self._embeddings.to(self._call["encoder_hidden_states"].device)
            self._tokens = part.start_concepts(embeddings, self._call, self._row)

    def _module_ends(self, block: BlockActivations, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        block.outputs[name] = output

    def _attended(
        self,
        part: Backbone,
        layer: int,
        block: nn.Module,
        activations: BlockActivations,
        module: nn.Module,
        args: tuple,
    ) -> None:
        """After a block's attention: take the concept tokens through the block, and read its maps."""
        activations.head_outputs = args[0]
        # a block may be on another device than its caller: its own hook moves arguments after ours has seen them
        activations.arguments = send_to_device(activations.arguments, args[0].device)
        slots, is_read = self._slots.to(args[0].device), layer in self.method.layers
        features = part.features(block, activations, self._row, self._prompt.own, is_read)
        keys, concepts = [features.prompt_keys] if self._prompt.count else [], None
        if self.text_slots.reads_concepts:
            weights = slots.baseline_weights if part.joint_attention else slots.weights
            weights, tokens = weights[self._prompt.count :], self._tokens.to(args[0].device)
            step = part.concept_step(block, activations, self._row, tokens, weights, features)
            self._tokens, concepts = step.tokens, step.head_outputs
            keys.append(step.keys)
        if is_read:
            self._read(layer, features, torch.cat(keys, dim=1), concepts, slots)
        activations.clear()

    def _read(self, layer: int, features: Features, keys: Tensor, concepts: Tensor | None, slots: SlotWeights) -> None:
        """Add the maps of one layer to the running means."""
        frames, patches = self._grid.frames, self._grid.patches
        # conditions come before the video's tokens
        video = (x[:, -frames * patches :] for x in (features.q, features.o) if x is not None)
        q, o = (x.unflatten(1, (frames, patches)) for x in video)
        with torch.autocast(o.device.type, enabled=False):  # statistics are float32, whatever the model runs in
            activations = LayerActivations(q, o, keys, concepts)
            maps = layer_maps(activations, slots, self.config)
            if self.observe is not None:
                self.observe(layer, self._step, activations, slots, maps)
        self.running.add(layer, maps.maps)
        self.keeper.add(layer, maps.maps)
        self.choices.add(layer, maps)
