"""Checked settings of a run, and its samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from imap.config.checks import check_boolean, check_guidance, check_path, check_seed, check_steps, positive
from imap.config.method import AUTO, Method, checked_range
from imap.errors import ImapError, brief
from imap.media.clip_times import check_seconds
from imap.media.clips import Fit
from imap.media.video_io import check_fps

METHOD_KEYS = tuple(x.name for x in fields(Method))
DURING, AFTER, BOTH = READINGS = ("during", "after", "both")
UNRECORDED = ("output_dir", "pictures", "chooses_layers")  # chooses_layers is recorded as imap_layer=auto


@dataclass(frozen=True)
class Run:
    """Settings of one run over a list of samples. `method`: values of `Method` by field; None takes the paper's."""

    output_dir: Path
    seed: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    height: int
    width: int
    num_frames: int
    fps: float | None  # None: as the clip has it
    method: Mapping[str, Any]
    chooses_layers: bool = False  # imap_layer=auto: chosen by lambda_2 after the model is loaded
    pictures: bool = True
    read: str = DURING
    renoise_timestep: tuple[int, ...] = ()
    test_full_denoise: bool = False
    fit: Fit = field(default_factory=Fit)

    def recorded(self) -> dict[str, Any]:
        """Settings that change a result, in plain values. `meta.json` records them."""
        recorded = {key: _plain(x) for key, x in asdict(self).items() if key not in UNRECORDED}
        if self.read == DURING:  # as before there was this setting
            del recorded["read"]
        if self.fit.seconds is None:  # the same
            del recorded["fit"]["seconds"]
        return recorded


def run_settings(config: Mapping[str, Any], renoising: bool) -> Run:
    """Check the run settings of a composed configuration.

    Args:
        config: plain values.
        renoising: also check the settings of clips.

    Raises:
        ImapError: for a value that is unknown or out of range.
    """
    numbers = {name: positive(name, config[name]) for name in ("height", "width", "num_frames")}
    seed, guidance = check_seed(config["seed"]), check_guidance(config["guidance_scale"])
    steps = check_steps(config["num_inference_steps"])
    if not config["output_dir"]:
        raise ImapError("output_dir is empty; set a folder, or . for the working folder")
    check_path("output_dir", config["output_dir"])
    method = {key: config[key] for key in METHOD_KEYS}
    chooses_layers = str(method["imap_layer"]).lower() == AUTO
    run = Run(
        pictures=check_boolean("pictures", config["pictures"]),
        chooses_layers=chooses_layers,
        output_dir=Path(str(config["output_dir"])),
        seed=seed,
        guidance_scale=guidance,
        negative_prompt=str(config["negative_prompt"] or ""),
        method=method | {"imap_layer": _until_chosen(config)} if chooses_layers else method,
        num_inference_steps=steps,
        height=numbers["height"],
        width=numbers["width"],
        num_frames=numbers["num_frames"],
        fps=None if renoising and config["fps"] is None else check_fps(config["fps"]),
    )
    return _with_clip_settings(run, config) if renoising else _with_reading(run, config)


def _until_chosen(config: Mapping[str, Any]) -> list[int] | None:
    """Layers until lambda_2 has chosen some: those of the paper, or one for a model without tuned ones."""
    return [0] if config["backbone"]["paper"]["imap_layer"] == AUTO else None


def _with_reading(run: Run, config: Mapping[str, Any]) -> Run:
    if config["read"] not in READINGS:
        raise ImapError(f"read={brief(config['read'])} is not known; it can be {', '.join(READINGS)}")
    indices = config["read_timestep"]
    if config["read"] == DURING:
        if indices is not None:
            raise ImapError(f"read_timestep={indices} is of the finished video; set read=after or read=both with it")
        return run
    if indices is None:
        indices = scaled_indices(config["backbone"]["paper"], run.num_inference_steps)
    if run.method["maps_timesteps"] is not None and config["read"] == AFTER:
        raise ImapError(
            "maps_timesteps are steps of sampling, and read=after reads the finished video; set read=during, or "
            "read_timestep instead"
        )
    if isinstance(run.method["effect"], Sequence) and not isinstance(run.method["effect"], str):
        raise ImapError(
            "effect lists steps of sampling, and the finished video has read_timestep; set effect=true and "
            "read_timestep, or read=during"
        )
    indices = check_renoise_timestep(indices, run.num_inference_steps, None, False, "read_timestep")
    return replace(run, read=config["read"], renoise_timestep=indices)


