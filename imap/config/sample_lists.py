"""Samples of a command: an input list, one sample, or the built-in example."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imap.config.checks import check_path
from imap.config.samples import OPTIONS, PICTURES, Sample, make_sample
from imap.errors import ImapError, brief, first_line

KEYS = ("caption", "concepts", "object", "video_path", *PICTURES, "camera", "motion_idx")
FAULTS = 5  # entries that an error names


def read_list(
    path: Path, concept_option: str = "st", with_video: bool = False, named: int | None = FAULTS
) -> list[Sample]:
    """Samples of a JSON list in the release's format (docs/method.md, 8).

    Args:
        path: a list of objects with the keys `KEYS`.
        concept_option: as in `make_sample`.
        with_video: each entry needs a `video_path`. Relative files start at the working folder, else at the list's.
        named: how many faulty entries the error names; None for all.

    Raises:
        ImapError: one error for all faulty entries.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except FileNotFoundError:
        raise ImapError(f"input_json: there is no file {path.absolute()}") from None
    except ImapError as error:
        raise ImapError(f"input_json: {path}: {error}") from None
    except RecursionError:
        raise ImapError(f"input_json: {path} is nested too deeply; expected a list of objects") from None
    except ValueError as error:  # also for numbers of thousands of digits
        raise ImapError(f"input_json: {path} is not valid JSON: {first_line(error)}") from None
    except OSError as error:
        raise ImapError(f"input_json: cannot read {path}: {error.strerror}") from None
    if not isinstance(entries, list) or not entries:
        raise ImapError(f"input_json: {path} must be a list of at least one entry with {', '.join(KEYS[:3])}")
    samples, faults = [], []
    for index, entry in enumerate(entries):
        try:
            samples.append(_entry(entry, concept_option, with_video, path.parent))
        except ImapError as error:
            faults.append(f"entry {index}: {error}")
    if faults:
        shown = faults[:named]
        rest = f"; and {len(faults) - len(shown)} more" if len(faults) > len(shown) else ""
        raise ImapError(f"input_json: {path}: {'; '.join(shown)}{rest}")
    return samples


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a list. Raises ImapError for a key that comes twice, of which Python would keep the last value."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ImapError(f"the key {brief(twice)} comes twice in one entry; write it once")
    return entry


def _entry(entry: Any, concept_option: str, with_video: bool, folder: Path) -> Sample:
    if not isinstance(entry, dict):
        raise ImapError(f"expected an object with {', '.join(KEYS[:3])}, got {type(entry).__name__}")
    for key in entry:
        if key not in KEYS:
            raise ImapError(f"unknown key {brief(key)}; choose from {', '.join(KEYS)}")
    video = entry.get("video_path") if with_video else None
    if with_video and not (isinstance(video, str) and video):
        raise ImapError("video_path is missing or not a string; renoising needs a clip for every entry")
    pictures = {name: entry.get(name) for name in PICTURES}
    for name, picture in pictures.items():
        if not isinstance(picture, str | None):
            raise ImapError(f"{name}={brief(picture)} is not a string; set it to a picture file")
    texts = (entry.get("caption"), entry.get("concepts"), entry.get("object"))
    sample = make_sample(*texts, video, concept_option, **pictures)
    return replace(sample, **{name: _found(path, folder) for name, path in sample.files.items()})


def _found(path: Path, folder: Path) -> Path:
    """A file that an entry names: of the working folder, else beside the list."""
    beside = folder / path
    return beside if not path.is_absolute() and not path.exists() and beside.exists() else path


def samples_of(config: Mapping[str, Any], renoising: bool, demo: Mapping[str, Any] | None = None) -> list[Sample]:
    """Samples of a command: the list `input_json`, else one of `prompt` and words, else the built-in example.

    Args:
        config: plain values of a composed configuration.
        renoising: samples need a clip.
        demo: built-in example of the backbone, if it has one.

    Raises:
        ImapError: if there is no sample, or it is incomplete.
    """
    option = config["concept_option"]
    if str(option) not in OPTIONS:
        raise ImapError(
            f"concept_option={brief(option)} is not known; it can be s (concepts), t (motions) or st (both)"
        )
    names = ("prompt", "concepts", "motions", "video_path", *PICTURES)
    typed = [name for name in names if config.get(name) is not None]
    if config["input_json"] is not None:
        if typed:
            raise ImapError(f"input_json and {typed[0]} are both set; set a list or a single sample, not both")
        named = None if config.get("dry_run") else FAULTS
        return read_list(Path(check_path("input_json", config["input_json"])), option, renoising, named)
    if not typed and demo and renoising and demo.get("input_json"):
        return read_list(Path(demo["input_json"]), option, with_video=True)
    if not typed and demo and not renoising and demo.get("prompt"):
        return [make_sample(demo["prompt"], demo["concepts"], demo["motions"], None, option)]
    if not typed:
        raise ImapError(
            'no sample is set; set prompt="..." with concepts="..." or motions="...", '
            + ("and video_path=FILE, " if renoising else "")
            + "or input_json=FILE"
        )
    if renoising and not config["video_path"]:
        raise ImapError(f"video_path is missing; set it to a video file{_or_built_in(demo, typed)}")
    if not config["prompt"]:
        raise ImapError(
            f'the prompt is empty; describe the video in a sentence with prompt="..."{_or_built_in(demo, typed)}'
        )
    video = config["video_path"] if renoising else None
    pictures = {name: config.get(name) for name in PICTURES}
    return [make_sample(config["prompt"], config["concepts"], config["motions"], video, option, **pictures)]


def _or_built_in(demo: Mapping[str, Any] | None, typed: Sequence[str]) -> str:
    """A hint for users who want the built-in example and have set only a part of it."""
    return f", or leave out {' and '.join(typed)} to run the whole built-in example" if demo else ""
