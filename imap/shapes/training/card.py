"""The model card: what the weights are, how they were made, and what they reach."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from imap.shapes.training.caption_sensitivity import verb_gap
from imap.shapes.world import scenes as world

LEAST_GAP, LEAST_OBEDIENCE = 0.1, 0.8  # what shipped weights are held to

CARD = """---
library_name: diffusers
tags: [imap, shapes]
---
# A small {family} of the embedded world

A `{pipeline}` of the real diffusers classes, trained from {start} on clips that imap draws: two coloured shapes
({nouns}), each of which {verbs}. Captions read "a ball jumps while a box stays". Any other word is unknown to it.
It is a stand-in with exact ground truth for trying and testing maps, and no model of anything else.

| | |
|---|---|
| data | world version {version}; {clips} clips of {frames} frames, {height}x{width} |
| weights | {parameters} |
| seed | {seed} |
| trained on | {device}: VAE {vae_steps} steps, {vae_seconds:.0f} s; transformer {steps} steps, {seconds:.0f} s |
| command | `{command}` |

## What it reaches

VAE: {psnr:.1f} dB over all pixels, {object_psnr:.1f} dB over those of objects.

Mean squared error on {held_out} held-out clips by timestep, and how much it rises when the caption is altered:

{gap}

{asked} captions sampled with {sample_steps} steps, guidance {guidance}, judged by colour:

{obedience}

{gates}

## Settings

```yaml
{settings}```
"""


def card(facts: Mapping[str, Any], gap: Mapping[str, Mapping[float, float]], obedience: Mapping[str, float]) -> str:
    """The card's text."""
    told = {
        "nouns": ", ".join(world.NOUNS),
        "verbs": ", ".join(world.VERBS[:-1]) + " or " + world.VERBS[-1],
        "version": world.VERSION,
        "gap": gap_table(gap),
        "gates": gate_table(gap, obedience),
        "obedience": "\n".join(f"- {name}: {100 * share:.0f} %" for name, share in obedience.items()),
        "settings": yaml.safe_dump(facts["settings"], sort_keys=False),
    }
    return CARD.format(**{**facts, **told})


def gate_table(gap: Mapping[str, Mapping[float, float]], obedience: Mapping[str, float]) -> str:
    """What a trained model is held to, and whether it is met, as a Markdown table."""
    held = (
        ("wrong verbs: rise of the loss at t = 800 to 900", LEAST_GAP, verb_gap(gap), "{:.2f}"),
        ("captions: colours present", LEAST_OBEDIENCE, obedience["present"], "{:.0%}"),
        ("captions: done as told", LEAST_OBEDIENCE, obedience["obeys"], "{:.0%}"),
    )
    lines = ["| gate | must reach | reaches |", "|---" * 3 + "|"]
    for title, least, value, form in held:
        lines.append(
            f"| {title} | {form.format(least)} | {form.format(value)}{'' if value >= least else ', not met'} |"
        )
    return "\n".join(lines)


def with_maps(text: str, gates: str, told: str) -> str:
    """A card with a section on its maps, put before the settings or in the place of an earlier one: the gates of the
    benchmark as a table, and of what that is."""
    section = f"## Maps\n\n{told}\n\n{gates}\n\n"
    return re.sub(r"(?s)(## Maps\n.*?)?(?=## Settings\n)", lambda _: section, text, count=1)


def gap_table(gap: Mapping[str, Mapping[float, float]]) -> str:
    """Caption gaps as a Markdown table."""
    levels = list(next(iter(gap.values())))
    rows = [
        f"| caption | {' | '.join(f't={round(1000 * level)}' for level in levels)} |",
        "|---" * (len(levels) + 1) + "|",
    ]
    for kind, values in gap.items():
        form = "{:.3f}" if kind == "true" else "{:+.3f}"
        rows.append(f"| {kind} | {' | '.join(form.format(values[level]) for level in levels)} |")
    return "\n".join(rows)
