"""What training can be asked for."""

from collections.abc import Mapping
from typing import Any

from imap.config.run import positive
from imap.errors import ImapError
from imap.shapes.world.drawing import TEMPORAL

SEEDS_APART = 100  # with more of them, training clips would run into those that nothing is trained on
AUTOENCODER_SEEDS = 10_000_000  # of the autoencoder's clips; behind them come those of the transformer's
SHARES = ("dropout", "one_word")


def check(told: Mapping[str, Any]) -> None:
    """Raise ImapError for settings that training cannot start with."""
    for name in ("clips", "report_every", "held_out", "asked"):
        positive(name, told[name])
    if told["threads"] is not None:
        positive("threads", told["threads"])
    if not isinstance(told["seed"], int) or isinstance(told["seed"], bool) or not 0 <= told["seed"] < SEEDS_APART:
        raise ImapError(f"seed={told['seed']!r} is not a whole number from 0 to {SEEDS_APART - 1}")
    if told["transformer"] is not None and told["vae"] is None:
        raise ImapError(
            "transformer= goes on with latents of the VAE that it was trained on; set vae= to the same folder, and "
            "autoencoder.steps=0 to leave the VAE as it is"
        )
    for group in ("autoencoder", "denoiser"):
        for name, value in told[group].items():
            if (group, name) == ("autoencoder", "steps") and type(value) is int and value == 0:
                if told["vae"] is None:
                    raise ImapError("autoencoder.steps=0 takes a VAE as it is; name its pipeline folder in vae=")
                continue
            if name in ("steps", "batch", "window"):
                positive(f"{group}.{name}", value)
            elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ImapError(f"{group}.{name}={value!r} is not a number of at least 0")
            elif name in SHARES and value > 1:
                raise ImapError(f"{group}.{name}={value!r} is a share, and at most 1")
    window, frames = told["autoencoder"]["window"], told["backbone"]["paper"]["num_frames"]
    if window % TEMPORAL != 1 or window > frames:
        raise ImapError(f"autoencoder.window={window} is not {TEMPORAL}k+1 frames of the clip's {frames}")
    seeds = (told["seed"] + 1) * told["autoencoder"]["steps"]
    if seeds > AUTOENCODER_SEEDS:
        raise ImapError(
            f"seed={told['seed']} with autoencoder.steps={told['autoencoder']['steps']} would draw clips that nothing "
            f"may be trained on; keep (seed + 1) * steps within {AUTOENCODER_SEEDS}"
        )
