"""Every saliency map of imap: a key, a label, the words it is for, and the function that computes it.

A new map is one function `f(heads, rows)` in a file of this folder and one line in `MAPS`; see docs/adding_a_map.md.
This module does not import torch, so pictures and help can take their names from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from imap.errors import ImapError, brief

SLOTS = ("texts", "words", "baseline", "concepts")
RANDOM_HEADS = "random_heads"  # starts the keys of maps over random heads (imap.methods.random_heads)
EFFECT = "effect"  # key of the effect map, which no attention gives (imap.tracing.effect)
PUBLISHED = "published"  # shows IMAP of motion words and GramCol of concepts
QUIET = ("video_col", EFFECT)  # maps that are low where a word is not, in space and in time
AFTER, AFTER_LABEL = "_after", " (read after)"  # of maps of the finished video, beside those of its sampling
CHOSEN = "_layers"  # ends the keys of maps over `imap_layer`; the others are over `maps_layers`


@dataclass(frozen=True)
class SaliencyMap:
    """A saliency map, computed from the attention of one layer and averaged over layers and steps.

    Attributes:
        key: name of its files, npy/<key>.npy and npy/<key>_layers.npy.
        label: its name in pictures, tables and the report.
        function: f(heads, rows) -> Tensor (f, r, p), or its place as "module:name". It is called for a few heads at a
            time, a `HeadGroup`, and the results are added up. `rows` reduces (..., text slots, p) to (..., r, p).
        shows: "motions" or "things" if it is the default map of motion words or of concepts.
        slots: text slots that it reads. "texts": as GramCol; "words": it returns the rows of the words itself, and no
            softmax over texts follows; "baseline": as cross attention; "concepts": the concept tokens' head outputs,
            which cross-attention backbones do not have.
        finish: f(x) -> Tensor (f, r, p) of the sum over the heads of a layer, or its place; None leaves the sum.
    """

    key: str
    label: str
    function: Callable[..., Any] | str
    shows: str | None = None
    slots: str = "texts"
    finish: Callable[..., Any] | str | None = None

    def __post_init__(self) -> None:
        if not self.key.isidentifier() or self.key.endswith(CHOSEN):
            raise ImapError(
                f"key={brief(self.key)} of a map must be letters, digits and _, and must not end in {CHOSEN}"
            )
        if self.slots not in SLOTS:
            raise ImapError(
                f"slots={brief(self.slots)} of the map {self.key} is not known; it can be {', '.join(SLOTS)}"
            )

    def resolve(self) -> Callable[..., Any]:
        """The function itself. Raises ImapError if there is none."""
        return self._found("function", self.function)

    def resolve_finish(self) -> Callable[..., Any]:
        """What finishes the sum over heads. Raises ImapError if there is no such function."""
        return (lambda x: x) if self.finish is None else self._found("finish", self.finish)

    def _found(self, field: str, value: Any) -> Callable[..., Any]:
        if callable(value):
            return value
        module, _, name = str(value).partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            raise ImapError(
                f"{field}={brief(value)} of the map {brief(self.key)} is not a function, nor its place as 'module:name'"
            ) from None


MAPS = (  # in the order of pictures and tables
    SaliencyMap("sel_imap", "IMAP", "imap.methods.motion_heads:imap_map", shows="motions"),
    SaliencyMap("imap", "GramCol", "imap.methods.gramcol:gramcol_map", shows="things"),
    SaliencyMap(
        "video_col",
        "whole-video column",
        "imap.methods.video_col:video_col_map",
        slots="words",
        finish="imap.methods.video_col:above_median",
    ),
    SaliencyMap(
        "cross_attention_maps", "cross attention", "imap.methods.cross_attention:cross_attention_map", slots="baseline"
    ),
    SaliencyMap("text_attention", "text attention", "imap.methods.cross_attention:text_attention_map"),
    SaliencyMap(
        "concept_attention_maps",
        "ConceptAttention",
        "imap.methods.concept_attention:concept_attention_map",
        slots="concepts",
    ),
)


def labels(maps: Iterable[SaliencyMap] = MAPS) -> dict[str, str]:
    """Label of every key, first those over `imap_layer`, then those over `maps_layers`."""
    maps = tuple(maps)
    chosen = {x.key + CHOSEN: x.label for x in maps}
    effect = {EFFECT: "effect"} if maps == MAPS else {}
    return chosen | effect | {x.key: f"{x.label}, all layers" for x in maps}


def after_key(key: str) -> str:
    """Key of a map of the finished video, beside the map `key` of its sampling."""
    return key.removesuffix(CHOSEN) + AFTER + (CHOSEN if key.endswith(CHOSEN) else "")


def key_of(name: str, known: Mapping[str, str]) -> str:
    """Key of a map from its key or its label; the name itself if `known`, labels by key, has neither."""
    if name in known:
        return name
    return next((key for key, label in known.items() if label.lower() == name.lower()), name)


def default_key(shows: str) -> str:
    """Key of the map that is shown for "motions" or "things": the paper's, over `imap_layer`."""
    return next(x.key for x in MAPS if x.shows == shows) + CHOSEN


def check_maps(own: SaliencyMap | Sequence[SaliencyMap] | None) -> tuple[SaliencyMap, ...]:
    """All maps of a trace: the registered ones, then a user's own.

    Raises:
        ImapError: for a function that cannot be called, or a name that comes twice.
    """
    own = (own,) if isinstance(own, SaliencyMap) else () if own is None else own
    if not isinstance(own, Sequence) or not all(isinstance(x, SaliencyMap) for x in own):
        raise ImapError(f"maps= takes imap.SaliencyMap objects, and got {brief(own)}")
    maps = (*MAPS, *own)
    for x in maps[len(MAPS) :]:
        x.resolve()
        x.resolve_finish()
        if x.shows is not None:
            raise ImapError(f"shows={brief(x.shows)} of the map {brief(x.key)}: only registered maps can be a default")
    keys = [x.key for x in maps]
    own_labels = [x.label.lower() for x in maps[len(MAPS) :]]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    names = {EFFECT, *(name.lower() for x in MAPS for name in (x.key, x.label))}
    hidden = [
        x.key
        for x in maps[len(MAPS) :]
        if (x.key.lower() in names and x.key not in keys[: len(MAPS)]) or x.label.lower() in names
    ]
    if hidden:
        raise ImapError(f"the map {brief(hidden[0])} has the name of a registered map; choose another key and label")
    if twice:
        raise ImapError(f"the key {brief(twice[0])} of maps= is taken; registered are {', '.join(x.key for x in MAPS)}")
    if len(set(own_labels)) < len(own_labels):
        raise ImapError(f"two maps of maps= have the same label ({', '.join(own_labels)}); name each differently")
    return maps
