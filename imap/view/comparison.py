"""Several runs on one page: samples of the same name beside each other, with the settings in which they differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imap.map_files import META, VIEW, read_meta
from imap.view.card import flat, plain
from imap.view.look import Look
from imap.view.report import write_report
from imap.view.sample import Problems, run_names

COMPARISON = "comparison.html"
MOST = 8  # settings in the line of a card


def show_comparison(
    runs: Mapping[Path, Sequence[Path]], look: Look, problems: Problems, all_keys: bool | None = None
) -> Path:
    """Write the page of several runs into the folder of the first one.

    Args:
        runs: samples' folders by the folder that holds them: an output folder of a run, or the sample's own.
        look: that the page opens with.
        problems: collects why samples cannot be shown.
        all_keys: as in `write_report`.

    Returns:
        The path of the page.
    """
    titles = dict(zip(runs, run_names(runs), strict=True))
    each: dict[Path, tuple[str, int, Path, Path]] = {}  # once, also where a run and its sample are named
    for i, run in enumerate(runs):
        for folder in runs[run]:
            each.setdefault(folder.resolve(), (folder.name, i, run, folder))
    entries = list(each.values())
    if not any((run / META).is_file() for run in runs):  # samples' folders are shown in the given order
        entries.sort(key=lambda entry: entry[:2])
    folders = [folder for *_, folder in entries]
    names = [titles[run] if run == folder else f"{titles[run]}/{name}" for name, _, run, folder in entries]
    cards = dict(zip(folders, zip(names, differing(folders), strict=True), strict=True))
    first = next(iter(runs))
    home = first / VIEW if (first / META).is_file() else first
    home.mkdir(exist_ok=True)
    return write_report(folders, home / COMPARISON, ", ".join(titles.values()), look, problems, all_keys, cards)


def differing(folders: Sequence[Path]) -> list[str]:
    """The settings of each sample that are not the same in all of them, as a line. Empty without any."""
    requests = [(read_meta(folder) or {}).get("request", {}) for folder in folders]
    settings = [{name: plain(x) for name, x in flat(request.get("settings", {})).items()} for request in requests]
    names = sorted({name for one in settings for name in one}, key=lambda name: (name.count("."), name))
    differ = [name for name in names if len({one.get(name) for one in settings}) > 1]
    more = f" and {len(differ) - MOST} more" if len(differ) > MOST else ""
    return [", ".join(f"{name}={one[name]}" for name in differ[:MOST] if name in one) + more for one in settings]
