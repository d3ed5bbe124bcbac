"""Pictures and the report page of a whole run. A sample that cannot be shown does not stop the others."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from imap.map_files import META, VIEW
from imap.view.agreement import TABLE, write_agreement
from imap.view.look import Look
from imap.view.pictures import write_pictures
from imap.view.report import write_report
from imap.view.sample import Problems, open_sample

log = logging.getLogger("imap")
REPORT = "report.html"


def show_samples(folders: Sequence[Path], look: Look, problems: Problems) -> list[Path]:
    """Write view/ into each sample's folder; those that are written. problems: takes up why others are not."""
    written = []
    with logging_redirect_tqdm():
        for folder in tqdm(folders, "pictures", unit="sample", disable=len(folders) < 3):
            with problems.kept(folder, "pictures"):
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
