"""`imap.trace`: a trace of any stock pipeline, with the paper's settings where none are given."""

from collections.abc import Callable, Sequence
from typing import Any

from imap.backbones import backbone_of
from imap.encodings import Encodings
from imap.presets import preset_for
from imap.samples import split_texts
from imap.settings.method import method_settings
from imap.tracing import Trace
from imap.wording import Wording


def trace(
    pipe: Any,
    prompt: str | None = None,
    concepts: str | Sequence[str] | None = None,
    motions: str | Sequence[str] | None = None,
    *,
    imap_layer: Sequence[int] | None = None,
    maps_layers: Sequence[int] | None = None,
    maps_timesteps: Sequence[int] | None = None,
    imap_sep_score: str | None = None,
    imap_sep_topk: int | None = None,
    imap_qk_matching_target: str | None = None,
    surrogate: str | None = None,
    standardize: str | None = None,
    softmax: bool | None = None,
    concept_token: str | None = None,
    prompt_tokens: bool | None = None,
    observe: Callable[..., None] | None = None,
    encodings: Encodings | None = None,
) -> Trace:
    """Maps of the next call of a stock CogVideoX, Wan or HunyuanVideo pipeline: `with imap.trace(pipe, ...) as trace`.

    pipe: the pipeline object, loaded in any way. concepts, motions: nouns and motion words, at least one of either.
    prompt: what the pipeline will be called with; needed only with target `prompt`.

    imap_layer: layers of the `_layers` maps. maps_layers: [start, stop) of the others, all by default.
    maps_timesteps: [start, stop) of step indices, all by default. imap_sep_score: CHI, DBI, Silhouette or Fisher.
    imap_sep_topk: motion heads per layer and step, or -1 for the score's threshold. imap_qk_matching_target: concepts
    or prompt. surrogate: per_head or consensus. standardize: text or none. softmax: over the texts. concept_token:
    first, last or mean of a concept's tokens. prompt_tokens: with target prompt, maps of every prompt token besides.
    observe: called with each layer that is read, for measures of one's own (see `Trace`). encodings: one
    `imap.encodings.Encodings` for many traces of a pipeline, so that the same words are encoded once.
    What is not given is the paper's setting for that model. Raises ImapError for settings that the model does not
    have and for encodings of another pipeline, before anything runs.
    """
    given = {
        "imap_layer": imap_layer,
        "maps_layers": maps_layers,
        "maps_timesteps": maps_timesteps,
        "imap_sep_score": imap_sep_score,
        "imap_sep_topk": imap_sep_topk,
        "imap_qk_matching_target": imap_qk_matching_target,
        "surrogate": surrogate,
        "standardize": standardize,
        "softmax": softmax,
        "concept_token": concept_token,
        "prompt_tokens": prompt_tokens,
    }
    backbone = backbone_of(pipe)
    if imap_qk_matching_target is None and not prompt:
        given["imap_qk_matching_target"] = "concepts"  # without a prompt there are no prompt words to match
    preset = preset_for(backbone.family, backbone.num_layers, backbone.num_heads)
    method = method_settings(
        given, preset.paper, backbone.num_layers, backbone.num_heads, backbone.default_concept_token
    )
    wording = Wording(backbone, method, split_texts(concepts), split_texts(motions), prompt)
    return Trace(backbone, method, wording, observe, encodings)
