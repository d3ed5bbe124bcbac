"""One part of a video: what was read in one run of the schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from imap.backbones.base import Backbone
from imap.backbones.features import Grid
from imap.methods.keep import Numbered
from imap.methods.registry import EFFECT
from imap.tracing.blocks import BlockReader
from imap.tracing.collect import HeadChoices
from imap.tracing.compatibility import fixed_notes
from imap.tracing.effect import Effect
from imap.view.upsampling import TEMPORAL


@dataclass(frozen=True)
class Section:
    """What was read in one run of the schedule. Tensors are on the device.

    Attributes:
        means: (rows, f, p) by key of a map.
        choices: scores and motion heads.
        grid: of the visual tokens.
        facts: to record.
        kept: maps of single layers and steps.
    """

    means: Mapping[str, Tensor]
    choices: HeadChoices
    grid: Grid
    facts: Mapping[str, Any]
    kept: Mapping[str, Numbered]


def first_facts(backbone: Backbone, call: Mapping[str, Any], row: int, grid: Grid) -> dict[str, Any]:
    """Facts of a section that its first transformer call shows, with notes on its frames.

    Args:
        backbone: whose transformer is called.
        call: arguments of the call by name.
        row: of its batch, the conditional one.
        grid: of the visual tokens.
    """
    own = backbone.section_facts(call)
    notes = list(fixed_notes(backbone, backbone.fixed_frames(call, row, grid)))
    return {"notes": notes} | ({"section": own} if own else {})


def read_section(
    backbone: Backbone,
    blocks: BlockReader,
    effect: Effect | None,
    grid: Grid,
    read_by: Mapping[str, Sequence[int]],
    own: Mapping[str, Any],
) -> Section:
    """What a trace has read in one run of the schedule.

    Args:
        backbone: of the pipeline.
        blocks, effect: what has read it. No map is in `blocks` where attention is not read.
        grid: of the visual tokens.
        read_by: the steps that were read, by the name of the transformer.
        own: facts of the section, as of `first_facts`.
    """
    layout, patch, factor = asdict(grid), backbone.latent_frames_per_patch, backbone.temporal_factor
    layout |= {"latent_frames_per_patch": patch} if patch > 1 else {}
    layout |= {"temporal_factor": factor} if factor != TEMPORAL else {}
    steps = sorted(step for steps in read_by.values() for step in steps)
    facts: dict[str, Any] = {"family": backbone.family, "grid": layout, "steps": steps, **own}
    if len(backbone.parts) > 1:
        facts["transformers"] = {name: sorted(steps) for name, steps in read_by.items()}
    facts["pixels"] = list(backbone.video_size(grid)[1:])
    means, kept = blocks.running.means(), blocks.keeper.kept(blocks.running.groups)
    if effect is not None:
        kept |= effect.kept()
        means[EFFECT] = effect.mean()
        facts["effect"] = effect.facts()
    return Section(means, blocks.choices, grid, facts, kept)


def placed(backbone: Backbone, sections: Sequence[Section]) -> list[Section]:
    """All sections of a video with the place of each in the facts.

    `frames` are the frames [start, stop) of the whole video that the section's masks and pictures are of. The first
    map frame is of `temporal_factor` frames where it does not begin the video, and a mask has the last of these.
    """
    own = [section.facts.get("section", {}) for section in sections]
    frames = [section.grid.frames * backbone.latent_frames_per_patch for section in sections]
    places = backbone.places(list(zip(frames, own, strict=True)))
    found = []
    for i, section in enumerate(sections):
        facts = {"number": i, "of": len(sections), **own[i]}
        if places is not None:
            stop = places[i] + frames[i] - own[i].get("end_frames", 0)
            facts["frames"] = [places[i] * backbone.temporal_factor, (stop - 1) * backbone.temporal_factor + 1]
        found.append(replace(section, facts={**section.facts, "section": facts}))
    return found
