"""The adapter contract: a backbone is put together from four parts, and a family declares them.

| part | belongs to | says |
|---|---|---|
| `attention` | the transformer | blocks, queries, keys and head outputs, token grid, the way of concept tokens |
| `words` (`t5`, `chat`) | the text encoder | tokens of a text, and their slots |
| `latents` | the VAE | sizes, scaling and layout of latents |
| `calls` | the pipeline | guidance |

To add a family, write one module in this folder with one subclass of `Backbone`, and a preset in `configs/backbone/`
(docs/adding_a_backbone.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from imap.backbones.attention import Attention
from imap.backbones.calls import Calls
from imap.backbones.latents import Latents
from imap.backbones.words import Words


class Backbone(Attention, Words, Latents, Calls):
    """One transformer of a stock pipeline: what the method needs to know about it.

    A family names a part of each kind before `Backbone`, as in `class Wan(CrossAttention, T5Words, Backbone)`. Kinds
    that it does not name are the defaults.
    """

    family: ClassVar[str]
    transformer_class: ClassVar[str]
    transformers: ClassVar[tuple[str, ...]] = ("transformer",)  # components of equal build, which take turns

    def __init__(self, pipe: Any, component: str = "transformer") -> None:
        """Read one transformer of a pipeline. component: its name there."""
        self.component = component
        self.pipe = pipe  # a stock diffusers pipeline
        self.transformer: Any = getattr(pipe, component)

    @property
    def parts(self) -> Sequence["Backbone"]:
        """This adapter once for each transformer of the pipeline."""
        return [self, *(type(self)(self.pipe, name) for name in self.transformers[1:])]

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        """Whether a transformer of `transformer_class` is of this family.

        Args:
            transformer: its configuration.
            pipeline: that of the pipeline, with class names of its parts, as in model_index.json.
        """
        several = (pipeline.get("transformer_2") or [None])[0] is not None
        return several == (len(cls.transformers) > 1)

    def refusal(self) -> str | None:
        """Why this pipeline cannot be traced, and what to do; None when it can."""
        return None
