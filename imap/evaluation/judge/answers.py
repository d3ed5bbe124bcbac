"""Raw replies of a chat endpoint, read strictly: what is not five whole numbers is never guessed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imap.evaluation.judge.protocol import AVERAGE, CRITERIA, HIGHEST, LOWEST

GRADED, REFUSED, MALFORMED, FAILED = "graded", "refused", "malformed", "failed"
# codes of errors that refuse the content
FILTERS = ("content_filter", "content_policy_violation", "invalid_prompt")
UNREADABLE = (ValueError, TypeError, RecursionError)  # errors of json.loads: no JSON, no text, nested too deeply


@dataclass(frozen=True)
class Answer:
    """Answer of the judge.

    Attributes:
        status: graded, refused (by the model, or by a filter), malformed, or failed (no reply at all).
        grades: points of each criterion, only of a graded answer.
        tokens: read and written, if the reply has them.
    """

    status: str
    grades: Mapping[str, int] = field(default_factory=dict)
    tokens: tuple[int, int] = (0, 0)

    def scores(self) -> dict[str, float]:
        """Scores from 0 to 1 by short name, (points - 1) / 4, and their plain mean; NaN unless it is graded."""
        points = {short: self.grades.get(name, math.nan) for name, short in CRITERIA.items()}
        scores = {short: (x - LOWEST) / (HIGHEST - LOWEST) for short, x in points.items()}
        return scores | {AVERAGE: sum(scores.values()) / len(scores)}


def read_answer(reply: str) -> Answer:
    """The answer in a raw reply, the JSON text of a chat completion or of an error."""
    try:
        body = json.loads(reply)
        if is_filtered(body):
            return Answer(REFUSED)
        usage, choice = body.get("usage") or {}, body["choices"][0]
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        message, content = choice["message"], choice["message"].get("content")
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            return Answer(REFUSED, tokens=tokens)
    except (*UNREADABLE, KeyError, IndexError, AttributeError):
        return Answer(MALFORMED)
    grades = _grades(content)
    return Answer(MALFORMED, tokens=tokens) if grades is None else Answer(GRADED, grades, tokens)


def is_filtered(body: Any) -> bool:
    """Whether the body of a reply is an error that refuses the content."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return isinstance(error, Mapping) and error.get("code") in FILTERS


def _grades(content: Any) -> dict[str, int] | None:
    """Points by criterion, or None for anything else than an object of exactly these whole numbers."""
    try:
        pairs = json.loads(content, object_pairs_hook=list)  # a key that comes twice is seen
        grades = dict(pairs)
    except UNREADABLE:
        return None
    right = len(pairs) == len(grades) and set(grades) == set(CRITERIA)
    return grades if right and all(type(x) is int and LOWEST <= x <= HIGHEST for x in grades.values()) else None
