"""What finished samples of a model took: seconds, and bytes of their files."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from imap.map_files import ARRAYS, META, VIEW, read_meta, sizes_of, total_seconds
from imap.runs.folders import RUN

MOST = 200  # samples that are read of a folder
Sample = tuple[Path, Mapping[str, Any]]  # folder and meta.json


def like_samples(output_dir: Path, settings: Mapping[str, Any], device: str) -> list[Sample]:
    """Finished samples of the same model, size, length, steps and kind of device.

    They are those of the output folder, else those of the folders beside it that have a run.json.

    Args:
        output_dir: of the run.
        settings: recorded settings of the run.
        device: kind of device, such as cuda.
    """
    wanted = _what_takes_time(settings, device)
    beside = sorted(path.parent for path in output_dir.absolute().parent.glob(f"*/{RUN}"))
    for folders in ([output_dir], beside):
        found = [one for folder in folders for one in islice(_of_folder(folder, wanted), MOST)]
        if found:
            return found
    return []


def _of_folder(folder: Path, wanted: str) -> Iterator[Sample]:
    for path in sorted(folder.glob(f"[!.]*/{META}")):
        meta = read_meta(path.parent) or {}
        try:
            same = _what_takes_time(meta["request"]["settings"], meta["device"]) == wanted
        except (KeyError, TypeError, AttributeError):  # of an earlier version
            continue
        if same:
            yield path.parent, meta


def _what_takes_time(settings: Mapping[str, Any], device: str) -> str:
    """The settings that decide how long a sample takes, and how large it is, but for its words."""
    method = settings["method"]
    named = {key: settings.get(key) for key in ("model", "height", "width", "num_frames", "num_inference_steps")}
    named |= {key: settings.get(key) for key in ("read", "renoise_timestep", "test_full_denoise")}
    named |= {key: method.get(key) for key in ("effect", "keep", "maps_timesteps", "prompt_tokens", "random_heads")}
    guided = settings["guidance_scale"] > 1
    return json.dumps([named, guided, str(device).partition(":")[0]], sort_keys=True)


def mean_seconds(samples: list[Sample]) -> float | None:
    """Mean of all stages of a sample together; None without a sample that records them."""
    taken = [seconds for _, meta in samples if (seconds := total_seconds(meta))]
    return fmean(taken) if taken else None


def mean_bytes(samples: list[Sample]) -> tuple[float | None, float | None]:
    """Mean bytes of a sample's files without its maps, and of its pictures; None where no sample has them."""
    others, pictures = [], []
    for folder, _ in samples:
        sizes = sizes_of(folder)
        shown = sum(size for name, size in sizes.items() if name.startswith(f"{VIEW}/"))
        others.append(sum(size for name, size in sizes.items() if not name.startswith((f"{VIEW}/", f"{ARRAYS}/"))))
        pictures += [shown] if shown else []
    return fmean(others) if others else None, fmean(pictures) if pictures else None
