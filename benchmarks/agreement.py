"""Does agreement with the effect order maps and models as the truth does? Over the rows of several benchmark runs.

python -m benchmarks.agreement outputs/shapes_benchmark/shapes_wan outputs/shapes_benchmark/shapes_cogvideox ...

A row is a map of a model. For each pair of scores: Spearman's correlation over rows of their means over clips, with a
95 % bootstrap interval over clips. Rows of random weights are left out.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from imap.shapes.benchmark.records import read_records
from imap.shapes.benchmark.scoring import AGREEMENT, Record
from imap.shapes.benchmark.tables import UNTRAINED

PAIRS = {  # score of agreement, score against the truth
    "noun": (("ap", "ap"), ("rank", "ap"), ("ap_space", "ap"), ("rank", "own_other")),
    "verb": (("ap", "ap"), ("rank", "ap"), ("rank_time", "correlation"), ("ap_time", "correlation")),
}
DRAWS = 1000


def table(runs: Sequence[Sequence[Record]], kind: str, agreement: str, truth: str) -> np.ndarray:
    """Means of a clip, (2, rows, clips): agreement and truth; NaN where a clip has none."""
    cells: dict[tuple, dict[int, list]] = defaultdict(lambda: defaultdict(list))
    for number, records in enumerate(runs):
        for x in records:
            if x.kind == kind and AGREEMENT + agreement in x.scores and not x.row.endswith(UNTRAINED):
                cells[number, x.row][x.clip].append((x.scores[AGREEMENT + agreement], x.scores[truth]))
    clips = 1 + max(clip for row in cells.values() for clip in row)
    out = np.full((2, len(cells), clips), np.nan)
    for i, row in enumerate(cells.values()):
        for clip, values in row.items():
            out[:, i, clip] = [np.mean(x[~np.isnan(x)]) if (~np.isnan(x)).any() else np.nan for x in np.array(values).T]
    return out


def order(values: np.ndarray, draws: int = DRAWS) -> tuple[float, float, float]:
    """Spearman's correlation over rows between two scores, and its interval over clips. values: (2, rows, clips)."""
    rng, clips = np.random.default_rng(0), values.shape[2]

    def over_rows(chosen: np.ndarray) -> float:
        return float(spearmanr(*np.nanmean(values[:, :, chosen], axis=2))[0])

    found = [over_rows(rng.integers(clips, size=clips)) for _ in range(draws)]
    low, high = np.percentile(found, [2.5, 97.5])
    return over_rows(np.arange(clips)), float(low), float(high)


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("folders", nargs="+", type=Path, help="output_dir of imap shapes benchmark, one per model")
    runs = [read_records(folder / "records.jsonl") for folder in command.parse_args().folders]
    print("| words | agreement | truth | rows | rank correlation over rows |\n|---|---|---|---|---|")
    for kind, pairs in PAIRS.items():
        for agreement, truth in pairs:
            values = table(runs, kind, agreement, truth)
            value, low, high = order(values)
            print(f"| {kind}s | {agreement} | {truth} | {values.shape[1]} | {value:.2f} [{low:.2f}, {high:.2f}] |")
        for number, records in enumerate(runs):
            values = table([records], kind, *pairs[0])
            print(f"| {kind}s, run {number + 1} alone | ap | ap | {values.shape[1]} | {order(values, 200)[0]:.2f} |")


if __name__ == "__main__":
    main()
