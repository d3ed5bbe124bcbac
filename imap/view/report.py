"""The report page of a run: one file that needs no server and no network."""

import html
import itertools
import json
import logging
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from imap.atomic import replaced
from imap.map_files import META
from imap.methods.registry import AFTER, CHOSEN, QUIET, key_of
from imap.methods.registry import labels as registered
from imap.view.card import FINE, base64_of, card
from imap.view.look import COLORMAPS, Look
from imap.view.normalization import PERCENTILES, SCALES
from imap.view.outline import DARKNESS, HALO, LEGEND, LINE
from imap.view.overlay import DARKENED
from imap.view.sample import Problems, open_sample

log = logging.getLogger("imap")
PAGE = Path(__file__).with_name("page")
SCRIPTS = (
    "elements.js",
    "values.js",
    "sample.js",
    "curve.js",
    "heads.js",
    "card.js",
    "page.js",
)  # each needs those before
WIDTHS = ((40, 360), (150, 240), (10**9, 160))  # up to so many samples, videos at most so wide
HEAD = 10  # lines of a page, at most, until its list of samples
MOST_WITH_ALL_KEYS = 40  # samples: in larger runs the maps over maps_layers would be half of the page
LEFT_OUT = (
    "With so many samples, this page holds only the maps over the chosen layers (imap_layer); imap view RUN "
    "--all-keys adds those over maps_layers. "
)


def write_report(
    folders: Sequence[Path],
    path: Path,
    title: str,
    look: Look,
    problems: Problems,
    all_keys: bool | None = None,
    cards: Mapping[Path, tuple[str, str]] | None = None,
) -> Path:
    """Write the report page of some samples. The page holds everything that it shows.

    One sample at a time is in memory. An earlier page stays until the new one is complete.

    Args:
        folders: of the samples.
        path: of the page.
        title: of the page.
        look: that the page opens with.
        problems: collects why samples cannot be shown; such a sample has a card that says why.
        all_keys: also the maps over `maps_layers`; None leaves them out for more than MOST_WITH_ALL_KEYS samples.
        cards: name of every sample and a line about it, by folder. Default: the folder's name, without a line.

    Returns:
        The path.
    """
    complete = len(folders) <= MOST_WITH_ALL_KEYS if all_keys is None else all_keys
    names = {"title": html.escape(title), "left_out": "" if complete else LEFT_OUT, "listed": _listed(folders)}
    names |= {"style": page_part("style.css"), "script": "".join(map(page_part, SCRIPTS))}
    above, below = (string.Template(part) for part in page_part("report.html").split("$samples"))
    scripts = _Scripts(next(width for count, width in WIDTHS if len(folders) <= count), complete, look, problems)
    with replaced(path) as part, part.open("w", encoding="utf-8") as page, logging_redirect_tqdm():
        page.write(above.substitute(names))
        for folder in tqdm(folders, "report", disable=len(folders) < 5):
            page.write(scripts.script(folder, *(cards or {}).get(folder, (folder.name, ""))) + "\n")
        page.write(below.substitute(names, shared=page_json(_shared(scripts.labels, scripts.words, look))))
    if key_of(look.key, scripts.labels) not in ("auto", *scripts.labels):
        log.warning("no sample has maps %r; the report opens with IMAP for motion words, GramCol for things", look.key)
    return path


def is_report_of(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a page exists that shows these samples, in this order, as they are now."""
    if not path.is_file() or any(newer(folder / META, path) for folder in folders):
        return False
    with path.open(encoding="utf-8", errors="replace") as page:
        return f'<meta name="samples" content="{_listed(folders)}">' in itertools.islice(map(str.strip, page), HEAD)


def newer(one: Path, other: Path) -> bool:
    """Whether a file was written after another one. Missing files are not."""
    return one.is_file() and one.stat().st_mtime_ns > other.stat().st_mtime_ns


def page_part(name: str) -> str:
    """A style sheet, script or page of this package, as text."""
    return (PAGE / name).read_text(encoding="utf-8")


def _listed(folders: Sequence[Path]) -> str:
    return html.escape(json.dumps([folder.name for folder in folders]))


def _shared(labels: Mapping[str, str], words: Iterable[str], look: Look) -> dict[str, Any]:
    """What all cards need. labels: of the keys in the page. words: in the page, whose order gives them colours."""
    ordered = [key for key in registered() if key in labels]
    return {
        "keys": {key: labels[key] for key in [*ordered, *sorted(set(labels) - set(ordered))]},
        "words": list(words),
        "scales": SCALES,
        "percentiles": PERCENTILES,
        "colours": {name: base64_of(_table(name).tobytes()) for name in COLORMAPS},
        "quiet": [key for key in labels if key.removesuffix(CHOSEN).removesuffix(AFTER) in QUIET],
        "darkened": DARKENED,
        "fine": FINE,
        "outline": {"line": LINE, "halo": HALO, "darkness": DARKNESS, "legend": LEGEND},
        "look": {
            "key": key if (key := key_of(look.key, labels)) in labels else "auto",
            "scale": look.normalization,
            "colours": look.colormap,
            "opacity": look.opacity,
            "smooth": look.space == "bilinear",
        },
    }


@dataclass
class _Scripts:
    """Script elements with the data of one sample each, which the page reads when the sample's card comes near.

    Attributes:
        width: pixels of width of a video at most.
        complete: also the maps over `maps_layers`.
        look: that the page opens with.
        problems: collects why samples cannot be shown.
        labels: of the keys of all samples so far.
        words: of all samples so far, in their order.
    """

    width: int
    complete: bool
    look: Look
    problems: Problems
    labels: dict[str, str] = field(default_factory=dict)
    words: dict[str, None] = field(default_factory=dict)

    def script(self, folder: Path, name: str, line: str) -> str:
        """The element of a sample, with its name and a line about it."""
        caption, data = "", None
        with self.problems.kept(folder, "card in the report"):
            shown = open_sample(folder)
            keys = shown.keys(self.complete, self.look.key)
            caption, data = shown.caption, card(shown, self.width, keys, self.look.truth) | {"line": line}
            self.words.update(dict.fromkeys(shown.maps.texts))
            self.labels.update({key: shown.maps.names[key] for key in keys})
        name, text = html.escape(name), page_json(data or {"problem": self.problems[folder]})
        return (
            f'<script type="application/json" data-name="{name}" data-caption="{html.escape(caption)}">{text}</script>'
        )


def page_json(data: Any) -> str:
    """JSON for a script element: no text in it can open or close a tag."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _table(name: str) -> np.ndarray:
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
