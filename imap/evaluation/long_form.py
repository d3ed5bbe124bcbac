"""Tables of scores in long form: one line per number."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from imap.atomic import replaced
from imap.errors import ImapError
from imap.map_files import META
from imap.view.sample import samples_in

COLUMNS = ("sample", "word", "kind", "map", "metric", "value")
Row = tuple[str, str, str, str, str, float]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a CSV of rows. A value that is not defined is `nan`."""
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows([*names, f"{value:.6g}"] for *names, value in rows)


def mean_of_known(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def samples_of_run(run: Path) -> list[Path]:
    """Folders of the finished samples of a run. Raises ImapError for other folders, also for that of one sample."""
    if (run / META).is_file():
        raise ImapError(f"{run} is one sample's folder; give the output_dir of its run, {run.resolve().parent}")
    return samples_in(run)
