"""Raw replies on disk, by the content of the request: the same request is not paid for twice."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imap.atomic import replaced
from imap.evaluation.judge.protocol import SCHEMA


def digest(model: str, temperature: float | None, text: str, pictures: Sequence[np.ndarray]) -> str:
    """Name of a request: SHA-256 of the model, its temperature, the prompt, the form of the answer and the pixels."""
    of = hashlib.sha256(json.dumps([model, temperature, text, SCHEMA], sort_keys=True).encode())
    for picture in pictures:
        of.update(f"{picture.shape}{picture.dtype}".encode())
        of.update(np.ascontiguousarray(picture).tobytes())
    return of.hexdigest()


class Replies:
    """Replies in a folder, one JSON file each: the model, the prompt and the raw reply."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """File of a request, whether it exists or not."""
        return self.folder / f"{name}.json"

    def get(self, name: str) -> str | None:
        """Raw reply to a request; None if there is none, or its file is damaged."""
        try:
            reply = json.loads(self.path(name).read_text(encoding="utf-8"))["reply"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return reply if isinstance(reply, str) else None

    def put(self, name: str, model: str, text: str, reply: str) -> None:
        """Keep a reply, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replaced(self.path(name)) as part:
            record = {"model": model, "prompt": text, "reply": reply}
            part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
