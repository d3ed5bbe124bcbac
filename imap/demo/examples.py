"""What the page opens with, and its examples: the built-in ones of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imap.config.sample_lists import read_list
from imap.config.samples import Sample

PROMPTS = (  # for the small models: prompt, concepts, motions. The videos of shapes_wan follow them
    ("a ball jumps while a kite grows", "ball, kite", "jumps, grows"),
    ("a cross flashes while a box dips", "cross, box", "flashes, dips"),
    ("a ball jumps while a cross flashes", "ball, cross", "jumps, flashes"),
    ("a ring jumps while a cross stays", "ring, cross", "jumps, stays"),
)
REAL = (  # for models of real videos
    ("A horse gallops across a field.", "horse, field", "gallops"),
    ("A red ball rolls past a small dog on the grass.", "ball, dog", "rolls"),
)


@dataclass(frozen=True)
class Example:
    """A prompt and its words as a user types them. clip: a file, or None."""

    prompt: str
    concepts: str
    motions: str
    clip: str | None = None


def prompts(backbone: Mapping[str, Any]) -> list[Example]:
    """Prompts that a model knows. backbone: its configuration."""
    known = backbone.get("words")
    return [Example(*one) for one in (PROMPTS if known else REAL)]


def clips(backbone: Mapping[str, Any]) -> list[Example]:
    """Clips that are part of imap, of the model's size. backbone: its configuration."""
    listed = (backbone.get("demo") or {}).get("input_json")
    return [_of_clip(sample) for sample in read_list(Path(listed), with_video=True)] if listed else []


def first(config: Mapping[str, Any]) -> Example:
    """What the page opens with: the words of the command line, else those of the first example.

    config: of either command.
    """
    typed = [config[name] for name in ("prompt", "concepts", "motions")]
    if any(value is not None for value in typed):
        return Example(*(_written(value) for value in typed))
    return prompts(config["backbone"])[0]


def _of_clip(sample: Sample) -> Example:
    return Example(sample.prompt, ", ".join(sample.concepts), ", ".join(sample.motions), str(sample.video_path))


def _written(value: Any) -> str:
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
