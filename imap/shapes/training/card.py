"""The model card: the weights, their training, and their results."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from imap.shapes.training.caption_sensitivity import verb_sensitivity
from imap.shapes.world import scenes as world

LEAST_SENSITIVITY, LEAST_FIDELITY = 0.1, 0.8  # gates of shipped weights

CARD = """---
library_name: diffusers
tags: [imap, shapes]
---
# A small {family} of the embedded world

A `{pipeline}` of the real diffusers classes, trained from {start} on clips that imap draws. A clip shows two coloured
shapes ({nouns}), each of which {verbs}. A caption is "a ball jumps while a box stays". The model knows no other words.
Its purpose is to try and test saliency maps against exact ground truth. It is not a general video model.

| | |
|---|---|
| data | world version {version}; {clips} clips of {frames} frames, {height}x{width} |
| weights | {parameters} |
| seed | {seed} |
| trained on | {device}: VAE {vae_steps} steps, {vae_seconds:.0f} s; transformer {steps} steps, {seconds:.0f} s |
| command | `{command}` |

## Results

VAE: PSNR {psnr:.1f} dB over all pixels, {object_psnr:.1f} dB over object pixels.

Caption sensitivity: mean squared error on {held_out} held-out clips by timestep, and its rise under altered captions.

{sensitivity}

Caption fidelity: {asked} captions sampled with {sample_steps} steps and guidance {guidance}, objects judged by colour.

{fidelity}

{gates}

## Settings

```yaml
{settings}```
"""


def card(
    facts: Mapping[str, Any], sensitivity: Mapping[str, Mapping[float, float]], fidelity: Mapping[str, float]
) -> str:
    """Text of the card.

    Args:
        facts: Facts of the training, as named in CARD.
        sensitivity: Caption sensitivity, by caption kind and noise level.
        fidelity: Caption fidelity, shares by name.
    """
    texts = {
        "nouns": ", ".join(world.NOUNS),
        "verbs": ", ".join(world.VERBS[:-1]) + " or " + world.VERBS[-1],
        "version": world.VERSION,
        "sensitivity": sensitivity_table(sensitivity),
        "gates": gate_table(sensitivity, fidelity),
        "fidelity": "\n".join(f"- {name}: {100 * share:.0f} %" for name, share in fidelity.items()),
        "settings": yaml.safe_dump(facts["settings"], sort_keys=False),
    }
    return CARD.format(**{**facts, **texts})


def gate_table(sensitivity: Mapping[str, Mapping[float, float]], fidelity: Mapping[str, float]) -> str:
    """Gates of a trained model as a Markdown table: required value, and value reached."""
    gates = (
        ("wrong verbs: rise of the loss at t = 800 to 900", LEAST_SENSITIVITY, verb_sensitivity(sensitivity), "{:.2f}"),
        ("objects present", LEAST_FIDELITY, fidelity["present"], "{:.0%}"),
        ("objects follow the caption", LEAST_FIDELITY, fidelity["follows the caption"], "{:.0%}"),
    )
    lines = ["| gate | must reach | reaches |", "|---" * 3 + "|"]
    for title, least, value, form in gates:
        result = f"{form.format(value)}{'' if value >= least else ', not met'}"
        lines.append(f"| {title} | {form.format(least)} | {result} |")
    return "\n".join(lines)


def with_maps(text: str, gates: str, note: str) -> str:
    """Add a section "Maps" to a card, before the settings. It replaces an earlier section.

    Args:
        text: Text of the card.
        gates: Gates of the benchmark as a Markdown table.
        note: Sentence before the table.
    """
    section = f"## Maps\n\n{note}\n\n{gates}\n\n"
    return re.sub(r"(?s)(## Maps\n.*?)?(?=## Settings\n)", lambda _: section, text, count=1)


def sensitivity_table(sensitivity: Mapping[str, Mapping[float, float]]) -> str:
    """Caption sensitivity as a Markdown table."""
    levels = list(next(iter(sensitivity.values())))
    rows = [
        f"| caption | {' | '.join(f't={round(1000 * level)}' for level in levels)} |",
        "|---" * (len(levels) + 1) + "|",
    ]
    for kind, values in sensitivity.items():
        form = "{:.3f}" if kind == "true" else "{:+.3f}"
        rows.append(f"| {kind} | {' | '.join(form.format(values[level]) for level in levels)} |")
    return "\n".join(rows)
