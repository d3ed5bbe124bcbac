"""Pictures and the report page of a whole run. A sample that cannot be shown does not stop the others."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from imap.claims import each_claimed
from imap.map_files import META, VIEW
from imap.view.agreement import TABLE, write_agreement
from imap.view.look import Look
from imap.view.pictures import write_pictures
from imap.view.report import write_report
from imap.view.sample import Problems, open_sample

log = logging.getLogger("imap")
REPORT = "report.html"


def show_samples(
    folders: Sequence[Path], look: Look, problems: Problems, needed: Callable[[Path], bool] | None = None
) -> list[Path]:
    """Write view/ into each sample's folder. A sample that another process works on comes last.

    Args:
        folders: of the samples.
        look: of the pictures.
        problems: takes up why pictures are not written.
        needed: whether a sample still needs pictures, asked when no other process can draw them; None draws all.

    Returns:
        The folders of the pictures that are written.
    """
    written = []
    bar = tqdm(folders, "pictures", unit="sample", disable=len(folders) < 3)
    with logging_redirect_tqdm(), closing(each_claimed(bar, Path.resolve)) as claimed:
        for folder in claimed:
            with problems.kept(folder, "pictures"):
                if needed is None or needed(folder):
                    written.append(write_pictures(open_sample(folder), look))
    return written


def show_report(
    folder: Path, samples: Sequence[Path], look: Look, problems: Problems, all_keys: bool | None = None
) -> Path:
    """Write the report page of a run's samples into its folder; of one sample, inside its view/, as a sample's folder
    holds nothing but the sample. problems: takes up why samples have no card. look, all_keys: as in `write_report`."""
    home = folder / VIEW if (folder / META).is_file() else folder
    home.mkdir(exist_ok=True)
    agreement = write_agreement(samples, home / TABLE)
    if agreement is not None:
        log.info("%s", agreement)
    return write_report(samples, home / REPORT, folder.resolve().name, look, problems, all_keys)
