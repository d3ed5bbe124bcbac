"""Checked settings of the method: how maps are computed (docs/method.md, 2 to 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np

from imap.errors import ImapError, brief
from imap.methods.by_layer import KEEP
from imap.methods.registry import CHOSEN, EFFECT, MAPS, PUBLISHED, key_of, labels

AUTO = "auto"  # value of imap_layer in a run: layers are chosen by lambda_2
SCORE_NAMES = ("CHI", "DBI", "Silhouette", "Fisher")
TARGETS = ("concepts", "prompt")
STANDARDIZE = ("text", "none")
SURROGATES = ("per_head", "consensus")
CONCEPT_TOKENS = ("first", "last", "mean")
BEYOND = ("show", "effect", "effect_neutral", "random_heads", "keep")  # settings of maps beyond the paper
NEUTRAL = ("mean", "dropped")
MOST_DRAWS = 100  # of random heads: each draw is a map more


@dataclass(frozen=True)
class Method:
    """How maps are computed (docs/method.md, 2 to 6). Ranges are [start, stop); layers and steps count from 0."""

    imap_layer: tuple[int, ...]
    maps_layers: tuple[int, int]
    maps_timesteps: tuple[int, int] | None  # None: every step
    imap_sep_score: str
    imap_sep_topk: int  # -1: by threshold
    imap_qk_matching_target: str
    surrogate: str  # the patch that matches a text best: per head, or in the mean over the heads of a layer
    standardize: str
    softmax: bool
    concept_token: str
    prompt_tokens: bool
    show: str = PUBLISHED  # map that pictures and Maps.of show; published: IMAP of motion words, GramCol of concepts
    effect: bool | tuple[float, ...] = False  # steps of the effect map, as indices or as fractions of the schedule
    effect_neutral: str = "mean"
    random_heads: int = 0  # draws of random heads, a baseline of motion heads
    keep: tuple[str, ...] = ()  # also the maps of single layers, of single steps, or both

    @property
    def layers(self) -> tuple[int, ...]:
        """All layers that maps need."""
        return tuple(sorted({*self.imap_layer, *range(*self.maps_layers)}))

    def recorded(self) -> dict[str, Any]:
        """Settings that change a result; those beyond the paper only where they are used. `show` changes none."""
        used = {"effect": self.effect, "effect_neutral": self.effect_neutral} if self.effect else {}
        used |= {name: x for name in ("random_heads", "keep") if (x := getattr(self, name))}
        return {name: x for name, x in vars(self).items() if name not in BEYOND} | used

    def check_steps(self, num_inference_steps: int) -> None:
        """Raise ImapError for steps that the run does not have, or that the effect needs and maps do not read."""
        check_range(self.maps_timesteps, num_inference_steps)
        if self.effect and self.effect is not True:
            read = range(*(self.maps_timesteps or (0, num_inference_steps)))
            unread = [step for step in self.effect_steps(num_inference_steps) if step not in read]
            if unread:
                raise ImapError(
                    f"effect reads step {brief(unread[0])}, and steps {read.start} to {read.stop - 1} are read; "
                    "choose other steps for effect, or widen maps_timesteps"
                )

    def effect_steps(self, num_inference_steps: int) -> set[int]:
        """Step indices of the effect in a schedule; all with `True`."""
        if isinstance(self.effect, bool):
            return set(range(num_inference_steps)) if self.effect else set()
        last = num_inference_steps - 1
        return {min(round(x * num_inference_steps), last) if isinstance(x, float) else int(x) for x in self.effect}


def check_range(maps_timesteps: tuple[int, int] | None, num_inference_steps: int) -> None:
    """Raise ImapError for a range [start, stop) with steps that a schedule does not have."""
    if maps_timesteps is not None and maps_timesteps[1] > num_inference_steps:
        raise ImapError(
            f"maps_timesteps={brief(list(maps_timesteps))} names step {brief(maps_timesteps[1] - 1)}, but "
            f"num_inference_steps={num_inference_steps} has steps 0 to {num_inference_steps - 1}; "
            f"set maps_timesteps to a range [start, stop) within [0, {num_inference_steps}]"
        )


METHOD_DEFAULTS: dict[str, Any] = {
    "maps_layers": None,
    "maps_timesteps": None,
    "imap_sep_score": "CHI",
    "surrogate": "per_head",
    "standardize": "text",
    "softmax": False,
    "prompt_tokens": False,
    "show": PUBLISHED,
    "effect": False,
    "effect_neutral": "mean",
    "random_heads": 0,
    "keep": (),
}


def method_settings(
    chosen: Mapping[str, Any], paper: Mapping[str, Any], num_layers: int, num_heads: int, concept_token: str
) -> Method:
    """Check settings of the method for one model: the user's values, else the paper's, else the defaults.

    Args:
        chosen: the user's values by field of `Method`; None takes the paper's.
        paper: the paper's values, from the model's preset.
        num_layers: of the model.
        num_heads: of the model.
        concept_token: default of the model's family.

    Raises:
        ImapError: for a value that does not fit the model.
    """
    names = {field.name for field in fields(Method)}
    unknown = sorted(set(chosen) - names)
    if unknown:
        raise ImapError(f"unknown setting {brief(unknown[0])}; choose from {', '.join(sorted(names))}")
    value: dict[str, Any] = METHOD_DEFAULTS | {"concept_token": concept_token}
    value |= {key: paper[key] for key in names & set(paper) if paper[key] is not None}
    value |= {key: x for key, x in chosen.items() if x is not None}

    value["imap_layer"] = _layers(value["imap_layer"], num_layers)
    layers = (0, num_layers) if value["maps_layers"] is None else value["maps_layers"]
    value["maps_layers"] = checked_range("maps_layers", layers)
    if value["maps_layers"][1] > num_layers:
        raise ImapError(
            f"maps_layers={brief(list(value['maps_layers']))} ends beyond this transformer's {num_layers} layers; "
            f"set maps_layers to a range [start, stop) within [0, {num_layers}]"
        )
    if value["maps_timesteps"] is not None:
        value["maps_timesteps"] = checked_range("maps_timesteps", value["maps_timesteps"])

    value["imap_sep_score"] = _choice("imap_sep_score", value["imap_sep_score"], SCORE_NAMES)
    value["imap_qk_matching_target"] = _choice("imap_qk_matching_target", value["imap_qk_matching_target"], TARGETS)
    value["surrogate"] = _choice("surrogate", value["surrogate"], SURROGATES)
    value["standardize"] = _choice("standardize", value["standardize"], STANDARDIZE)
    value["concept_token"] = _choice("concept_token", value["concept_token"], CONCEPT_TOKENS)
    value["effect_neutral"] = _choice("effect_neutral", value["effect_neutral"], NEUTRAL)
    value["effect"] = _effect(value["effect"])
    value["keep"] = _keep(value["keep"])
    value["show"] = shown_map(value["show"])
    if value["show"] == EFFECT and not value["effect"]:
        raise ImapError("show=effect, and the effect is not read; set effect=true too")
    for name in ("softmax", "prompt_tokens"):
        if not isinstance(value[name], bool):
            raise ImapError(f"{name}={brief(value[name])} is neither true nor false")
    topk = value["imap_sep_topk"]
    if not _is_integer(topk) or not (topk == -1 or 1 <= topk <= num_heads):
        raise ImapError(
            f"imap_sep_topk={brief(topk)}, but this transformer has {num_heads} heads a layer; "
            f"set it between 1 and {num_heads}, or to -1 to keep heads by threshold"
        )
    value["imap_sep_topk"] = int(topk)
    value["random_heads"] = _draws(value["random_heads"])
    return Method(**value)


def shown_map(value: Any) -> str:
    """Key of the map to show, without a suffix, from its key or label; or `published`."""
    known = {**labels(), PUBLISHED: PUBLISHED}
    key = key_of(value, known) if isinstance(value, str) else ""
    if key not in known:
        names = [*(x.key for x in MAPS), EFFECT]
        raise ImapError(f"show={brief(value)} is not known; it can be {PUBLISHED}, {', '.join(names)}")
    return key.removesuffix(CHOSEN)


def _effect(value: Any) -> bool | tuple[float, ...]:
    """The steps of the effect map: False, True, or a tuple of indices or of fractions of the schedule."""
    if isinstance(value, bool):
        return value
    if isinstance(value, tuple) and value and all(isinstance(x, float) and 0 <= x < 1 for x in value):  # of a preset
        return value
    steps = _integers("effect", value, ", or effect=true")
    if not steps or any(step < 0 for step in steps):
        raise ImapError(f"effect={brief(value)} names no step; write it as effect=true or effect=[10,20]")
    return tuple(steps)


def _keep(value: Any) -> tuple[str, ...]:
    """What is kept beside the averages, each once and in one order."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or any(name not in KEEP for name in names):
        raise ImapError(f"keep={brief(value)} is not known; it can be layers, steps or [layers,steps]")
    return tuple(name for name in KEEP if name in names)


