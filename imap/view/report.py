"""The report page of a run: one file that needs no server and no network."""

import base64
import html
import io
import json
import os
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from einops import rearrange
from PIL import Image
from tqdm import tqdm

from imap.view.normalization import six_digits
from imap.view.overlay import DARKENED
from imap.view.pictures import COLORMAPS
from imap.view.sample import KEY_NAMES, Problems, Shown, open_sample

TEMPLATE = Path(__file__).with_name("report.html")
WIDTHS = ((40, 360), (150, 240), (10**9, 160))  # up to so many samples, videos at most so wide
SMALL = 200  # pixels of width: the cells of such a video stay cells when it is enlarged
COLUMNS = 7  # frames in a row of the picture that holds a video
SCALES = {
    "video": "scaled over the video",
    "frame": "scaled in each frame",
    "percentile": "scaled by percentiles 1 to 99",
}
SCALES |= {"shared": "scaled over all words"}


def write_report(folders: Sequence[Path], path: Path, title: str, problems: Problems) -> Path:
    """Write the page of some samples. What is shown of each is inside the page; one that cannot be shown has a card
    that says why, which problems takes up too."""
    width = next(width for count, width in WIDTHS if len(folders) <= count)
    scripts = [_script(folder, width, problems) for folder in tqdm(folders, "report", disable=len(folders) < 5)]
    shared = {
        "keys": KEY_NAMES,
        "scales": SCALES,
        "colours": {name: _base64(_table(name).tobytes()) for name in COLORMAPS},
        "motion_key": "sel_imap_layers",
        "thing_key": "imap_layers",
        "darkened": DARKENED,
    }
    page = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title), shared=_json(shared), samples="\n".join(scripts)
    )
    part = path.with_suffix(".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, path)
    return path


def _script(folder: Path, width: int, problems: Problems) -> str:
    """The data of one sample, as text that the page reads when its card comes near."""
    caption, data = "", None
    with problems.kept(folder, "card in the report"):
        shown = open_sample(folder)
        caption, data = shown.caption, _data(shown, width)
    name, text = html.escape(folder.name), _json(data or {"problem": problems[folder]})
    return f'<script type="application/json" data-name="{name}" data-caption="{html.escape(caption)}">{text}</script>'


def _json(data: Any) -> str:
    """JSON that can stand in a script: no text in it opens or closes anything in the page."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def _data(shown: Shown, width: int) -> dict[str, Any]:
    maps = shown.maps
    latent_frames, *grid = maps[shown.keys[0]].shape[1:]
    layers, steps = list(maps.heads), sorted({step for own in maps.heads.values() for step in own})
    count = max((len(row) for own in maps.scores.values() for row in own.values()), default=0)
    chosen = np.zeros((len(layers), count), int)  # in how many steps each head is a motion head
    for row, layer in enumerate(layers):
        for heads in maps.heads[layer].values():
            chosen[row, heads] += 1
    return {
        "caption": shown.caption,
        "fps": shown.fps,
        "frames": len(shown.frames),
        "latent_frames": latent_frames,
        "grid": grid,
        "texts": list(maps.texts),
        "motions": [text for text in maps.texts if text in maps.motions],
        "video": _video(shown.frames, width),
        "maps": {key: _map(maps[key]) for key in shown.keys},
        "heads": {"layers": layers, "steps": steps, "count": count, "chosen": chosen.tolist()},
        "settings": _settings(shown.meta),
    }


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
    """Maps (texts, frames, h, w) as bytes in one PNG, texts down and frames across, and the values of 0 and 255."""
    low, high = (bound(axis=(1, 2, 3), keepdims=True) for bound in (maps.min, maps.max))
    scaled = np.divide(maps - low, high - low, out=np.zeros_like(maps), where=high > low)
    cells = rearrange((255 * scaled).round().astype(np.uint8), "t f h w -> (t h) (f w)")
    limits = np.stack([low.ravel(), high.ravel()], axis=1)
    return {"source": _picture(Image.fromarray(cells), "png", optimize=True), "limits": six_digits(limits)}


def _settings(meta: Mapping[str, Any]) -> dict[str, str]:
    """What a reader may ask of a run, in words."""
    found = {"video": meta.get("video", ""), "family": meta.get("family", "")}
    found |= {f"{name} (s)": f"{value:.2f}" for name, value in meta.get("seconds", {}).items()}
    asked = meta.get("request", {})
    found |= {name: _plain(value) for name, value in _flat(asked.get("settings", asked)).items()}
    found |= {f"version of {name}": value for name, value in meta.get("versions", {}).items()}
    return {name: value for name, value in found.items() if value not in ("", None)}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    return {key: x for inner in value for key, x in _flat(value[inner], f"{name}.{inner}".lstrip(".")).items()}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _table(name: str) -> np.ndarray:
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]


def _picture(picture: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind};base64,{_base64(file.getvalue())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
