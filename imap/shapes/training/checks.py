"""Checks of the training settings."""

from collections.abc import Mapping
from typing import Any

from imap.config.checks import positive
from imap.errors import ImapError
from imap.shapes.world.drawing import TEMPORAL

MAX_SEEDS = 100  # with larger seeds, training clips would overlap with evaluation clips
AUTOENCODER_SEEDS = 10_000_000  # seeds of the autoencoder's clips; those of the transformer's clips follow
SHARES = ("dropout", "one_word")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check all settings before training starts.

    Raises:
        ImapError: A setting is out of range, or settings contradict each other.
    """
    for name in ("clips", "report_every", "held_out", "asked"):
        positive(name, settings[name])
    if settings["threads"] is not None:
        positive("threads", settings["threads"])
    seed = settings["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < MAX_SEEDS:
        raise ImapError(f"seed={seed!r} is not a whole number from 0 to {MAX_SEEDS - 1}")
    if settings["transformer"] is not None and settings["vae"] is None:
        raise ImapError(
            "transformer= needs the VAE that it was trained with; set vae= to the same folder, and autoencoder.steps=0 "
            "to keep the VAE unchanged"
        )
    for group in ("autoencoder", "denoiser"):
        for name, value in settings[group].items():
            if (group, name) == ("autoencoder", "steps") and type(value) is int and value == 0:
                if settings["vae"] is None:
                    raise ImapError("autoencoder.steps=0 uses an existing VAE; name its pipeline folder in vae=")
            elif name in ("steps", "batch", "window"):
                positive(f"{group}.{name}", value)
            elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ImapError(f"{group}.{name}={value!r} is not a number of at least 0")
            elif name in SHARES and value > 1:
                raise ImapError(f"{group}.{name}={value!r} is a share; it must be at most 1")
    window, frames = settings["autoencoder"]["window"], settings["backbone"]["paper"]["num_frames"]
    if window % TEMPORAL != 1 or window > frames:
        raise ImapError(f"autoencoder.window={window} is not {TEMPORAL}k+1 frames of the clip's {frames}")
    steps = settings["autoencoder"]["steps"]
    if (seed + 1) * steps > AUTOENCODER_SEEDS:
        raise ImapError(
            f"seed={seed} with autoencoder.steps={steps} would train on evaluation clips; "
            f"keep (seed + 1) * steps within {AUTOENCODER_SEEDS}"
        )
