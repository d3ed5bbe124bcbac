"""What cannot be traced, found before anything runs. Every error says why and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import diffusers
from packaging.version import parse
from torch import nn

from imap.backbones.base import Backbone
from imap.backbones.features import Grid
from imap.errors import ImapError, brief

# diffusers hooks that move or cast weights, and leave every call as it is
HARMLESS = ("group_offloading", "layer_execution_tracker", "lazy_prefetch", "layerwise_casting", "peft_autocast")
# a layer that runs twice in a call, as for concept tokens, is loaded ahead once; from then on diffusers loads it again
STREAMS_ARE_SAFE = parse(diffusers.__version__) >= parse("0.42")


def check_traceable(backbone: Backbone, attention: bool = True) -> None:
    """Raise ImapError for a pipeline whose calls or attention the hooks would miss or misread.

    attention: whether attention is read.
    """
    for part in backbone.parts:
        for reason in (*_reasons(part), *(_attention_reasons(part) if attention else ())):
            raise ImapError(f"cannot trace this {type(backbone.pipe).__name__}: {reason}")


def check_parts(pipe: Any) -> None:
    """Raise ImapError for a pipeline without the parts that words need."""
    for name, need in (("tokenizer", "words must be found in tokens"), ("text_encoder", "concepts must be encoded")):
        if getattr(pipe, name, None) is None:
            raise ImapError(
                f"cannot trace this {type(pipe).__name__}: it has no {name}, and {need}; load the pipeline with it"
            )


def _reasons(backbone: Backbone) -> Iterator[str]:
    transformer = backbone.transformer
    own = backbone.refusal()
    if own:
        yield own
    if getattr(transformer, "is_cache_enabled", False):
        yield "a step cache skips blocks on some steps; call pipe.transformer.disable_cache() first"
    hooks = {name for module in transformer.modules() for name in diffusers_hooks(module)}
    strange = sorted(name for name in hooks if not name.startswith(HARMLESS))
    if strange:
        yield (
            f"a hook of diffusers changes or skips calls of its blocks ({', '.join(strange)}), as step caches that are "
            "put on by an apply_ function do; remove it, or load the pipeline again"
        )
    if transformer.training and any(_drops(module) for module in transformer.modules()):
        yield "its transformer is in training mode with dropout; call pipe.transformer.eval() first"
    if getattr(transformer, "_parallel_config", None) is not None:
        yield "context parallelism gives each device a slice of the tokens; load the transformer without it"


def _attention_reasons(backbone: Backbone) -> Iterator[str]:
    transformer = backbone.transformer
    if hasattr(transformer, "_orig_mod") or any(_compiled(module) for module in [transformer, *backbone.blocks]):
        yield (
            "its transformer is compiled, and compiled code passes hooks by; "
            "take maps on the transformer before torch.compile, or load it again"
        )
    if not STREAMS_ARE_SAFE and any(_loads_ahead(module) for module in transformer.modules()):
        yield (
            f"group offloading with use_stream=True loads each layer once a call in diffusers {diffusers.__version__}, "
            "and concept tokens need it again; use 0.42 or newer, or use_stream=False"
        )
    for layer, block in enumerate(backbone.blocks):
        attention = backbone.attention(block)
        processor = type(attention.processor).__name__
        if processor.startswith("Fused") or None in backbone.hooked_modules(block).values():
            yield "its query, key and value projections are fused; call pipe.transformer.unfuse_qkv_projections() first"
        if backbone.processor_reads_fused_flag and getattr(attention, "fused_projections", False):
            yield "its key and value projections are fused; call unfuse_projections() on every attention module first"
        if processor != backbone.processor_class:
            yield (
                f"layer {layer} runs the attention processor {processor}, not {backbone.processor_class}; "
                f"set the stock processor back with pipe.transformer.set_attn_processor({backbone.processor_class}())"
            )


def _compiled(module: nn.Module) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout) and module.training and module.p > 0


def _loads_ahead(module: nn.Module) -> bool:
    hook = getattr(getattr(module, "_diffusers_hook", None), "hooks", {}).get("group_offloading")
    return hook is not None and hook.group.stream is not None


def diffusers_hooks(module: nn.Module) -> list[str]:
    """Names of the hooks that diffusers has put on a module."""
    return list(getattr(getattr(module, "_diffusers_hook", None), "hooks", {}))


def fixed_notes(backbone: Backbone, fixed: Sequence[int]) -> Iterator[str]:
    """What readers of maps must know of frames that are not made in a call. fixed: as of `Backbone.fixed_frames`."""
    if backbone.clean_frames:
        yield (
            "the first latent frame is the picture: it has no noise, and its prediction is not used. Its effect is 0; "
            "do not compare its other maps with those of later frames"
        )
    elif fixed:
        yield (
            f"latent frames {brief(list(fixed))} are given: they have less noise at the first step. While this is so, "
            "their prediction is not used, and their effect is 0; do not compare their maps with those of other frames"
        )


def size_notes(
    backbone: Backbone, grid: Grid, call: Mapping[str, Any], only_size: tuple[int, int, int] | None
) -> Iterator[str]:
    """Notes for a video of one patch, and for a size that is not the only one that a small model was trained on.

    Args:
        backbone: of the traced pipeline.
        grid: of the call's visual tokens.
        call: arguments of the transformer call.
        only_size: frames, height and width; None for models that take many sizes.

    Raises:
        ImapError: for a video of one latent frame.
    """
    if grid.frames < 2:
        raise ImapError(
            "one latent frame has no motion, and heads are scored by their frames; "
            f"set num_frames={backbone.frames_of(2 * backbone.latent_frames_per_patch)} or more"
        )
    if grid.patches == 1:
        yield (
            "one patch per frame: IMAP and GramCol are standardized over the patches of a frame, so they are zero; "
            "make the video larger"
        )
    if only_size is None:
        return
    size, text_length = backbone.video_size(grid), call["encoder_hidden_states"].shape[-2]
    if size != only_size:
        (frames, height, width), (own_frames, own_height, own_width) = size, only_size
        yield (
            f"this small model was trained on {own_frames} frames of {own_height}x{own_width} only, and this video has "
            f"{frames} of {height}x{width}: its maps may be wrong; call the pipeline with num_frames={own_frames}, "
            f"height={own_height}, width={own_width}"
        )
    if text_length != backbone.text_length:
        yield (
            f"this small model was trained on texts of {backbone.text_length} tokens only, and this call has "
            f"{text_length}: its video and maps may be wrong; call the pipeline with "
            f"max_sequence_length={backbone.text_length}"
        )
