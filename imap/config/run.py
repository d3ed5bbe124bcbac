"""Checked settings of a run, and its samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from pathlib import Path
from typing import Any

from imap.config.method import Method, checked_range
from imap.errors import ImapError
from imap.media.clips import Fit

AUTO = "auto"
METHOD_KEYS = tuple(x.name for x in fields(Method))
DURING, AFTER, BOTH = READINGS = ("during", "after", "both")
UNRECORDED = ("output_dir", "pictures", "chooses_layers")  # chooses_layers is recorded as imap_layer=auto
LONGEST_SCHEDULE = 1000  # training timesteps of all three families


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
    fps: int
    method: Mapping[str, Any]
    chooses_layers: bool = False  # imap_layer=auto: chosen by lambda_2 after the model is loaded
    pictures: bool = True
    read: str = DURING
    renoise_timestep: tuple[int, ...] = ()
    test_full_denoise: bool = False
    fit: Fit = field(default_factory=Fit)

    def recorded(self) -> dict[str, Any]:
        """Settings that change a result, in plain values. `meta.json` records them."""
        return {
            key: _plain(x)
            for key, x in asdict(self).items()
            if key not in UNRECORDED and (key, x) != ("read", DURING)  # as before there was this setting
        }


def run_settings(config: Mapping[str, Any], renoising: bool) -> Run:
    """Check the run settings of a composed configuration.

    Args:
        config: plain values.
        renoising: also check the settings of clips.

    Raises:
        ImapError: for a value that is unknown or out of range.
    """
    numbers = {
        name: positive(name, config[name]) for name in ("num_inference_steps", "height", "width", "num_frames", "fps")
    }
    guidance = config["guidance_scale"]
    if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not 1 <= guidance < inf:
        raise ImapError(f"guidance_scale={guidance!r} is not a number of at least 1 (1 is no guidance)")
    seed = config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**64:
        raise ImapError(f"seed={seed!r} is not a whole number in torch's range of seeds")
    if not config["output_dir"]:
        raise ImapError("output_dir is empty; set a folder, or . for the working folder")
    if numbers["num_inference_steps"] > LONGEST_SCHEDULE:
        raise ImapError(
            f"num_inference_steps={numbers['num_inference_steps']} is more than the {LONGEST_SCHEDULE} training "
            "steps of the models; set fewer"
        )
    if not isinstance(config["pictures"], bool):
        raise ImapError(f"pictures={config['pictures']!r} is neither true nor false")
    method = {key: config[key] for key in METHOD_KEYS}
    chooses_layers = str(method["imap_layer"]).lower() == AUTO
    run = Run(
        pictures=config["pictures"],
        chooses_layers=chooses_layers,
        output_dir=Path(str(config["output_dir"])),
        seed=config["seed"],
        guidance_scale=float(guidance),
        negative_prompt=str(config["negative_prompt"] or ""),
        method=method | {"imap_layer": None} if chooses_layers else method,
        num_inference_steps=numbers["num_inference_steps"],
        height=numbers["height"],
        width=numbers["width"],
        num_frames=numbers["num_frames"],
        fps=numbers["fps"],
    )
    return _with_clip_settings(run, config) if renoising else _with_reading(run, config)


def _with_reading(run: Run, config: Mapping[str, Any]) -> Run:
    if config["read"] not in READINGS:
        raise ImapError(f"read={config['read']!r} is not known; it can be {', '.join(READINGS)}")
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
            "effect lists steps of sampling, and the finished video has read_timestep; set effect=true, or read=during"
        )
    indices = check_renoise_timestep(indices, run.num_inference_steps, None, False, "read_timestep")
    return replace(run, read=config["read"], renoise_timestep=indices)


def scaled_indices(paper: Mapping[str, Any], num_inference_steps: int) -> list[int]:
    """Renoising indices of a model, at about the same noise levels of another schedule.

    Args:
        paper: of the model's preset.
        num_inference_steps: of the schedule.
    """
    scale = num_inference_steps / paper["num_inference_steps"]
    return list(dict.fromkeys(min(round(i * scale), num_inference_steps - 1) for i in paper["renoise_timestep"]))


def _with_clip_settings(run: Run, config: Mapping[str, Any]) -> Run:
    if not isinstance(config["test_full_denoise"], bool):
        raise ImapError(f"test_full_denoise={config['test_full_denoise']!r} is neither true nor false")
    indices = check_renoise_timestep(
        config["renoise_timestep"],
        run.num_inference_steps,
        config["maps_timesteps"] and checked_range("maps_timesteps", config["maps_timesteps"]),
        config["test_full_denoise"],
    )
    video = config["video"] or {"resize": None, "frames": None}
    if not isinstance(video, Mapping):
        raise ImapError(f"video={video!r} is not known; set video.resize and video.frames")
    fit = Fit(run.height, run.width, run.num_frames, video["resize"] or "none", video["frames"] or "none")
    return replace(run, renoise_timestep=indices, test_full_denoise=config["test_full_denoise"], fit=fit)


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
    indices = [value] if isinstance(value, int) else value if isinstance(value, Sequence) else []
    if (
        isinstance(indices, str)
        or not indices
        or not all(isinstance(i, int) and not isinstance(i, bool) for i in indices)
    ):
        raise ImapError(f"{name}={value!r} is not a list of step indices; write it as {name}=[30]")
    for i in indices:
        if not 0 <= i < num_inference_steps:
            raise ImapError(
                f"{name} names step {i}, but num_inference_steps={num_inference_steps} has steps 0 to "
                f"{num_inference_steps - 1}; set {name} to one of them, such as [{num_inference_steps // 2}]"
            )
    steps = range(indices[0], num_inference_steps) if full else indices
    with_maps = [i for i in steps if maps_timesteps is None or i in range(*maps_timesteps)]
    if not with_maps:
        raise ImapError(
            f"no step of {name}={list(indices)} lies in maps_timesteps={list(maps_timesteps or ())}; "
            "widen maps_timesteps"
        )
    return (indices[0],) if full else tuple(dict.fromkeys(with_maps))


def positive(name: str, value: Any) -> int:
    """The value of a setting that is a count. Raises ImapError unless it is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ImapError(f"{name}={value!r} is not a whole number of at least 1")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(x) for x in value]
    return str(value) if isinstance(value, Path) else value
