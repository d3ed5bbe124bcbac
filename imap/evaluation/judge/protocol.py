"""What the judge is asked: the protocols, the prompt and the form of the answer (docs/method.md, 9)."""

from dataclasses import dataclass
from typing import Any

LOWEST, HIGHEST = 1, 5  # points
CRITERIA = {  # keys of the answer, and short names of the scores
    "spatial_localization": "sl",
    "temporal_localization": "tl",
    "prompt_relevance": "pr",
    "sparseness": "ss",
    "object_shape": "obj",
}
AVERAGE = "mls"  # Motion Localization Score: the plain mean of the five scores


@dataclass(frozen=True)
class Protocol:
    """How a map is shown to the judge.

    Attributes:
        names_word: whether the prompt names the motion word. Otherwise the judge sees the caption alone.
        scale: values of the heat map, as in `imap.view.normalization.normalize`; the mean that divides the pixels of
            the second grid is taken over the same values: of each frame, or of the video.
    """

    names_word: bool
    scale: str


PROTOCOLS = {"published": Protocol(False, "frame"), "ours": Protocol(True, "video")}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))} for name in CRITERIA},
    "required": list(CRITERIA),
    "additionalProperties": False,
}

_PROMPT = """You grade a saliency map of a video. The map should mark where and when {target} happens.

Caption of the video: {caption}
{word}
There are three pictures. Each shows the same 12 frames, evenly spaced in time, in a grid of 4 columns and 3 rows. \
Time runs from left to right, then from top to bottom.
Picture 1: the frames of the video.
Picture 2: the same frames. Pixels where the map is not above its mean are darkened to half.
Picture 3: the map as colours. Black is the lowest value of the {scale}, then purple, orange, and light yellow for the \
highest.

Give a whole number from 1 to 5 for each criterion. 1 is very poor, 3 is partly right, 5 is very good.
spatial_localization: in each frame, the high values lie on the object or body part that moves, and not elsewhere.
temporal_localization: the values are high in the frames in which the motion happens, and low in the others.
prompt_relevance: the marked regions are what {text} describes.
sparseness: few pixels are high, and the rest is low, without scattered spots.
object_shape: the high region has the outline of what moves.

A map that is high everywhere, or nowhere, is poor. Judge the map alone, and not the quality of the video.
Answer with a JSON object of these five keys and nothing else."""


def prompt(protocol: Protocol, caption: str, word: str) -> str:
    """Text of a request.

    Args:
        protocol: decides whether the word is named.
        caption: of the video.
        word: the motion word of the map.
    """
    named = protocol.names_word
    return _PROMPT.format(
        caption=caption,
        word=f"Motion word: {word}\n" if named else "",
        target="the motion that the motion word names" if named else "the motion of the caption",
        text="the motion word" if named else "the caption",
        scale=protocol.scale,
    )
