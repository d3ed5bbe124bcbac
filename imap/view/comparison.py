"""Several runs on one page: samples of the same name beside each other, with the settings in which they differ."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imap.map_files import META, VIEW, read_meta
from imap.view.card import flat
from imap.view.look import Look
from imap.view.report import write_report
from imap.view.sample import Problems, samples_in

COMPARISON = "comparison.html"
MOST = 8  # settings in the line of a card


def show_comparison(runs: Sequence[Path], look: Look, problems: Problems, all_keys: bool | None = None) -> Path:
    """Write the page of several runs into the folder of the first one.

    Args:
        runs: output folders of runs, or samples' folders.
        look: that the page opens with.
        problems: collects why samples cannot be shown.
        all_keys: as in `write_report`.

    Returns:
        The path of the page.
    """
    titles = _different([run.resolve() for run in runs])
    entries = [(folder.name, i, folder) for i, run in enumerate(runs) for folder in samples_in(run)]
    if not any(
        (run / META).is_file() for run in runs
    ):  # the folders' names are the prompts': the same beside each other
        entries.sort(key=lambda entry: entry[:2])
    folders = [folder for *_, folder in entries]
    names = [titles[i] if (runs[i] / META).is_file() else f"{titles[i]}/{name}" for name, i, _ in entries]
    home = runs[0] / VIEW if (runs[0] / META).is_file() else runs[0]
    home.mkdir(exist_ok=True)
    cards = list(zip(names, differing(folders), strict=True))
    return write_report(folders, home / COMPARISON, ", ".join(titles), look, problems, all_keys, cards)


def differing(folders: Sequence[Path]) -> list[str]:
    """The settings of each sample that are not the same in all of them, as a line. Empty without any."""
    requests = [(read_meta(folder) or {}).get("request", {}) for folder in folders]
    settings = [flat(request.get("settings", {})) for request in requests]
    names = sorted({name for one in settings for name in one})
    kept = [name for name in names if len({_text(one.get(name)) for one in settings}) > 1]
    more = f" and {len(kept) - MOST} more" if len(kept) > MOST else ""
    return [", ".join(f"{name}={_text(one.get(name))}" for name in kept[:MOST]) + more for one in settings]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _different(paths: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as tell them apart."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names
