"""One pipeline and its jobs. The checks and the work are those of `imap sample` and `imap renoise`."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from imap.config.model import model_settings
from imap.config.run import run_settings
from imap.demo.settings import Configs
from imap.errors import ImapError
from imap.jobs.timing import Progress
from imap.map_files import VIEW, read_meta, set_shown
from imap.methods.registry import PUBLISHED
from imap.runs.batch import write_sample
from imap.runs.plan import Plan, check_model, plan
from imap.runs.runner import choose_layers, facts_of, load_model, method_show, one_sample
from imap.view.look import Look
from imap.view.run import REPORT, show_report, show_samples
from imap.view.sample import Problems

log = logging.getLogger("imap")
KEPT = 8  # jobs whose results are kept
PREFIX = "imap-demo-"
TICK = 0.15  # seconds between two looks at a job


@dataclass(frozen=True)
class Form:
    """What a user has filled in. Steps and read count for a new video; clip, resize and frames for a clip."""

    renoising: bool
    prompt: str
    concepts: str
    motions: str
    clip: str | None = None
    seed: int | None = None
    steps: int | None = None
    read: str = "after"
    effect: bool = False
    resize: str = "none"
    frames: str = "none"


@dataclass(frozen=True)
class Result:
    """A finished sample. folder: its own; archive: the same as a zip file."""

    folder: Path
    archive: Path

    @property
    def overview(self) -> Path:
        """The video beside the maps of all words."""
        return self.folder / VIEW / "overview.mp4"

    @property
    def report(self) -> str:
        """The report page of the sample."""
        return (self.folder / VIEW / REPORT).read_text(encoding="utf-8")

    @property
    def notes(self) -> list[str]:
        """What readers of the maps must know."""
        return [str(note) for note in (read_meta(self.folder) or {}).get("notes", ())]


class Engine:
    """A loaded pipeline that does one job at a time. Results are in a temporary folder until `close`."""

    def __init__(self, configs: Configs) -> None:
        """Check the settings of both commands, then load.

        Raises:
            ImapError: for settings that the pipeline cannot run with.
        """
        self.configs = configs
        for renoising, config in configs.items():
            model, run = model_settings(config["backbone"]), run_settings(config, renoising)
            self.checkpoint, _ = check_model(config, model, run, renoising)
        self.model = model
        self.pipe = load_model(model, self.checkpoint)
        self.pipe.set_progress_bar_config(disable=True)
        self._temporary = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self._line: list[object] = []  # of jobs, the first of which runs
        self._numbers = count(1)

    @property
    def backbone(self) -> Mapping[str, Any]:
        """The configuration of the model."""
        return self.configs[False]["backbone"]

    def run(self, form: Form, progress: Progress) -> Result:
        """Do a job, after those before it. What `progress` raises ends it, and nothing of it is left.

        Raises:
            ImapError: for what the command refuses, with the same words.
        """
        with self._turn(progress), self._home() as home:
            progress("check", 0, 0)
            todo = plan(self.values(form, home), form.renoising)
            (task,) = todo.tasks
            run = todo.run
            if run.chooses_layers:
                run = choose_layers(self.pipe, todo, form.renoising, progress=progress)
            output = one_sample(self.pipe, task.sample, run, form.renoising, progress=progress)
            progress("write", 0, 0)
            write_sample(home / task.name, output, task.request, facts_of(todo.model, run))
            progress("pictures", 0, 0)
            _draw(home / task.name, todo)
            progress("archive", 0, 0)
            archive = shutil.make_archive(str(home / task.name), "zip", home, task.name)
            return Result(home / task.name, Path(archive))

    def values(self, form: Form, output_dir: Path) -> dict[str, Any]:
        """The configuration of a job, as the command would compose it."""
        base = self.configs[form.renoising]
        words = {"prompt": form.prompt, "concepts": form.concepts, "motions": form.motions}
        effect = base["effect"] if bool(base["effect"]) is form.effect else form.effect
        settings = {"seed": form.seed, "effect": effect}
        # without the built-in example, of which hints of the command speak
        backbone = {key: x for key, x in base["backbone"].items() if key != "demo"}
        own = {"read": form.read, "num_inference_steps": form.steps}
        if form.renoising:
            own = {"video_path": form.clip, "video": {**base["video"], "resize": form.resize, "frames": form.frames}}
        return {**base, **words, **settings, **own, "backbone": backbone, "output_dir": str(output_dir)}

    def close(self) -> None:
        """Remove all results."""
        self._temporary.cleanup()

    @contextmanager
    def _turn(self, progress: Progress) -> Iterator[None]:
        """Wait until the jobs before this one have ended."""
        turn = object()
        self._line.append(turn)
        try:
            while self._line[0] is not turn:
                progress("wait", 0, 0)
                time.sleep(TICK)
            yield
        finally:
            self._line.remove(turn)

    @contextmanager
    def _home(self) -> Iterator[Path]:
        """A new folder of a job. It is removed if the job fails, or when KEPT newer ones are there."""
        home = self.folder / f"job-{next(self._numbers):05d}"
        home.mkdir()
        try:
            yield home
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        for old in sorted(self.folder.glob("job-*"))[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _draw(folder: Path, todo: Plan) -> None:
    """Draw the pictures and the report of a sample. Raises ImapError if one cannot be drawn."""
    problems = Problems()
    set_shown(folder, method_show(todo), PUBLISHED)
    show_samples([folder], Look(), problems)
    show_report(folder, [folder], Look(), problems)
    if problems:
        raise ImapError(f"no pictures: {problems[folder]}")
