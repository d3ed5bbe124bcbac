"""Segmentation scores of a run's samples: read, scored, written."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from imap.atomic import replaced
from imap.errors import ImapError
from imap.evaluation import segmentation as seg
from imap.evaluation.long_form import Row, mean_of_known, write_rows
from imap.map_files import TRUTH, load_truth
from imap.methods.registry import key_of
from imap.view.sample import Shown, open_sample

log = logging.getLogger("imap")
BACKGROUND = "(background)"  # the class of pixels that no thing covers; no noun is in brackets
WINDOWS = (8, 16)  # frames
KIND, ALL = "concept", "all"  # in the table: kind of the words, and the sample name for the whole run
CONSISTENCY = {"": seg.video_consistency, "_public": seg.public_video_consistency}


@dataclass(frozen=True)
class Rule:
    """How maps become labels.

    Attributes:
        background: threshold of the class background; None: no such class.
        space: how maps are enlarged.
    """

    background: float | None = None
    space: str = "nearest"


@dataclass
class Pooled:
    """Counts of one map over the clips of a run.

    Attributes:
        pixels: by true class and predicted class.
        windows: VC of every window, by the name of the score.
    """

    pixels: Counter[tuple[str, str]] = field(default_factory=Counter)
    windows: dict[str, list[float]] = field(default_factory=dict)

    def scores(self) -> tuple[dict[str, float], dict[str, float]]:
        """IoU by class that the truth has, and the other scores by name."""
        names = list(dict.fromkeys(name for pair in self.pixels for name in pair))
        confusion = np.array([[self.pixels[true, found] for found in names] for true in names], np.int64)
        confusion = confusion.reshape(len(names), len(names))  # of no class too
        known = {name: float(x) for name, x in zip(names, seg.class_iou(confusion), strict=True) if not np.isnan(x)}
        return known, {"miou": seg.mean_iou(confusion)} | {
            f"m{name}": mean_of_known(values) for name, values in self.windows.items()
        }


@dataclass(frozen=True)
class Segmented:
    """Result of a run.

    Attributes:
        rule: how maps became labels.
        rows: of the table.
        scores: of each map over all clips, by name.
        clips: number of clips that were scored.
        notes: what readers of the numbers must know.
    """

    rule: Rule
    rows: Sequence[Row]
    scores: dict[str, dict[str, float]]
    clips: int
    notes: Sequence[str]


def segment(samples: Sequence[Path], keys: Sequence[str], rule: Rule) -> Segmented:
    """Score the maps of a run's samples.

    Args:
        samples: their folders.
        keys: of maps, or their labels.
        rule: how maps become labels.

    Raises:
        ImapError: if no sample has a truth, or one lacks a map.
    """
    with_truth = [sample for sample in samples if (sample / TRUTH).is_file()]
    if not with_truth:
        raise ImapError(
            f"no sample of {samples[0].parent} has a {TRUTH}; make the list with imap score prepare, or put a "
            "truth-<clip>.npz beside each clip, and run imap renoise again"
        )
    notes = []
    if len(with_truth) < len(samples):
        notes.append(f"{len(samples) - len(with_truth)} samples without {TRUTH} are left out")
    rows: list[Row] = []
    pooled: dict[str, Pooled] = {}
    clips = 0
    for folder in with_truth:
        scored = _scored(open_sample(folder), keys, rule, pooled, notes)
        rows += scored
        clips += bool(scored)
    scores = {}
    for key, one in pooled.items():
        by_class, scores[key] = one.scores()
        rows += [(ALL, name, KIND, key, "class_iou", x) for name, x in by_class.items()]
        rows += [(ALL, "", KIND, key, name, x) for name, x in scores[key].items()]
    if not clips:
        raise ImapError("no sample has a map of a noun that its truth shows; give the nouns as concepts of the list")
    return Segmented(rule, rows, scores, clips, notes)


def _scored(shown: Shown, keys: Sequence[str], rule: Rule, pooled: dict[str, Pooled], notes: list[str]) -> list[Row]:
    """Rows of one sample, whose counts are added to `pooled`."""
    size = shown.frames.shape[0], shown.frames.shape[1], shown.frames.shape[2]
    truth = load_truth(shown.folder, size)
    assert truth is not None  # its file is there
    rows_of = {text.casefold(): row for row, text in enumerate(shown.maps.texts)}
    present = seg.present_classes(truth)
    classes = [name for name in present if name in rows_of]
    lacking = [name for name in present if name not in rows_of]
    if lacking:  # their pixels count, as they are part of the truth, and no prediction hits them
        consequence = "its pixels count as missed" if classes else "the sample is left out"
        notes.append(f"{shown.folder.name} has no map of {', '.join(lacking)}; {consequence}")
    if not classes:
        return []
    names = [*classes, BACKGROUND, *lacking]  # the background after the classes that have maps, as in a prediction
    background = seg.VOID if rule.background is None else len(classes)
    labels = seg.true_labels(truth, {name: names.index(name) for name in present}, background)
    rows: list[Row] = []
    for key in [key_of(name, shown.maps.names) for name in keys]:
        found = seg.predicted_labels(
            shown.maps[key][[rows_of[name] for name in classes]], size, rule.background, rule.space
        )
        confusion = seg.confusion_matrix(labels, found, len(names))
        one = pooled.setdefault(key, Pooled())
        for i, j in zip(*np.nonzero(confusion), strict=True):
            one.pixels[names[i], names[j]] += int(confusion[i, j])
        scores = {"miou": seg.mean_iou(confusion)}
        for frames in WINDOWS:
            for kind, consistency in CONSISTENCY.items():
                name = f"vc{frames}{kind}"
                values = consistency(labels, found, frames)
                one.windows.setdefault(name, []).extend(values)
                scores[name] = mean_of_known(values)
        rows += [(shown.folder.name, "", KIND, key, f"clip_{name}", x) for name, x in scores.items()]
    return rows


def report(result: Segmented, table: Path, summary: Path) -> str:
    """Write the table and a summary, and return lines to print."""
    write_rows(table, result.rows)
    scores = {
        key: {name: None if np.isnan(x) else round(x, 6) for name, x in by_name.items()}
        for key, by_name in result.scores.items()
    }
    facts = {"rule": asdict(result.rule), "clips": result.clips, "scores": scores, "notes": list(result.notes)}
    with replaced(summary) as part:
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    names = list(next(iter(result.scores.values())))
    background = "none" if result.rule.background is None else f"below {result.rule.background:g}"
    lines = [
        f"{result.clips} clips; background: {background}; maps enlarged: {result.rule.space}",
        f"{'map':<34}" + "".join(f"{name:>15}" for name in names),
        *(f"{key:<34}" + "".join(f"{by[name]:>15.3f}" for name in names) for key, by in result.scores.items()),
        *(f"note: {note}" for note in result.notes),
        str(table),
    ]
    return "\n".join(lines)
