"""Print a table of scores: mean over clips and its 95 % bootstrap interval, or differences between maps."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("scores", nargs="+", type=Path, help="folders of scored runs, or their CSV files")
    parser.add_argument("--kind", default="motion", choices=("motion", "concept"), help="of the words")
    parser.add_argument("--metrics", type=_listed, default=None, metavar="A,B", help="columns; all by default")
    parser.add_argument(
        "--maps", type=_listed, default=None, metavar="A,B", help="rows: keys or labels; all by default"
    )
    parser.add_argument("--less", default=None, metavar="MAP", help="differences from this row, word by word")
    parser.add_argument("--published", action="store_true", help="add the values of the paper, marked as published")
    parser.add_argument("--format", default="text", choices=("text", "markdown", "csv", "latex"))
    parser.add_argument("--output", type=Path, default=None, metavar="FILE", help="write a file instead of printing")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from imap.errors import ImapError
    from imap.evaluation.table_formats import formatted
    from imap.evaluation.tables import chosen, joined, published, read_scores, table

    one = table(read_scores(arguments.scores), arguments.kind, arguments.less)
    if not one.rows:
        raise ImapError(f"there are no scores of {arguments.kind} words; set --kind to the other one")
    one = chosen(one, arguments.metrics, arguments.maps)
    if arguments.published:
        if arguments.less is not None:
            raise ImapError("--published has no differences; drop --less or --published")
        one = joined(one, published(one.metrics))
    text = formatted(one, arguments.format, signed=arguments.less is not None)
    if arguments.output is None:
        sys.stdout.write(text)
        return
    from imap.atomic import replaced

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with replaced(arguments.output) as part:
        part.write_text(text, encoding="utf-8")
    print(arguments.output)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