def scaled_indices(paper: Mapping[str, Any], num_inference_steps: int) -> list[int]:
    """Renoising indices of a model, at about the same noise levels of another schedule.

    Args:
        paper: of the model's preset.
        num_inference_steps: of the schedule.
    """
    indices = [paper["renoise_timestep"]] if isinstance(paper["renoise_timestep"], int) else paper["renoise_timestep"]
    scale = num_inference_steps / paper["num_inference_steps"]
    return list(dict.fromkeys(min(round(i * scale), num_inference_steps - 1) for i in indices))


def _with_clip_settings(run: Run, config: Mapping[str, Any]) -> Run:
    if isinstance(run.method["effect"], Sequence) and not isinstance(run.method["effect"], str):
        raise ImapError(f"effect={brief(run.method['effect'])}: a clip is read at renoise_timestep; set effect=true")
    full = check_boolean("test_full_denoise", config["test_full_denoise"])
    indices = check_renoise_timestep(
        config["renoise_timestep"],
        run.num_inference_steps,
        None if config["maps_timesteps"] is None else checked_range("maps_timesteps", config["maps_timesteps"]),
        full,
    )
    video = config["video"] or {}
    if not isinstance(video, Mapping):
        raise ImapError(f"video={brief(video)} is not known; set video.resize, video.frames and video.seconds")
    how = (video.get("resize") or "none", video.get("frames") or "none", check_seconds(video.get("seconds")))
    fit = Fit(run.height, run.width, run.num_frames, *how)
    return replace(run, renoise_timestep=indices, test_full_denoise=full, fit=fit)


def check_renoise_timestep(
    value: int | Sequence[int] | None,
    num_inference_steps: int,
    maps_timesteps: Sequence[int] | None,
    full: bool,
    name: str = "renoise_timestep",
) -> tuple[int, ...]:
    """Check the step indices to add noise for.

    Args:
        value: the setting.
        num_inference_steps: length of the schedule.
        maps_timesteps: range [start, stop) of steps that maps are averaged over; None for all.
        full: denoise from the first index to the end.
        name: of the setting.

    Returns:
        Indices within `maps_timesteps`, each once; with `full`, the first index.

    Raises:
        ImapError: for steps that do not exist, or if no step lies in `maps_timesteps`.
    """
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    indices = [value] if isinstance(value, int) else value if isinstance(value, Sequence) else []
    if (
        isinstance(indices, str | bytes)
        or not indices
        or not all(isinstance(i, Integral) and not isinstance(i, bool) for i in indices)
    ):
        raise ImapError(f"{name}={brief(value)} is not a list of step indices; write it as {name}=[30]")
    indices = [int(i) for i in indices]
    for i in indices:
        if not 0 <= i < num_inference_steps:
            raise ImapError(
                f"{name} names step {brief(i)}, but num_inference_steps={num_inference_steps} has steps 0 to "
                f"{num_inference_steps - 1}; set {name} to one of them, such as [{num_inference_steps // 2}]"
            )
    steps = range(indices[0], num_inference_steps) if full else indices
    with_maps = [i for i in steps if maps_timesteps is None or i in range(*maps_timesteps)]
    if not with_maps:
        raise ImapError(
            f"no step of {name}={brief(indices)} lies in maps_timesteps={list(maps_timesteps or ())}; "
            "widen maps_timesteps"
        )
    return (indices[0],) if full else tuple(dict.fromkeys(with_maps))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(x) for x in value]
    return str(value) if isinstance(value, Path) else value