def _draws(value: Any) -> int:
    """How often heads are drawn."""
    if not _is_integer(value) or not 0 <= value <= MOST_DRAWS:
        raise ImapError(f"random_heads={brief(value)} is not a number of draws; expected 0 to {MOST_DRAWS}")
    return int(value)


def _is_integer(x: Any) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool)


def _layers(value: Any, num_layers: int) -> tuple[int, ...]:
    if isinstance(value, str) and value == AUTO:
        raise ImapError(
            "nobody has tuned layers for this model, and imap_layer=auto is of imap sample and imap renoise; "
            f"set imap_layer to some of its layers 0 to {num_layers - 1}"
        )
    layers = tuple(_integers("imap_layer", value, ", or in a run as imap_layer=auto"))
    if not layers:
        raise ImapError("imap_layer is empty; list at least one layer, such as imap_layer=[0]")
    if len(set(layers)) < len(layers):
        raise ImapError(f"imap_layer={brief(list(layers))} names a layer twice; list each layer once")
    for layer in layers:
        if not 0 <= layer < num_layers:
            raise ImapError(
                f"imap_layer names layer {brief(layer)}, but this transformer has layers 0 to {num_layers - 1}; "
                "set imap_layer to some of them"
            )
    return layers


def _integers(name: str, value: Any, alternative: str = "") -> list[int]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    items = [value] if _is_integer(value) else value
    if isinstance(items, str | bytes) or not isinstance(items, Sequence) or not all(_is_integer(x) for x in items):
        raise ImapError(
            f"{name}={brief(value)} is not a list of whole numbers; write it as {name}=[0,1,2]{alternative}"
        )
    return [int(x) for x in items]


def checked_range(name: str, value: Any) -> tuple[int, int]:
    """The range [start, stop) of a setting. Raises ImapError if the value is not a range."""
    items = _integers(name, value)
    if len(items) != 2 or not 0 <= items[0] < items[1]:
        raise ImapError(f"{name}={brief(value)} is not a range; write it as {name}=[start,stop], the stop not included")
    return (items[0], items[1])


def _choice(name: str, value: Any, choices: Sequence[str]) -> str:
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise ImapError(f"{name}={brief(value)} is not known; it can be {', '.join(choices)}")
