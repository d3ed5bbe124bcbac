"""Checked settings of long lists: shards, devices, failures. They change no result, so no result records them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from imap.config.checks import check_boolean, check_path
from imap.errors import ImapError, brief

LATENTS = ".latents"  # of the output folder, with cache_latents=true


@dataclass(frozen=True)
class Scale:
    """How a list is worked off.

    Attributes:
        dry_run: check and forecast, and do nothing.
        index, count: of the shard; this process begins with every `count`-th sample from `index` on.
        devices: GPUs of this machine, with a process each. Empty: one process, on the backbone's device.
        max_failures: failed samples after which the run stops; None for any number.
        cache_latents: folder of the VAE's encodings of clips; None keeps none.
    """

    dry_run: bool = False
    index: int = 0
    count: int = 1
    devices: tuple[int, ...] = ()
    max_failures: int | None = None
    cache_latents: Path | None = None


def scale_settings(config: Mapping[str, Any]) -> Scale:
    """Check the settings of a composed configuration.

    Raises:
        ImapError: for a value that is unknown or out of range.
    """
    shard = config["shard"]
    if not isinstance(shard, Mapping) or set(shard) != {"index", "count"}:
        raise ImapError(f"shard={brief(shard)} is not known; set shard.index and shard.count")
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
        devices=_devices(config["devices"]),
        max_failures=most,
        cache_latents=_cache(config),
    )


def _cache(config: Mapping[str, Any]) -> Path | None:
    """Folder of `cache_latents`, which only `imap renoise` has."""
    value = config.get("cache_latents")
    if value is None or str(value).lower() in ("true", "false"):
        return Path(str(config["output_dir"])) / LATENTS if str(value).lower() == "true" else None
    return Path(check_path("cache_latents", value))


def _devices(value: Any) -> tuple[int, ...]:
    items = [value] if _whole(value) else value
    if items is None:
        return ()
    if isinstance(items, str) or not isinstance(items, Sequence) or not all(_whole(x) and x >= 0 for x in items):
        raise ImapError(f"devices={brief(value)} is not a list of GPUs; write it as devices=[0,1,2,3]")
    if len(set(items)) < len(items):
        raise ImapError(f"devices={brief(value)} names a GPU twice")
    return tuple(int(x) for x in items)


def _whole(x: Any) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool)
