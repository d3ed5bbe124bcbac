"""Settings of the page: those of `imap sample` and `imap renoise`, for one pipeline."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from imap.config.overrides import check_overrides, literal, setting_names
from imap.errors import ImapError

COMMANDS = ("sampling", "renoising")
FIT = ("video.resize=crop", "video.frames=uniform")  # an uploaded clip seldom has the model's size
ON_THE_PAGE = {
    "input_json": "the page takes one sample at a time; for a list, run imap sample or imap renoise",
    "video_path": "clips are uploaded on the page",
    "image": "the page makes videos from text alone",
    "last_image": "the page makes videos from text alone",
    "output_dir": "results are in a temporary folder, and the page has a button to download them",
    "pictures": "the page shows the pictures",
}
Configs = Mapping[bool, Mapping[str, Any]]  # renoising: plain values of the command's configuration


def configurations(settings: Sequence[str]) -> Configs:
    """The configurations of both commands. A setting of only one of them counts for that one.

    `num_inference_steps` counts for clips only together with `renoise_timestep`, whose indices depend on it.

    Args:
        settings: as typed, such as `backbone=shapes_cogvideox`.

    Raises:
        ImapError: for a setting that neither command has, or that the page has no use for.
    """
    typed = [literal(setting) for setting in settings]
    for setting in typed:
        if setting.startswith("-"):
            raise ImapError(f"unknown flag {setting}; settings are written name=value, such as seed=7")
        reason = ON_THE_PAGE.get(_name(setting))
        if reason:
            raise ImapError(f"{_name(setting)} is no setting of imap demo: {reason}")
    # the steps of a new video do not change at which noise levels a clip is read
    reads_at = any(_name(setting) == "renoise_timestep" for setting in typed)
    names = {command: set(setting_names(command)) for command in COMMANDS}
    configs = []
    for command, other in zip(COMMANDS, reversed(COMMANDS), strict=True):
        own = [x for x in typed if _name(x) in names[command] or _name(x) not in names[other]]
        if command == "renoising":
            own = [*FIT, *(x for x in own if _name(x) != "num_inference_steps" or reads_at)]
        configs.append(check_overrides(command, own))
    plain: Any = [OmegaConf.to_container(config) for config in configs]
    return dict(zip((False, True), plain, strict=True))


def _name(setting: str) -> str:
    return setting.partition("=")[0].lstrip("+~")
