"""One adapter per model family, chosen by the class of the pipeline's transformer. See `base` to add one."""

from typing import Any

from imap.backbones.base import Backbone
from imap.backbones.cogvideox import CogVideoX
from imap.backbones.hunyuanvideo import HunyuanVideo
from imap.backbones.wan import Wan
from imap.errors import ImapError

FAMILIES: tuple[type[Backbone], ...] = (CogVideoX, Wan, HunyuanVideo)


def family(name: str) -> type[Backbone]:
    """The adapter class of a family by its name in the configuration."""
    known = {adapter.family: adapter for adapter in FAMILIES}
    if name not in known:
        raise ImapError(f"unknown model family {name!r}; known are {', '.join(known)}")
    return known[name]


def backbone_of(pipe: Any) -> Backbone:
    """Adapter of a loaded pipeline. Raises ImapError for a pipeline of no known family, or one that cannot be read."""
    transformer = type(getattr(pipe, "transformer", None))
    # by name as well as by class: an accelerate or PEFT wrapper keeps the class, a compiled module is told apart later
    original = getattr(pipe.transformer, "_orig_mod", None) if hasattr(pipe, "transformer") else None
    names = {c.__name__ for kind in (transformer, type(original)) for c in kind.__mro__}
    for adapter in FAMILIES:
        if adapter.transformer_class in names:
            return adapter(pipe)
    expected = ", ".join(adapter.pipeline_class for adapter in FAMILIES)
    raise ImapError(f"cannot trace a {type(pipe).__name__} ({transformer.__name__}); expected one of {expected}")
