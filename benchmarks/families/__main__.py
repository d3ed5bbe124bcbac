"""One row for each family of imap: is the video the same, are the maps right, is a clip noised right?

python -m benchmarks.families                    # every family of imap.testing.tiny
python -m benchmarks.families mochi ltx
python -m benchmarks.families --markdown benchmarks/results/families.md

Pipelines are tiny, with random weights. Each row compares a trace with the untraced stock pipeline:

- lines: of the adapter's file.
- same bits: latents of a traced call are bit-identical, with target prompt and with target concepts.
- GramCol, cross attention, whole-video column, ConceptAttention: the worst error of a word's map over its standard
  deviation, over all words, layers and steps, with target prompt and with target concepts. The right maps are computed
  in float64 without imap's hooks: queries, keys and head outputs come from torch's attention function, Gram matrices
  are full, padding is really repeated, and concept tokens go through the stock blocks.
- timestep off, latents off: what `imap.renoise` gives to the transformer, against the timestep of a stock run and the
  noise of its scheduler.
- seconds: of the row.

The exit status is 1 if a family has other bits or cannot be checked.
"""

import argparse
import logging
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.families.checks import TARGETS, Maps, Row, measure
from imap.methods.registry import MAPS
from imap.testing import tiny

LABELS = {x.key: x.label for x in MAPS}
COMPARED = ("imap", "cross_attention_maps", "video_col", "concept_attention_maps")  # columns, in their order
EVERY = (*tiny.FAMILIES, *tiny.FURTHER, *tiny.NOT_SAVED)
VERSIONS = ("torch", "diffusers", "transformers")


def checked(family: str) -> tuple[dict[str, str], list[str]]:
    """Cells of a family by column, and its faults. A family that cannot be checked has one fault."""
    pipe = tiny.build(family)
    pipe.set_progress_bar_config(disable=True)
    try:
        row = measure(pipe)
    except Exception as error:  # one broken family must not hide the others
        return {"family": family}, [f"{type(error).__name__}: {error}"]
    return cells(row), row.faults


def cells(row: Row) -> dict[str, str]:
    """A row by column. Two values are those of target prompt and of target concepts."""
    maps = [row.maps[target] for target in TARGETS]
    found = {"family": row.family, "lines": str(row.lines)}
    found["same bits"] = _both(["yes" if x.same_bits else "NO" for x in maps])
    found |= {LABELS[key]: _both([_error(row, x, key) for x in maps]) for key in COMPARED}
    if isinstance(row.renoising, str):
        found |= {"timestep off": "refused", "latents off": row.renoising}
    else:
        found |= {"timestep off": f"{row.renoising.timestep:g}", "latents off": f"{row.renoising.latents:.1e}"}
    return found | {"seconds": f"{row.seconds:.1f}"}


def _error(row: Row, maps: Maps, key: str) -> str:
    if key in maps.errors:
        return f"{maps.errors[key]:.1e}"
    return "-" if key == "concept_attention_maps" and not row.joint else "by hand in tests"


def _both(texts: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(texts))


def table(rows: Sequence[dict[str, str]]) -> str:
    """Rows as a Markdown table."""
    head = list(max(rows, key=len))
    lines = [head, ["---"] * len(head), *([row.get(name, "-").replace("|", "/") for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str]) -> int:
    """Check families, print and write their rows. Returns the exit status."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("families", nargs="*", metavar="FAMILY", help=f"default: {' '.join(EVERY)}")
    command.add_argument("--markdown", type=Path, help="replace this file by the table")
    options = command.parse_args(argv)
    torch.set_num_threads(1)
    logging.getLogger("imap").setLevel(logging.ERROR)
    found = {family: checked(family) for family in options.families or EVERY}
    faults = [f"{family}: {fault}" for family, (_, of_family) in found.items() for fault in of_family]
    made_with = ", ".join([*(f"{name} {version(name)}" for name in VERSIONS), f"Python {platform.python_version()}"])
    ended = "\n".join([f"faults: {len(faults)}", *faults])
    text = f"{table([row for row, _ in found.values()])}\n\n{ended}\n\nCPU, 1 thread, float32; {made_with}"
    print(text)
    if options.markdown:
        heading = "# Every family against its stock pipeline"
        called = " ".join([*options.families, "--markdown", options.markdown.name])  # no folder of this machine
        command_line = f"`python -m benchmarks.families {called}`. Its help says what the columns are."
        options.markdown.write_text(f"{heading}\n\n{command_line}\n\n{text}\n", encoding="utf-8")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
