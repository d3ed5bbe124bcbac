"""One adapter per model family, chosen by the class of the pipeline's transformer. See `base` to add one."""

from collections.abc import Container, Mapping
from importlib import import_module
from itertools import takewhile
from pkgutil import iter_modules
from typing import Any

from imap.backbones.base import Backbone
from imap.backbones.known import NOT_TRACED
from imap.errors import ImapError


def _adapters() -> tuple[type[Backbone], ...]:
    """Every adapter of this folder, so that a new family is one new file."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    found = {x for module in modules for x in vars(module).values() if isinstance(x, type) and issubclass(x, Backbone)}
    return tuple(sorted((x for x in found if "family" in vars(x)), key=lambda adapter: adapter.family))


FAMILIES = _adapters()


def family(name: str) -> type[Backbone]:
    """The adapter class of a family by its name in the configuration."""
    for adapter in FAMILIES:
        if adapter.family == name:
            return adapter
    raise ImapError(f"unknown model family {name!r}; known are {', '.join(adapter.family for adapter in FAMILIES)}")


def fitting(
    kinds: Container[str], transformer: Mapping[str, Any], pipeline: Mapping[str, Any], class_name: str
) -> type[Backbone] | None:
    """The adapter class of a model; None if no family reads it.

    Args:
        kinds: class names of the transformer, and of those that it is made from.
        transformer, pipeline: configurations, as in `Backbone.fits`.
        class_name: of the pipeline. Another class of the same parts is read as that whose name begins most like it.
    """
    fit = [x for x in FAMILIES if x.transformer_class in kinds and x.fits(transformer, pipeline)]

    def alike(adapter: type[Backbone]) -> int:
        names = zip(adapter.pipeline_class, class_name, strict=False)
        return sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], names))

    return max(fit, key=lambda adapter: (adapter.pipeline_class == class_name, alike(adapter)), default=None)


def backbone_of(pipe: Any) -> Backbone:
    """Adapter of a loaded pipeline. Raises ImapError for a pipeline of no known family."""
    transformer = getattr(pipe, "transformer", None)
    # a compiled module hides the class of the model that it holds; it is found here, and refused with advice later
    kinds = {kind.__name__ for x in (transformer, getattr(transformer, "_orig_mod", None)) for kind in type(x).__mro__}
    if transformer is not None and (adapter := fitting(kinds, transformer.config, pipe.config, type(pipe).__name__)):
        return adapter(pipe)
    if transformer is None and hasattr(pipe, "transformer"):
        second = ", only the second one of two" if getattr(pipe, "transformer_2", None) is not None else ""
        raise ImapError(
            f"cannot trace this {type(pipe).__name__}: it has no transformer{second}; load the pipeline with it"
        )
    if (kind := type(pipe).__name__) in NOT_TRACED:
        raise ImapError(f"cannot trace a pipeline of class {kind}: {NOT_TRACED[kind]}")
    what = "it has no transformer" if transformer is None else f"its transformer is a {type(transformer).__name__}"
    raise ImapError(
        f"cannot trace a {kind} ({what}); "
        f"expected one of {', '.join(dict.fromkeys(adapter.pipeline_class for adapter in FAMILIES))}"
    )
