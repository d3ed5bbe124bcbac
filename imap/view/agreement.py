"""How well the maps of a run agree with the effect of their words, as a table over its samples."""

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import replaced
from imap.map_files import FAITHFULNESS, META

TABLE = "faithfulness.csv"
SCORES = {  # names in meta.json, and in the printed table: over all cells, over places, over frames
    "rank": "rank",
    "ap": "AP",
    "rank_space": "rank where",
    "ap_space": "AP where",
    "rank_time": "rank when",
    "ap_time": "AP when",
}


def write_agreement(samples: Sequence[Path], path: Path) -> str | None:
    """Write the scores of all words and maps, and the means over words of each map.

    Args:
        samples: folders of samples.
        path: of the CSV file.

    Returns:
        The means as lines to print, best first. None if no sample has an effect; then nothing is written.
    """
    rows = [row for sample in samples for row in _rows(sample)]
    if not rows:
        path.unlink(missing_ok=True)  # of an earlier run
        return None
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["sample", "word", "key", *SCORES])
        table.writerows([sample, word, key, *scores] for sample, word, key, scores in rows)
    by_key: dict[str, list[list[float]]] = defaultdict(list)
    for _, _, key, scores in rows:
        by_key[key].append([np.nan if x is None else x for x in scores])
    means = {key: [float(np.mean(x)) if len(x) else np.nan for x in _known(values)] for key, values in by_key.items()}
    ordered = sorted(means, key=lambda key: -np.nan_to_num(means[key][1], nan=-1.0))  # by AP over all cells
    lines = [f"{key:<34}" + "".join(f"{value:>11.2f}" for value in means[key]) for key in ordered]
    return "\n".join(
        [f"{'agreement with the effect, mean':<34}" + "".join(f"{name:>11}" for name in SCORES.values()), *lines]
    )


def _known(values: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """Columns without NaN."""
    return [column[~np.isnan(column)] for column in np.array(values, float).T]


def _rows(sample: Path) -> list[tuple[str, str, str, list[Any]]]:
    try:
        meta: Mapping[str, Any] = dict(json.loads((sample / META).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # the report says why such a sample cannot be shown
        return []
    return [
        (sample.name, word, key, [scores.get(name) for name in SCORES])
        for word, by_key in meta.get(FAITHFULNESS, {}).items()
        for key, scores in by_key.items()
    ]
