"""VAE encodings of clips on disk, so that a clip is encoded once for all seeds, words and settings of maps."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from imap.atomic import replaced, restore
from imap.backbones.base import Backbone
from imap.backbones.weights_hash import weights_hash
from imap.errors import ImapError, first_line
from imap.media.clips import to_tensor

log = logging.getLogger("imap")
NAME, CHECKED = "parameters", "sha256"
NOT_HASHED = (
    "cache_latents must hash the VAE's weights, and backbone.offload=sequential keeps them elsewhere; set another "
    "offload, or cache_latents=null"
)


def check_cache(folder: Path, offload: str) -> None:
    """Raise ImapError, before a model is loaded, if encodings cannot be kept in a folder. It may not exist yet."""
    if offload == "sequential":
        raise ImapError(NOT_HASHED)
    nearest = next(x for x in (folder, *folder.absolute().parents) if x.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ImapError(f"cache_latents: cannot write to {nearest}; name another folder")


class PosteriorCache:
    """Encodings of one VAE in a folder, which several processes may share.

    A file holds the distribution that the VAE gives for a clip, not a sample of it. So it does not depend on the seed,
    the generator draws as without a cache, and results are equal byte by byte. A file's name is a hash of the frames
    as the VAE gets them, its weights, settings and dtype, the device, and the versions of torch and diffusers.
    """

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        """Raises ImapError if the folder cannot be made, or if the VAE's weights are not loaded."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImapError(f"cache_latents: cannot make {folder}: {error.strerror}; name another folder") from None
        self.folder, self.read, self.made = folder, 0, 0
        self._about = json.dumps(_identity(backbone), sort_keys=True).encode()

    def posterior(self, backbone: Backbone, clip: np.ndarray) -> DiagonalGaussianDistribution:
        """The VAE's distribution for a clip, uint8 frames (frames, height, width, 3), read or made and kept."""
        path = self.folder / f"{self._key(clip)}.safetensors"
        found = _read(path)
        if found is not None:
            self.read += 1
            return DiagonalGaussianDistribution(found.to(backbone.pipe._execution_device))
        made = backbone.posterior(to_tensor(clip))
        self.made += 1
        self._write(path, made.parameters)
        return made

    def __str__(self) -> str:
        sizes = [path.stat().st_size for path in self.folder.glob("*.safetensors")]
        return (
            f"{self.read} clips were not encoded again, {self.made} were encoded; {self.folder} holds {len(sizes)} "
            f"encodings, {sum(sizes) / 1e6:.1f} MB"
        )

    def _key(self, clip: np.ndarray) -> str:
        digits = hashlib.sha256(self._about)
        digits.update(str(clip.shape).encode())
        digits.update(np.ascontiguousarray(clip).data)
        return digits.hexdigest()

    def _write(self, path: Path, parameters: Tensor) -> None:
        kept = parameters.detach().cpu().contiguous()
        try:
            restore(path)
            with replaced(path) as partial:
                save_file({NAME: kept}, partial, {CHECKED: _checksum(kept)})
        except (OSError, SafetensorError) as error:  # the sample itself is not lost
            log.warning("cache_latents: %s cannot be written (%s); the run goes on", path, first_line(error))


def _read(path: Path) -> Tensor | None:
    """What a file holds; None if there is none, or a damaged one."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found, expected = file.get_tensor(NAME), (file.metadata() or {}).get(CHECKED)
        if _checksum(found) == expected:
            return found
        reason = "its checksum is another"
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: a tensor that is not ours
        reason = first_line(error)
    log.warning("cache_latents: %s is damaged (%s) and made again", path, reason)
    return None


def _checksum(values: Tensor) -> str:
    return hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()


def _identity(backbone: Backbone) -> dict[str, Any]:
    """What an encoding depends on beside the clip, in plain values."""
    vae, device = backbone.pipe.vae, backbone.pipe._execution_device
    if any(x.is_meta for x in vae.parameters()):
        raise ImapError(NOT_HASHED)
    is_gpu = device.type == "cuda"
    return {
        "layout": 1,
        "vae": weights_hash({type(vae).__name__: vae}),
        "settings": {name: x for name, x in vars(vae).items() if isinstance(x, bool | int | float)},  # as of tiling
        "dtype": str(vae.dtype),
        "device": torch.cuda.get_device_name(device) if is_gpu else _cpu(),
        "precision": [torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32 if is_gpu else None],
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def _cpu() -> str:
    return f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
