"""Lengths that a video of some maps may have."""

from imap.errors import ImapError
from imap.saliency import Maps
from imap.view.upsampling import TEMPORAL


def lengths(maps: Maps) -> list[int]:
    """Lengths in frames that a video of these maps may have."""
    latent_frames = next(iter(maps.arrays.values())).shape[1]
    grid = maps.facts.get("grid", {})
    factor = grid.get("temporal_factor", TEMPORAL)
    patch = grid.get("latent_frames_per_patch", 1)  # 2 in CogVideoX 1.5, which pads an odd number
    in_video = [latent_frames * patch - padded for padded in range(patch)]
    known = [factor * (latents - 1) + 1 for latents in in_video]
    family = maps.facts.get("family", "")
    if family == "allegro":  # its VAE makes four frames of every latent frame
        return [factor * latents for latents in in_video]
    if family.startswith("cogvideox"):  # its VAE makes an even number of latent frames four frames each
        known += [factor * latents for latents in in_video if latents % 2 == 0]
    return known


def check_length(maps: Maps, frames: int) -> None:
    """Raise ImapError for a video of so many frames that does not fit the maps."""
    if frames not in lengths(maps):
        raise ImapError(
            f"the video has {frames} frames, which do not fit maps of {next(iter(maps.arrays.values())).shape[1]} "
            f"latent frames; expected {' or '.join(map(str, lengths(maps)))}, the frames of the traced call"
        )
