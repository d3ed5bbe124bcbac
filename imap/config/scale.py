"""Checked settings of long lists: shards, devices, failures. They change no result, so no result records them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from imap.config.checks import check_boolean, check_path
from imap.errors import ImapError, brief

CPU = "cpu"
LATENTS = ".latents"  # of the output folder, with cache_latents=true


@dataclass(frozen=True)
class Scale:
    """How a list is divided among processes, and when a run stops.

    Attributes:
        dry_run: check and forecast, and do nothing.
        index, count: of the shard; this process begins with every `count`-th sample from `index` on.
        helps: it then does what is left of the other shards.
        devices: numbers of GPUs, or `cpu` once per process. Each has a process. Empty: one process, on the backbone's
            device.
        max_failures: failed samples after which the run stops; None for any number.
        cache_latents: folder of the VAE's encodings of clips; None keeps none.
    """

    dry_run: bool = False
    index: int = 0
    count: int = 1
    helps: bool = True
    devices: tuple[int | str, ...] = ()
    max_failures: int | None = None
    cache_latents: Path | None = None


def scale_settings(config: Mapping[str, Any]) -> Scale:
    """Check the settings of a composed configuration.

    Raises:
        ImapError: for a value that is unknown or out of range.
    """
    shard = config["shard"]
    if not isinstance(shard, Mapping) or set(shard) != {"index", "count", "helps"}:
        raise ImapError(f"shard={brief(shard)} is not known; set shard.index, shard.count and shard.helps")
    index, count = shard["index"], shard["count"]
    if not (_whole(index) and _whole(count) and 0 <= index < count):
        raise ImapError(
            f"shard.index={brief(index)}, shard.count={brief(count)}: expected whole numbers, and an index from 0 to "
            "count - 1"
        )
    most = config["max_failures"]
    if most is not None and not (_whole(most) and most >= 1):
        raise ImapError(f"max_failures={brief(most)} is not a number of samples; expected 1 or more, or null")
    return Scale(
        dry_run=check_boolean("dry_run", config["dry_run"]),
        index=int(index),
        count=int(count),
        helps=check_boolean("shard.helps", shard["helps"]),
        devices=devices_of(config["devices"]),
        max_failures=most,
        cache_latents=_cache(config),
    )


def _cache(config: Mapping[str, Any]) -> Path | None:
    """Folder of `cache_latents`, which only `imap renoise` has."""
    value = config.get("cache_latents")
    if value is None or str(value).lower() in ("true", "false"):
        return Path(str(config["output_dir"])) / LATENTS if str(value).lower() == "true" else None
    if not isinstance(value, str) or not value.strip():
        raise ImapError(f"cache_latents={brief(value)} is neither true, null nor a folder")
    return Path(check_path("cache_latents", value))


def with_device(backbone: Mapping[str, Any], scale: Scale) -> Mapping[str, Any]:
    """The `backbone` group with the device that every process of `scale.devices` has.

    Raises:
        ImapError: for GPUs that this machine does not have, or another backbone.device.
    """
    if not scale.devices:
        return backbone
    kind, written = CPU if CPU in scale.devices else "cuda", f"devices=[{','.join(map(str, scale.devices))}]"
    if str(backbone["device"]) not in ("auto", kind):
        raise ImapError(
            f"{written} and backbone.device={brief(backbone['device'])} both name a device; leave backbone.device out"
        )
    count = torch.cuda.device_count()
    if kind != CPU and not count:
        raise ImapError(
            f"{written}, but torch {torch.__version__} finds no CUDA GPU here; leave devices out for one process, or "
            "set devices=[cpu,cpu] for two on the CPU"
        )
    absent = [x for x in scale.devices if x != CPU and int(x) >= count]
    if absent:
        raise ImapError(f"{written}: there is no GPU {absent[0]}; this machine has {count}, and numbers start at 0")
    return {**backbone, "device": kind}


def devices_of(value: Any) -> tuple[int | str, ...]:
    """The checked setting `devices`. Raises ImapError for anything but numbers of GPUs, or `cpu` several times."""
    items = [value] if _whole(value) or value == CPU else value
    if items is None:
        return ()
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise ImapError(f"devices={brief(value)} is not a list; write GPUs as devices=[0,1,2,3]")
    gpus = [x for x in items if _whole(x) and int(x) >= 0]
    if len(gpus) not in (0, len(items)) or any(x != CPU for x in items if not gpus):
        raise ImapError(
            f"devices={brief(value)} is neither a list of GPUs nor of cpu; write devices=[0,1,2,3] or devices=[cpu,cpu]"
        )
    if len(set(gpus)) < len(gpus):
        raise ImapError(f"devices={brief(value)} names a GPU twice")
    return tuple(int(x) for x in gpus) or tuple(items)


def _whole(x: Any) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool)
