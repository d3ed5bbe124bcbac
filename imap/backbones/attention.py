"""How text meets video in a block, once for each kind of attention. A family names its modules and its rotation."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from imap.backbones.features import BlockActivations, ConceptStep, Features, Grid, split_heads
from imap.backbones.part import Part
from imap.errors import ImapError
from imap.methods.concept_stream import concept_head_outputs
from imap.methods.registry import SaliencyMap


class Attention(Part):
    """Where blocks and their attention are, and what is read of them."""

    processor_class: str
    processor_reads_fused_flag: ClassVar[bool] = False  # else fusing sets another processor
    takes_attention_backend: ClassVar[bool] = True  # its stock processor runs through diffusers' dispatcher
    joint_attention: ClassVar[bool] = False
    has_attention_matrix: ClassVar[bool] = True  # over the video, whose lambda_2 chooses layers; a linear one has none
    layer_threshold: ClassVar[float] = 0.7  # imap_layer=auto keeps layers of a higher lambda_2 (paper; ours for Wan)
    block_list: ClassVar[str] = "transformer_blocks"
    heads_before_tokens: ClassVar[bool] = False  # in the outputs of the norms of queries and keys
    attention_name: ClassVar[str]

    @property
    def num_layers(self) -> int:
        return len(self.blocks)

    @property
    def num_heads(self) -> int:
        return self.layers_and_heads(self.transformer.config)[1]

    @classmethod
    def layers_and_heads(cls, transformer: Mapping[str, Any]) -> tuple[int, int]:
        """Blocks of the video, and attention heads of each, by the transformer's configuration."""
        return transformer["num_layers"], transformer["num_attention_heads"]

    @property
    def blocks(self) -> Sequence[Any]:
        """Blocks with maps, in order; layer numbers count these."""
        return getattr(self.transformer, self.block_list)

    def attention(self, block: Any) -> Any:
        """The attention module whose head outputs are read."""
        return getattr(block, self.attention_name)

    def output(self, block: Any) -> nn.Module:
        """The projection of the visual head outputs, which gets heads side by side."""
        return self.attention(block).to_out[0]

    @property
    def cross_attention_scale(self) -> float | None:
        """Scale of logits before the cross-attention map's softmax over texts; None: plain logits (method.md 5)."""
        return None

    @classmethod
    def maps_of_layer(cls, maps: Sequence[SaliencyMap]) -> int:
        """How many of some maps a layer has: text has head outputs in joint attention only."""
        return sum(x.slots != "concepts" or cls.joint_attention for x in maps)

    def grid(self, call: Mapping[str, Any]) -> Grid:
        """Token grid of a transformer call."""
        config, sizes = self.transformer.config, call["hidden_states"].shape[2:]
        patch = config.patch_size
        patch = patch if isinstance(patch, Sequence) else (config.get("patch_size_t") or 1, patch, patch)
        return Grid(*(size // step for size, step in zip(sizes, patch, strict=True)))

    @abstractmethod
    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        """Modules inside the attention whose outputs `features` reads, by names of this part."""

    @abstractmethod
    def features(self, block: Any, activations: BlockActivations, row: int, slots: slice, is_read: bool) -> Features:
        """Attention of one block for one batch row, with the prompt's `slots`. Without `is_read`, q may be None."""

    @abstractmethod
    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        """Text embeddings (1, c, text width), zero padding last, as the first block gets text: (1, c, width)."""

    def start_concepts(self, embeddings: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        """Concept embeddings (c, text width), zero padding last, to tokens (1, c, width) for the first block."""
        return self.embed_text(embeddings.to(call["encoder_hidden_states"].dtype).unsqueeze(0), call, row)

    @abstractmethod
    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        """Take the concept tokens through one block. weights: (c,) multiplicity of each slot."""


class CrossAttention(Attention):
    """Self-attention over video, then cross-attention to text, from which maps come. It rotates no queries."""

    attention_name = "attn2"
    queries: str = "norm_q"  # the last module of the attention that changes queries
    keys: str = "norm_k"

    @property
    def cross_attention_scale(self) -> float | None:
        return self.transformer.config.attention_head_dim**-0.5

    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        attn = self.attention(block)
        return {"q": getattr(attn, self.queries), "k": getattr(attn, self.keys)}

    def features(self, block: Any, activations: BlockActivations, row: int, slots: slice, is_read: bool) -> Features:
        q, k = (self._heads(activations.outputs[name][row]) for name in ("q", "k"))
        return Features(q, split_heads(activations.head_outputs[row], self.num_heads), k[:, slots])

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        # text is the same in every block here: only its keys are the block's own
        attn = self.attention(block)
        keys = attn.to_k(tokens)
        keys = split_heads(keys[0], self.num_heads).unsqueeze(0) if self.heads_before_tokens else keys
        keys = keys if self.keys == "to_k" else getattr(attn, self.keys)(keys)
        return ConceptStep(self._heads(keys[0]), None, tokens)

    def _heads(self, x: Tensor) -> Tensor:
        """(heads, tokens, width) from the queries or keys of one row."""
        return x if self.heads_before_tokens else split_heads(x, self.num_heads)


class TextAndImageAttention(CrossAttention):
    """Cross-attention whose output is that to text plus that to a picture. Maps read the part of the text alone.

    A Gram column of the sum also shows what the picture adds, which no word causes (benchmarks/picture_part.py).
    """

    text_window: ClassVar[int]

    def check_call(self, call: Mapping[str, Any]) -> None:
        # its blocks split tokens of the picture from those of the text at the end, by this number
        if (length := call["encoder_hidden_states"].shape[-2]) != self.text_window:
            raise ImapError(
                f"the text has {length} tokens, and this model splits picture and text at {self.text_window}; leave "
                "out max_sequence_length"
            )

    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        return super().hooked_modules(block) | {"v": self.attention(block).to_v}

    def features(self, block: Any, activations: BlockActivations, row: int, slots: slice, is_read: bool) -> Features:
        q, k, v = (split_heads(activations.outputs[name][row], self.num_heads).unsqueeze(0) for name in ("q", "k", "v"))
        of_text = scaled_dot_product_attention(q, k, v)[0]
        return replace(super().features(block, activations, row, slots, is_read), o=of_text)


class JointAttention(Attention):
    """One attention over video and text. The text has projections of its own and follows, or has none and leads."""

    joint_attention = True
    attention_name = "attn"
    text_has_projections: ClassVar[bool] = True  # add_q_proj ... to_add_out
    # modules of a block that see video alone, which concept tokens do not need: the first norm, and those after it
    video_norm: ClassVar[str | None] = None
    after_attention: ClassVar[Sequence[str]] = ()

    def rotate(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """Visual queries or keys (h, n, d) of one row as attention sees them; here the processor rotates in place."""
        return x

    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        attn = self.attention(block)
        modules = {"q": attn.norm_q, "k": attn.norm_k, "v": attn.to_v}
        modules |= {"text_k": attn.norm_added_k} if self.text_has_projections else {}
        return modules | ({"norm": getattr(block, self.video_norm)} if self.video_norm else {})

    def features(self, block: Any, activations: BlockActivations, row: int, slots: slice, is_read: bool) -> Features:
        outputs, arguments = activations.outputs, activations.arguments
        text = 0 if self.text_has_projections else arguments["encoder_hidden_states"].shape[1]
        k, v = self._heads(outputs["k"][row]), split_heads(outputs["v"][row], self.num_heads)
        text_k = self._heads(outputs["text_k"][row]) if self.text_has_projections else k[:, :text]
        k = self.rotate(k[:, text:], arguments)
        q = self.rotate(self._heads(outputs["q"][row])[:, text:], arguments) if is_read else None
        o = split_heads(activations.head_outputs[row, text : text + k.shape[1]], self.num_heads)
        return Features(q, o, text_k[:, slots], k, v[:, text:])

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        attn, found = self.attention(block), {}

        def attend(hidden_states: Tensor, encoder_hidden_states: Tensor, **place: Any) -> tuple[Tensor, Tensor]:
            """The concepts' attention to [concepts, video] in place of the block's: no rotation, nothing masked."""
            q, k, v = self._of_text(attn, encoder_hidden_states[0])
            c = concept_head_outputs(q, k, v, weights, features.visual_keys, features.visual_values)
            found.update(keys=k, head_outputs=c)
            project = getattr(attn, "to_add_out", None) if self.text_has_projections else attn.to_out[0]
            attended = c.transpose(0, 1).flatten(1).to(tokens.dtype)
            return hidden_states, (attended if project is None else project(attended)).unsqueeze(0)

        instead: dict[str, Any] = {self.attention_name: attend, **dict.fromkeys(self.after_attention, _unchanged)}
        if self.video_norm:  # what it gave to the block's own video
            normed = [_no_tokens(x, row) if x.ndim > 2 else _of_row(x, row) for x in activations.outputs["norm"]]
            instead[self.video_norm] = lambda *_, **__: normed
        # the block runs its own forward, on a video of no token
        arguments = {**activations.arguments, "encoder_hidden_states": tokens}
        arguments["hidden_states"] = _no_tokens(arguments["hidden_states"], row)
        arguments["temb"] = _of_row(arguments["temb"], row)
        _, after = type(block).forward(_With(block, instead), **arguments)
        return ConceptStep(**found, tokens=after)

    def _of_text(self, attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (h, c, d) of text (c, width)."""
        own = self.text_has_projections
        projections = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj) if own else (attn.to_q, attn.to_k, attn.to_v)
        q, k, v = (split_heads(project(x), self.num_heads) for project in projections)
        return (attn.norm_added_q(q), attn.norm_added_k(k), v) if own else (attn.norm_q(q), attn.norm_k(k), v)

    def _heads(self, x: Tensor) -> Tensor:
        """(heads, tokens, width) from the normed queries or keys of one row."""
        return x if self.heads_before_tokens else x.transpose(0, 1)


def _of_row(x: Tensor, row: int) -> Tensor:
    return x if len(x) == 1 else x[row : row + 1]


def _no_tokens(x: Tensor, row: int) -> Tensor:
    return _of_row(x[:, :0], row)


def _unchanged(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


class _With:
    """A block with other functions in place of some modules. All else is the block's own; the block does not change."""

    def __init__(self, block: Any, instead: Mapping[str, Any]) -> None:
        self._block = block
        vars(self).update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)
