"""Pictures straight from Python: overlays, strips and moving pictures of maps that are not in a folder yet."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from io import BytesIO
from itertools import pairwise
from math import nan
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from imap.errors import ImapError
from imap.media.clip_file import LONGEST
from imap.media.clips import as_frames as as_pixels
from imap.media.clips import read_clip
from imap.media.video_io import RATE, check_fps, mean_rate, times_of, write_video
from imap.saliency import Maps
from imap.view.lengths import check_length
from imap.view.look import Look
from imap.view.masks import masked, video_size
from imap.view.moving import animated_png, gif, over
from imap.view.overview import PANEL, overview
from imap.view.pictures import OVERVIEW, WORD_PANEL, file_names, limits_of, row_of
from imap.view.sample import Shown, blank_frames, check_finite
from imap.view.strip import strip
from imap.view.threshold import check_threshold

NOTEBOOK_DPI = 80  # of figures that are stored in a notebook
NOTEBOOK_SIZE = 0.7  # of moving pictures there, which would fill it
PICTURES = tuple(x.name for x in fields(Look) if x.name not in ("key", "masks", "mask_threshold"))
SCALE = ("normalization", "space")  # settings that change a mask
WINDOWS = ("qtagg", "qt5agg", "tkagg", "gtk3agg", "gtk4agg", "wxagg", "macosx")  # backends of matplotlib


def as_frames(video: Any, maps: Maps) -> np.ndarray:
    """A video as uint8 frames (frames, height, width, 3).

    Args:
        video: an array (frames, height, width, 3) of uint8 or of floats in [0, 1], a tensor (frames, 3, height, width),
            PIL images, or a batch of one of these; or the path of a video file.
        maps: whose latent frames the video must fit.

    Raises:
        ImapError: for another shape, dtype or length.
    """
    if hasattr(video, "detach"):  # a torch tensor; view does not import torch
        array = video.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
        video = np.moveaxis(array, -3, -1) if array.shape[-1] != 3 else array
    if isinstance(video, np.ndarray) and video.ndim == 5 and len(video) == 1:
        video = video[0]
    if isinstance(video, Sequence) and len(video) == 1 and isinstance(video[0], Sequence | np.ndarray):
        video = video[0]
    if isinstance(video, str | Path):
        video = read_clip(video)
    frames = as_pixels(video)
    check_length(maps, len(frames))
    return frames


def clock(maps: Maps, frames: int, fps: Any) -> float | Sequence[float]:
    """Frames per second, or times of frames: as given, or of the clip that the maps were read from, or RATE."""
    times = maps.facts.get("clip", {}).get("times", ()) if fps is None else fps
    if not isinstance(times, Sequence) or isinstance(times, str):
        return check_fps(times)
    times = [float(x) if isinstance(x, Real) else nan for x in times]
    if len(times) == frames + 1 and all(a < b <= a + LONGEST for a, b in pairwise(times)):
        return times
    if fps is None:
        return RATE
    raise ImapError(
        f"fps holds {len(times)} times, and {frames} frames need {frames + 1} that rise, each by at most {LONGEST} s"
    )


def overlay(maps: Maps, text: str, video: Any, key: str | None, **look: Any) -> np.ndarray:
    """As `Maps.overlay`."""
    shown, settings = _shown(maps, video), _look(key, look)
    _, _, x, _ = row_of(shown, text, settings)
    return np.stack(list(over(shown.frames, x, settings, shown.has_video)))


def mask(
    maps: Maps, text: str, threshold: Any, video: Any, key: str | None, size: Any = None, **look: Any
) -> np.ndarray:
    """As `Maps.mask`."""
    threshold = check_threshold(threshold)
    check_finite(maps)
    settings = _look(None, look, SCALE, "masks")
    if video is not None and size is not None:
        raise ImapError("give either video= or size=, and not both: a mask has the size of its video")
    frames = as_frames(video, maps).shape[:3] if video is not None else video_size(maps, size)
    return masked(maps, text, maps.key_of(text, key), threshold, frames, settings).masks


def plot(maps: Maps, video: Any, key: str | None, caption: str | None, fps: Any, **look: Any) -> Figure:
    """As `Maps.plot`."""
    shown, settings = _shown(maps, video, caption, fps), _look(key, look)
    found = [row_of(shown, text, settings) for text in maps.texts]
    rows = [(text, of, x, limits_of(normalized)) for text, of, x, normalized in found]
    figure = strip(shown, rows, settings.colormap, settings.opacity, settings.space, settings.columns)
    if _in_notebook():
        figure.set_dpi(min(figure.dpi, NOTEBOOK_DPI))
    vars(figure)["_repr_png_"] = partial(_png, figure)  # notebooks draw by themselves only figures of pyplot
    return figure


def show(
    maps: Maps, text: str | Sequence[str] | None, video: Any, key: str | None, fps: Any, path: Any, **look: Any
) -> Path | None:
    """As `Maps.show`."""
    texts = _texts(maps, text)
    shown, settings = _shown(maps, video, None, fps), _look(key, look)
    words = [row_of(shown, text, settings)[:3] for text in texts]
    inline = path is None and _in_notebook()
    panel = (WORD_PANEL if len(words) == 1 else PANEL) * (NOTEBOOK_SIZE if inline else 1)
    frames = list(overview(shown, words, settings, round(panel)))
    if inline:
        from IPython.display import Image as Picture
        from IPython.display import display

        # an image is shown where videos and image/gif are not: GitHub, nbconvert, notebooks that are not trusted yet
        display(Picture(data=animated_png(frames, shown.times, settings.colormap), format="png"))
        return None
    if path is None and _has_window():
        _animate(frames, shown.times, ", ".join(texts))
        return None
    name = OVERVIEW if text is None else file_names([" ".join(texts)])[0]
    of = "" if key is None else f"-{maps.key_of(texts[0], key)}"
    path = Path(path or f"imap-{name}{of}.gif")
    _write(path, frames, shown.times, settings.colormap)
    print(path)
    return path


def _texts(maps: Maps, text: Any) -> Sequence[str]:
    """The words to show."""
    texts = maps.texts if text is None else (text,) if isinstance(text, str) else text
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(x, str) for x in texts):
        raise ImapError(
            f"show takes a word, a list of words, or None for all of them, and got {type(text).__name__}; give frames "
            "as video=..."
        )
    return texts


def _look(
    key: str | None, settings: Mapping[str, Any], known: Sequence[str] = PICTURES, what: str = "pictures"
) -> Look:
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ImapError(f"{unknown[0]}= is not a setting of {what}; there are {', '.join(known)}")
    return Look("auto" if key is None else key, **settings)


def _shown(maps: Maps, video: Any, caption: str | None = None, fps: Any = None) -> Shown:
    check_finite(maps)
    frames = blank_frames(maps) if video is None else as_frames(video, maps)
    meta = {"prompt": caption or maps.facts.get("prompt", ""), "notes": maps.facts.get("notes", ())}
    times = times_of(clock(maps, len(frames), fps), len(frames))
    return Shown(Path(), frames, times, maps, meta, has_video=video is not None)


def _write(path: Path, frames: Sequence[np.ndarray], times: Sequence[float], colormap: str) -> None:
    """Write a gif or an mp4."""
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ImapError(f"path={str(path)!r} ends in {path.suffix!r}; expected .gif or .mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".mp4":
        write_video(path, frames, times)
    else:
        path.write_bytes(gif(frames, times, colormap))


def _in_notebook() -> bool:
    """Whether this process runs cells of a notebook."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and shell.has_trait("kernel")


def _png(figure: Figure) -> bytes:
    """A figure as a notebook shows it."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=min(figure.dpi, NOTEBOOK_DPI), pil_kwargs={"optimize": True})
    return file.getvalue()


def _has_window() -> bool:
    """Whether matplotlib can open a window here."""
    import matplotlib.pyplot as plt

    return plt.get_backend().lower() in WINDOWS


def _animate(frames: Sequence[np.ndarray], times: Sequence[float], title: str) -> None:
    """Play frames in a window until it is closed."""
    import matplotlib.pyplot as plt
    from matplotlib.animation import FuncAnimation

    height, width = frames[0].shape[:2]
    figure = plt.figure(title, figsize=(width / 100, height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    picture = axes.imshow(frames[0])

    def draw(frame: np.ndarray) -> list:
        picture.set_data(frame)
        return [picture]

    animation = FuncAnimation(figure, draw, frames, interval=1000 / mean_rate(times))
    plt.show()
    del animation  # it must live until the window is closed
