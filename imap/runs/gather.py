"""`imap gather OUT RUN...`: join the output folders of shards without a common file system, also repeatedly."""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from imap.atomic import check_writable, replaced, write_folder
from imap.claims import claim
from imap.errors import ImapError, first_line
from imap.map_files import ARRAYS, META, TRUTH, VIDEO, VIEW, damaged, read_meta
from imap.runs import interrupts
from imap.runs.failures import ERRORS, forget_failures
from imap.runs.folders import LAYERS, earlier_requests, identity
from imap.runs.listing import LIST, read_list, store_list
from imap.runs.log import errors_in_one_line, plain_log
from imap.runs.request import NAMED, Request, difference
from imap.runs.status import print_status
from imap.view.look import Look
from imap.view.pictures import FACTS
from imap.view.report import is_report_of
from imap.view.run import REPORT, show_report
from imap.view.sample import Problems

log = logging.getLogger("imap")


def gather(out: Path, runs: Sequence[Path]) -> bool:
    """Bring the finished samples of several output folders into one, with their failures, and write its report.

    A sample of `out` stays, unless a run has added pictures to the same one.

    Args:
        out: folder to gather in; it may exist.
        runs: output folders of shards; processes may work on them.

    Returns:
        Whether every finished sample of the runs is in `out` now.

    Raises:
        ImapError: if a folder is no output folder, or two hold different results of one name; then nothing is written.
    """
    requests = {run: _requests_of(run, out) for run in runs}
    sources = _sources({out: earlier_requests(out) if out.is_dir() else {}, **requests})
    listed = _joined_lists([out, *runs])
    check_writable(out)
    brought = [_brought(source, out) for source in sources if source.parent != out]
    if listed:
        store_list(out, listed)
    _join_errors(out, runs)
    _join_layers(out, runs)
    finished = sorted(earlier_requests(out), key=_place_in(list(listed)))
    forget_failures(out, finished)
    log.info("%s: %d new from %d folders", out, brought.count(True), len(runs))
    samples = [out / name for name in finished]
    if samples and not is_report_of(out / REPORT, samples):
        log.info("%s", show_report(out, samples, Look(), Problems()))
    return None not in brought


def _requests_of(run: Path, out: Path) -> dict[str, Request]:
    if not run.is_dir():
        raise ImapError(f"there is no folder {run.absolute()}; give the output_dir of a run")
    if out.resolve() == run.resolve():
        raise ImapError(f"{out} is the folder to gather in, and one of the runs; name a new folder first")
    requests = earlier_requests(run)
    if not requests and read_list(run) is None and not (run / ERRORS).is_file():
        raise ImapError(f"{run} holds no samples and no list of them; give the output_dir of a run")
    return requests


def _sources(requests: Mapping[Path, Mapping[str, Request]]) -> list[Path]:
    """Folders of all samples. Raises ImapError for different results of one name. requests: by folder of the run."""
    first: dict[str, tuple[Path, Request]] = {}
    for run, samples in requests.items():
        for name, one in samples.items():
            other, earlier = first.setdefault(name, (run, one))
            if identity(earlier) != identity(one):
                raise ImapError(
                    f"{other / name} and {run / name} are different results "
                    f"({', '.join(difference(earlier, one)[:NAMED])}); gather runs of one list and of the same settings"
                )
    return [run / name for run, samples in requests.items() for name in samples]


def _joined_lists(folders: Sequence[Path]) -> dict[str, str]:
    """Samples of the lists of all folders. Raises ImapError if they differ in the settings or content of one."""
    joined: dict[str, str] = {}
    for folder in folders:
        for name, one in (read_list(folder) or {}).items():
            if joined.setdefault(name, one) != one:
                raise ImapError(
                    f"the list of {folder} has another sample or other settings for {name} than those before; gather "
                    "runs of one list and of the same settings"
                )
    return joined


def _brought(source: Path, out: Path) -> bool | None:
    """Link or copy a sample, all or nothing. Returns whether `out` has got it now; None if that was not possible."""
    interrupts.check()
    folder = out / source.name
    with claim(folder, wait=True):
        here = read_meta(folder)
        is_whole = here is not None and not damaged(folder, here)
        try:
            with interrupts.uninterrupted():
                if not is_whole:
                    write_folder(folder, lambda partial: _fill(partial, source), (META, ARRAYS, VIDEO, VIEW, TRUTH))
                elif (source / VIEW / FACTS).is_file() and not (folder / VIEW / FACTS).is_file():
                    write_folder(folder / VIEW, lambda partial: _link(source / VIEW, partial), ())
        except (FileNotFoundError, _Unfinished):
            log.warning(
                "%s: files are missing or damaged, or it is being written; gather again when that is done", source
            )
            return None
        except ImapError as error:
            log.warning("%s was not gathered: %s", source, error)
            return None
        return here is None


class _Unfinished(Exception):
    """A sample that is not whole."""


def _fill(partial: Path, source: Path) -> None:
    """Link the files of a sample. Raises _Unfinished if they are not whole."""
    _link(source, partial)
    meta = read_meta(partial)
    if meta is None or damaged(partial, meta):
        raise _Unfinished


def _link(source: Path, partial: Path) -> None:
    """Link the files of a folder, or copy them where files cannot be linked. They are never changed in place."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if any(part.startswith(".") for part in inside.parts) or path.is_dir():
            continue
        target = partial / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            shutil.copy2(path, target)


def _join_errors(out: Path, runs: Sequence[Path]) -> None:
    """Join the lines of errors.jsonl, each once."""
    lines: dict[bytes, None] = {}
    with claim(out / ERRORS, wait=True):
        for folder in (out, *runs):
            if (folder / ERRORS).is_file():
                lines |= dict.fromkeys(x for x in (folder / ERRORS).read_bytes().split(b"\n") if x)
        if lines:
            with replaced(out / ERRORS) as new:
                new.write_bytes(b"\n".join([*lines, b""]))


def _join_layers(out: Path, runs: Sequence[Path]) -> None:
    """Copy layers.json of imap_layer=auto, and say if the runs have chosen different layers."""
    files = [folder / LAYERS for folder in (out, *runs) if (folder / LAYERS).is_file()]
    texts = {path.read_bytes(): path for path in reversed(files)}
    if len(texts) > 1:
        log.warning("imap_layer=auto has chosen by different measurements: %s", ", ".join(map(str, texts.values())))
    if files and files[0].parent != out:
        with replaced(out / LAYERS) as new:
            shutil.copy2(files[0], new)


def _place_in(listed: Sequence[str]):  # noqa: ANN202
    places = {name: place for place, name in enumerate(listed)}
    return lambda name: (places.get(name, len(places)), name)


def main(argv: Sequence[str] | None = None, program: str = "imap gather") -> None:
    """Gather, and print how far the runs are. program: name in the usage line."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Join the output folders of shards of one list into OUT: finished samples, errors.jsonl and the "
        "report. Files are linked where that is possible, else copied. It works while the shards run, and again later: "
        "then it adds what is new.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to gather in")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help=f"output_dir of a shard, with its {LIST}")
    given = parser.parse_args(argv)
    plain_log()
    with errors_in_one_line():
        try:
            is_whole = gather(given.out, given.runs)
            print_status([given.out])
        except OSError as error:
            raise ImapError(
                f"{given.out}: {first_line(error)}; what was gathered is whole, and the rest can follow"
            ) from error
    sys.exit(0 if is_whole else 1)
