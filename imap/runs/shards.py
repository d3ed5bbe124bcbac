"""Which samples of a list a process does, and in which order."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imap.claims import can_lock
from imap.config.scale import Scale
from imap.runs.batch import Task

log = logging.getLogger("imap")


def shard_of(tasks: Sequence[Task], names: Sequence[str], scale: Scale, folder: Path) -> list[Task]:
    """Tasks of a shard, then those that it helps with. Without file locks it helps with none, and the log says so.

    Args:
        tasks: that are left of the list.
        names: folders of the whole list, finished or not.
        scale: with the shard, and the devices that share its tasks.
        folder: of the run; it exists.
    """
    ordered = shard_order(tasks, names, scale.index, scale.count)
    if not scale.helps:
        ordered = own_part(ordered, names, scale)
    if scale.count * max(1, len(scale.devices)) == 1 or can_lock(folder):
        return ordered
    log.warning(
        "%s: files cannot be locked here; each process does its own part of the list, and helps with no other", folder
    )
    return own_part(ordered, names, scale)


def share_of(tasks: Sequence[Task], names: Sequence[str], scale: Scale, place: int, folder: Path) -> list[Task]:
    """As `shard_of`, for one of the devices that share the tasks of a shard. place: of it in `scale.devices`."""
    devices = len(scale.devices)
    part = replace(scale, index=scale.index + scale.count * place, count=scale.count * devices)
    ordered = shard_order(tasks, names, part.index, part.count)
    return ordered if can_lock(folder) else own_part(ordered, names, part)


def shard_order(tasks: Sequence[Task], names: Sequence[str], index: int, count: int) -> list[Task]:
    """Tasks of a shard, then those of the next shards: a process that is done early helps with the others.

    names: folders of the whole list, finished or not: shards are parts of it, whenever their processes start.
    """
    places = {name: place for place, name in enumerate(names)}
    return sorted(tasks, key=lambda task: ((places[task.name] - index) % count, places[task.name]))


def own_part(tasks: Sequence[Task], names: Sequence[str], scale: Scale) -> list[Task]:
    """Tasks of a shard alone. names: as in `shard_order`."""
    own = set(names[scale.index :: scale.count])
    return [task for task in tasks if task.name in own]
