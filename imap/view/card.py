"""What the report page holds of one sample, in plain values and pictures as text."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from einops import rearrange
from PIL import Image

from imap.map_files import FAITHFULNESS
from imap.saliency import Maps
from imap.view.normalization import PERCENTILES, six_digits
from imap.view.outline import contours
from imap.view.sample import Shown
from imap.view.upsampling import latent_frame

SMALL = 200  # pixels of width: the cells of such a video stay cells when it is enlarged
FINE = 1000  # parts of a frame's side in which outlines are given
SPIKY = 0.2  # of the range: below it, a byte would leave the colours in steps
COLUMNS = 7  # frames in a row of the picture that holds a video


def card(shown: Shown, width: int, keys: Sequence[str], truth: bool = True) -> dict[str, Any]:
    """A sample with the maps of some keys, its video at most so many pixels wide. truth: with the outlines of it."""
    maps = shown.maps
    latent_frames, *grid = maps[keys[0]].shape[1:]
    return {
        "caption": shown.caption,
        "notes": shown.notes,
        "times": [round(float(x), 4) for x in shown.times],
        "frames": len(shown.frames),
        "latent_frames": latent_frames,
        "latent_of": [latent_frame(frame, latent_frames, len(shown.frames)) for frame in range(len(shown.frames))],
        "grid": grid,
        "texts": list(maps.texts),
        "motions": [text for text in maps.texts if text in maps.motions],
        "video": _video(shown.frames, width),
        "shown": [maps.key_of(text) for text in maps.texts],
        "agreements": _agreement(shown.meta.get(FAITHFULNESS, {}), maps, keys),
        "maps": {key: _map(maps[key]) for key in keys},
        "truth": _truth(shown.truth) if truth else {},
        "heads": _heads(maps),
        "settings": _settings(shown.meta),
    }


def _agreement(scores: Mapping[str, Any], maps: Maps, keys: Sequence[str]) -> dict[str, list]:
    """By key, for every text: rank correlation and average precision against the effect, overall and in time."""
    names = ("rank", "ap", "rank_time")
    if not scores:
        return {}
    by_text = [scores.get(text, {}) for text in maps.texts]
    return {key: [[x[key].get(name) for name in names] if key in x else None for x in by_text] for key in keys}


def _truth(truth: Mapping[str, np.ndarray]) -> dict[str, list]:
    """Outlines by word and frame: polygons x, y, x, y ... in thousandths of the frame."""
    return {
        word: [[(FINE * polygon).round().astype(int).ravel().tolist() for polygon in contours(mask)] for mask in masks]
        for word, masks in truth.items()
    }


def _heads(maps: Maps) -> dict[str, Any]:
    """chosen: the motion heads of every layer and step, best first; count: how many heads there are to choose from."""
    layers, steps = list(maps.heads), sorted({step for by_step in maps.heads.values() for step in by_step})
    count = max((len(row) for by_step in maps.scores.values() for row in by_step.values()), default=0)
    chosen = [[maps.heads[layer].get(step, []) for step in steps] for layer in layers]
    return {"layers": layers, "steps": steps, "count": count, "chosen": chosen}


def _video(frames: np.ndarray, width: int) -> dict[str, Any]:
    """All frames in one JPEG, row by row, so that each is there at once and exactly."""
    factor = min(1, width / frames.shape[2])
    size = (round(frames.shape[2] * factor), round(frames.shape[1] * factor))
    small = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames]
    rows = -(-len(small) // COLUMNS)
    sheet = np.zeros((rows * COLUMNS, size[1], size[0], 3), np.uint8)
    sheet[: len(small)] = small
    picture = Image.fromarray(rearrange(sheet, "(r c) h w x -> (r h) (c w) x", c=COLUMNS))
    source = _picture(picture, "jpeg", quality=85 if factor == 1 else 78, subsampling=0)
    return {"source": source, "width": size[0], "height": size[1], "columns": COLUMNS, "small": frames.shape[2] < SMALL}


def _map(maps: np.ndarray) -> dict[str, Any]:
    """Maps (texts, frames, h, w) in one PNG, texts down and frames across, and the values of its 0 and 255.

    Values are bytes. If single cells take most of the range, further bytes follow in the green and blue channels.
    """
    low, high = (bound(axis=(1, 2, 3), keepdims=True) for bound in (maps.min, maps.max))
    scaled = np.divide(maps - low, high - low, out=np.zeros(maps.shape), where=high > low)
    cells = 255 * rearrange(scaled, "t f h w -> (t h) (f w)")
    middle, top = np.percentile(scaled, PERCENTILES["median"], axis=(1, 2, 3))
    if ((top > middle) & (top - middle < SPIKY)).any():
        first = np.floor(cells)
        second = np.floor(256 * (cells - first))
        third = np.floor(256 * (256 * (cells - first) - second))
        cells = np.stack([first, second, third], axis=-1)
    limits = np.stack([low.ravel(), high.ravel()], axis=1)
    picture = Image.fromarray((cells.round() if cells.ndim == 2 else cells).astype(np.uint8))
    return {"source": _picture(picture, "png", optimize=True), "limits": six_digits(limits)}


def _settings(meta: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Settings, timings and versions of a sample, in words, by group, each sorted by name."""
    request = meta.get("request", {})
    settings = flat(request.get("settings", request))
    groups = {name.split(".")[0] for name in settings if "." in name}
    found = {"Run": {"video": meta.get("video", ""), "family": meta.get("family", "")}}
    for name in sorted(settings):
        group = name.split(".")[0]
        found.setdefault(group.capitalize() if group in groups else "Run", {})[name] = plain(settings[name])
    found["Seconds"] = {name: f"{value:.2f}" for name, value in meta.get("seconds", {}).items()}
    found["Versions"] = dict(sorted(meta.get("versions", {}).items()))
    found = {group: {name: x for name, x in values.items() if x not in ("", None)} for group, values in found.items()}
    return {group: values for group, values in found.items() if values}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names."""
    if not isinstance(value, Mapping):
        return {name: value}
    return {key: x for inner in value for key, x in flat(value[inner], f"{name}.{inner}".lstrip(".")).items()}


def plain(value: Any) -> str:
    """A setting's value as text."""
    return value if isinstance(value, str) else json.dumps(value)


def _picture(picture: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64_of(file.getvalue())}"


def base64_of(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode()
