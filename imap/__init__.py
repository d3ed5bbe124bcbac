"""imap: when and where, in the video, is this word? Saliency maps from video diffusion transformers.

    with imap.trace(pipe, concepts=["ball", "dog"], motions=["rolling"]) as trace:
        video = pipe(prompt="a red ball rolls past a dog")
    maps = trace.maps()

The names below load on first use, so that `import imap` stays quick.
"""

from importlib import import_module
from typing import Any

from imap.errors import ImapError

__version__ = "0.1.0"
__all__ = ["ImapError", "Maps", "Trace", "renoise", "trace"]

_HOMES = {"trace": "imap.api", "renoise": "imap.api", "Trace": "imap.tracing.trace", "Maps": "imap.saliency"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imap' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
