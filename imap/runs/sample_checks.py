"""Check the samples of a list before any weight is loaded."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from imap.backbones.tokens import occurrences
from imap.config.run import Run
from imap.config.samples import Sample
from imap.config.scale import Scale
from imap.errors import ImapError, first_line
from imap.media.clips import as_clip, check_clip
from imap.media.fitted_truth import check_truth
from imap.media.pictures import check_pictures, read_picture
from imap.runs import interrupts
from imap.runs.batch import Tally, Task
from imap.runs.checkpoint import Checkpoint
from imap.runs.failures import CHECK, log_failure, record_checks
from imap.runs.folders import repeated
from imap.runs.request import NAMED, log_found, look_up
from imap.tracing.effect import refuse_absent
from imap.tracing.text_slots import check_count, check_window

log = logging.getLogger("imap")


@dataclass(frozen=True)
class Problem:
    """A sample that cannot run. entry: its place in the list, from 0. name: of its folder."""

    entry: int
    name: str
    reason: str


class SampleChecks:
    """Checks of the samples of one list. A word and a clip that come again are not checked again."""

    def __init__(self, checkpoint: Checkpoint, run: Run, effect: bool, input_json: Any) -> None:
        """effect: whether the effect is read. input_json: the setting."""
        self.checkpoint, self.run, self.effect, self.input_json = checkpoint, run, effect, input_json
        self._check_text, self._check_video = cache(self._text), cache(self._video)  # errors are not remembered
        self._check_picture = cache(self._picture)

    def check(self, sample: Sample, clip: bool = True) -> None:
        """Raise ImapError for a sample that the model cannot take. clip: decode its clip, which takes longest."""
        words, path, adapter = (*sample.concepts, *sample.motions), sample.video_path, self.checkpoint.adapter
        for name, file in sample.files.items():
            if self.input_json and not file.is_absolute() and not file.exists():
                raise ImapError(
                    f"{name}: there is no {file} in {Path.cwd()} (the working folder), nor in "
                    f"{Path(str(self.input_json)).parent.absolute()} (the list's)"
                )
        required = () if path else adapter.images  # frames of a clip replace them
        check_pictures(sample.pictures, required, (*adapter.images, *adapter.optional_images), adapter.family)
        for name, file in sample.pictures.items():
            self._check_picture(name, file)
        check_count(len(words), self.checkpoint.text_slots)
        if self.effect:
            clean = adapter.clean
            refuse_absent([word for word in words if not occurrences(clean(word), clean(sample.prompt))])
        for text in words:
            self._check_text(text)
        if path and clip:
            self._check_video(path)

    def _text(self, text: str) -> None:
        check_window(self.checkpoint.adapter, self.checkpoint.tokenizer, text)

    def _picture(self, name: str, path: Path) -> None:
        read_picture(name, path)

    def _video(self, path: Path) -> None:
        takes = (self.checkpoint.size_multiple, self.checkpoint.adapter.temporal_factor)
        clip = as_clip(path)
        check_clip(clip, self.run.fit, str(path), *takes)
        check_truth(path, clip)


def check_tasks(
    listed: Sequence[Task], checks: SampleChecks, tally: Tally, scale: Scale
) -> tuple[list[Task], list[Problem]]:
    """Tasks that are not finished and can run, and the problems of those that cannot.

    Args:
        listed: tasks of the whole list, in order.
        checks: of the list.
        tally: takes up the finished and the failed ones.
        scale: of several shards, each decodes the clips of its own part, and those up to the first good one of the
            list. With `dry_run` all are decoded, errors.jsonl stays as it is, and a list of one sample may fail.
    """
    tasks, problems, found, output_dir = [], [], {}, checks.run.output_dir
    checked, errors = list[str](), dict[str, Exception]()
    for entry, task in enumerate(tqdm(listed, "checking", leave=False, disable=len(listed) < 10)):
        interrupts.check()
        folder = output_dir / task.name
        found[task.name] = look_up(folder, task.request)
        if found[task.name].is_finished:
            tally.skipped.append(task.name)
            continue
        is_own = scale.dry_run or entry % scale.count == scale.index or not tasks
        checked += [task.name] * is_own
        try:
            if folder.is_file():
                raise ImapError(f"{folder} is a file, where the sample's folder goes; move it away")
            checks.check(task.sample, clip=is_own)
        except ImapError as error:
            interrupts.check()
            if len(listed) == 1 and not scale.dry_run:
                raise
            tally.failed.append(task.name)
            problems.append(Problem(entry, task.name, first_line(error)))
            errors[task.name] = error
            if not scale.dry_run:
                log_failure(task.name, CHECK, first_line(error))
        else:
            tasks.append(replace(task, replaces=bool(found[task.name].changed)))
    if not scale.dry_run:
        record_checks(output_dir, [*tally.skipped, *checked], errors)
    log_found(found)
    twice = [tasks[i].name for i in repeated([task.request for task in tasks])]
    if twice:
        shown = ", ".join(twice[:NAMED]) + (", ..." if len(twice) > NAMED else "")
        log.warning("%d of the list are the same as ones before them, and are made again: %s", len(twice), shown)
    return tasks, problems
