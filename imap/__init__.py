"""imap shows which pixels of which frames a word refers to, in a generated or a real video.

It works with unmodified diffusers pipelines of CogVideoX, Wan and HunyuanVideo.

    with imap.trace(pipe, prompt, concepts=["ball", "dog"], motions=["rolling"]) as trace:
        video = pipe(prompt=prompt).frames[0]
    maps = trace.maps()
    maps.show("rolling", video)

Public names load on first use, so that `import imap` stays fast.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imap.errors import ImapError
from imap.methods.registry import SaliencyMap

if TYPE_CHECKING:
    from imap.api.calls import read_after, trace
    from imap.api.clips import effect, renoise
    from imap.saliency import Maps
    from imap.tracing.trace import Trace

__version__ = "0.1.0"
__all__ = ["ImapError", "Maps", "SaliencyMap", "Trace", "demo_model", "effect", "read_after", "renoise", "trace"]

_MODULES: dict[str, str] = dict.fromkeys(("read_after", "trace"), "imap.api.calls")
_MODULES |= dict.fromkeys(("effect", "renoise"), "imap.api.clips")
_MODULES |= {"Trace": "imap.tracing.trace", "Maps": "imap.saliency"}


def demo_model(family: str = "wan") -> str:
    """Folder of a small trained pipeline that is part of imap, for `DiffusionPipeline.from_pretrained`.

    It knows a world of coloured shapes, 25 frames of 64x64 pixels, and runs on a CPU in seconds.

    Args:
        family: cogvideox, wan or hunyuanvideo.

    Raises:
        ImapError: for another family.
    """
    folder = Path(__file__).parent / "shapes" / "weights"
    families = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if family not in families:
        raise ImapError(f"there is no small model of {family!r}; choose {', '.join(families)}")
    return str(folder / family)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'imap' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
