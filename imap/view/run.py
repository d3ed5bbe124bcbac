"""Pictures and the report page of a whole run."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from imap.view.pictures import Look, write_pictures
from imap.view.report import write_report
from imap.view.sample import open_sample

REPORT = "report.html"


def show_samples(folders: Sequence[Path], look: Look) -> list[Path]:
    """Write view/ into each sample's folder."""
    bar = tqdm(folders, "pictures", unit="sample", disable=len(folders) < 3)
    return [write_pictures(open_sample(folder), look) for folder in bar]


def show_report(folder: Path, samples: Sequence[Path]) -> Path:
    """Write the report page of a run's samples into its folder."""
    return write_report(samples, folder / REPORT, folder.resolve().name)
