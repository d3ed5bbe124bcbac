"""Pictures that an image-to-video model starts from or ends at: read, checked, and fitted to the video."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from imap.errors import ImapError, first_line
from imap.media.clips import resized

END = {"image": 0, "last_image": -1}  # frame of a clip that replaces a missing picture
UNEVEN = 0.02  # of two shapes: from this relative difference on, a note says that the picture was cut


@dataclass(frozen=True)
class Pictures:
    """Pictures for one call of an image-to-video pipeline.

    Attributes:
        arguments: PIL images of the video's size, by argument of the call.
        record: facts for meta.json, by argument.
        notes: what readers of the maps must know.
    """

    arguments: Mapping[str, Image.Image]
    record: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def read_picture(name: str, picture: Any) -> np.ndarray:
    """A picture as uint8 (height, width, 3), upright.

    Args:
        name: of the argument, for errors.
        picture: a file, a PIL image, or an array (height, width, 3) of uint8.

    Raises:
        ImapError: for a file that is missing, is no picture or holds several, and for another array.
    """
    if isinstance(picture, str | Path):
        return _read_file(name, Path(picture))
    if isinstance(picture, Image.Image):
        return _upright(name, picture)
    is_array = isinstance(picture, np.ndarray)
    if is_array and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size:
        return picture
    shape = f" of shape {picture.shape} and {picture.dtype}" if is_array else ""
    raise ImapError(
        f"{name} is a {type(picture).__name__}{shape}; expected a picture file, a PIL image or uint8 (height, width, 3)"
    )


def _read_file(name: str, path: Path) -> np.ndarray:
    if not path.is_file():
        what = "is a folder; give a picture file" if path.is_dir() else "does not exist"
        raise ImapError(f"{name}: {path.absolute()} {what}")
    try:
        with Image.open(path) as opened:
            return _upright(f"{name}: {path}", opened)
    except ImapError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImapError(f"{name}: {path} cannot be read as a picture: {first_line(error)}") from None


def _upright(name: str, picture: Image.Image) -> np.ndarray:
    """A single picture as uint8 (height, width, 3), turned as its camera was held. Raises ImapError for others."""
    count = getattr(picture, "n_frames", 1)
    if count > 1:
        raise ImapError(f"{name} holds {count} pictures; give one, as a PNG or JPEG file")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # Pillow would cut off what is above 255
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ImapError(f"{name} has pixels of 32 bits (mode {picture.mode}), of unknown range; save it with 8 bits")
    return np.array(picture.convert("RGB"))  # a copy: what a picture shows of itself cannot be written to


def check_pictures(given: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...], model: str) -> None:
    """Raise ImapError for pictures that a model does not take, or needs and does not get.

    Args:
        given: pictures by argument, or None for those that a clip's frames replace.
        required, optional: arguments of the model's call.
        model: its name, for errors.
    """
    for name in given:
        if name not in (*required, *optional):
            known = ", ".join(dict.fromkeys((*required, *optional)))
            takes = f"it takes {known}" if known else "it makes videos from text alone"
            raise ImapError(f"{name} is set, and {model} takes no {name}: {takes}; leave {name} out or choose another")
    for name in required:
        if name not in given:
            raise ImapError(f"{model} makes videos from pictures: set {name} to a picture")


def fit_pictures(given: Mapping[str, Any], height: int, width: int, frames: np.ndarray | None = None) -> Pictures:
    """Pictures at the size of a video: scaled to cover it, with the middle cut out.

    Args:
        given: pictures as `read_picture` takes them, by argument. None takes a frame of the clip.
        height, width: of the video in pixels.
        frames: the clip, uint8 (frames, height, width, 3).

    Raises:
        ImapError: as `read_picture` does.
    """
    arguments, record, notes = {}, {}, []
    for name, picture in given.items():
        if picture is None:
            assert frames is not None
            pixels, source = frames[END[name]], "the clip's first frame" if END[name] == 0 else "the clip's last frame"
        else:
            pixels, source = read_picture(name, picture), "given"
        own = pixels.shape[:2]
        if own != (height, width):
            pixels = resized(pixels, (height, width), "crop")
        if abs(own[0] * width / (own[1] * height) - 1) > UNEVEN:
            notes.append(f"{name} of {own[0]}x{own[1]} was cut to the video's shape, {height}x{width} (height x width)")
        arguments[name] = Image.fromarray(pixels)
        record[name] = {"source": source, "height": own[0], "width": own[1]}
    return Pictures(arguments, record, tuple(notes))
