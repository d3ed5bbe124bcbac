"""Tables of scores as text, Markdown, CSV and LaTeX."""

import csv
import io

import numpy as np

from imap.evaluation.tables import Interval, Table


def formatted(one: Table, how: str, signed: bool = False) -> str:
    """A table as text, Markdown, CSV or LaTeX (booktabs). signed: values are differences."""
    if how == "csv":
        return _csv(one)
    header = ["map", *one.metrics]
    lines = [[row, *(_cell(one.cells.get((row, metric)), signed) for metric in one.metrics)] for row in one.rows]
    if how == "markdown":
        rows = [header, ["---", *["--:"] * len(one.metrics)], *lines]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)
    if how == "latex":
        head, *body = [f"{' & '.join(map(_escaped, line))} \\\\\n" for line in [header, *lines]]
        rules = f"\\toprule\n{head}\\midrule\n{''.join(body)}\\bottomrule\n"
        return f"\\begin{{tabular}}{{l{'r' * len(one.metrics)}}}\n{rules}\\end{{tabular}}\n"
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    text = ""
    for first, *rest in [header, *lines]:
        cells = [first.ljust(widths[0]), *(x.rjust(width) for x, width in zip(rest, widths[1:], strict=True))]
        text += "  ".join(cells).rstrip() + "\n"
    return text


def _csv(one: Table) -> str:
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(("map", "metric", "mean", "low", "high", "clips"))
    for row in one.rows:
        for metric in one.metrics:
            if (row, metric) in one.cells:
                ends, clips = one.cells[row, metric]
                lines.writerow((row, metric, *("" if np.isnan(x) else f"{x:.6g}" for x in ends), clips or ""))
    return file.getvalue()


def _cell(value: tuple[Interval, int] | None, signed: bool) -> str:
    if value is None or np.isnan(value[0][0]):
        return "-"
    (mean, low, high), _ = value
    sign = "+" if signed else ""
    return f"{mean:{sign}.3f}" if np.isnan(low) else f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "&%$#_{}" else c for c in text)
