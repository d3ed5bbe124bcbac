"""What every figure starts from: a loaded model, clips to read, and what they show where that is known."""

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from imap.backbones import Backbone, backbone_of
from imap.errors import ImapError
from imap.loading import load
from imap.preflight import plan
from imap.renoising import renoise_video
from imap.results import Maps, Output
from imap.samples import Sample
from imap.settings.run import AUTO, Run
from imap.shapes.truth import NounTruth, Things, VerbTruth
from imap.view.normalization import normalize
from imap.view.sample import Shown
from imap.view.strip import Row, save

log = logging.getLogger("imap")
LOOK = {"colormap": "inferno", "opacity": 0.8, "space": "bilinear"}


@dataclass(frozen=True)
class Study:
    """A model and the clips that a figure reads with it. out: the folder and the name that its files begin with."""

    pipe: Any
    run: Run
    samples: Sequence[Sample]
    out: Path

    @cached_property
    def backbone(self) -> Backbone:
        return backbone_of(self.pipe)

    def read(self, sample: Sample, step: int | None = None, **method: Any) -> Output:
        """Maps of a clip; step: the only index to noise it to; method: settings of `imap.trace` to change."""
        steps = self.run.renoise_timestep if step is None else (step,)
        try:
            run = replace(self.run, renoise_timestep=steps, method={**self.run.method, **method})
            return renoise_video(self.pipe, sample, run)
        finally:
            self.pipe.maybe_free_model_hooks()

    def shown(self, sample: Sample, output: Output) -> Shown:
        """A read clip as the view takes it."""
        return Shown(sample.video_path, output.frames, self.run.fps, output.maps, {})

    def timestep(self, step: int) -> int:
        """The scheduler's timestep, of 1000, at a step index."""
        self.backbone.set_schedule(self.run.num_inference_steps)
        return round(float(self.pipe.scheduler.timesteps[step]))

    def truths(self, sample: Sample, maps: Maps) -> dict[str, NounTruth | VerbTruth]:
        """What a clip shows, by word; empty where it has no truth-<clip>.npz beside it."""
        path = sample.video_path.with_name(f"truth-{sample.video_path.stem}.npz")
        grid = next(iter(maps.values())).shape[2:]
        found = Things.load(path).truths(grid) if path.is_file() else []
        return {truth.word: truth for truth in found}

    def needed_truths(self, sample: Sample, maps: Maps) -> dict[str, NounTruth | VerbTruth]:
        """As `truths`. Raises ImapError where there is none."""
        found = self.truths(sample, maps)
        if not found:
            raise ImapError(
                f"{sample.video_path} has no truth-{sample.video_path.stem}.npz beside it, and this figure scores maps "
                "against the truth; make clips that have one with python -m imap.shapes.render (at any size)"
            )
        return found

    def path(self, suffix: str) -> Path:
        return self.out.with_name(self.out.name + suffix)

    def write_figure(self, figure: Figure) -> None:
        """NAME.png and NAME.pdf."""
        for suffix in (".png", ".pdf"):
            save(figure, self.path(suffix))
        log.info("%s, .pdf", self.path(".png"))

    def write_table(self, header: Sequence[str], rows: Iterable[Sequence[Any]], name: str = "") -> None:
        """NAME.csv, with numbers to six digits."""
        with self.path(f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(header)
            lines.writerows([f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows)

    def write_maps(self, maps: np.ndarray, name: str = "") -> None:
        """NAME.npy, float32."""
        np.save(self.path(f"{name}.npy"), maps.astype(np.float32))


def begin(config: Any, name: str) -> Study:
    """Check everything that a figure is asked for, then load the model. config: as main_Renoising.py takes it."""
    asked = OmegaConf.to_container(config, resolve=True) | {"pictures": False, "test_full_denoise": False}
    if asked["imap_layer"] == AUTO:
        raise ImapError("imap_layer=auto is for the doors; the lambda_2 figure names the layers, give a list of them")
    todo = plan(asked, renoising=True)
    log.info("loading %s (%s, %s)", todo.outline.source, todo.model.dtype, todo.model.device)
    pipe = load(todo.model, todo.outline.source)
    pipe.set_progress_bar_config(disable=True)
    todo.run.output_dir.mkdir(parents=True, exist_ok=True)
    return Study(pipe, todo.run, [task.sample for task in todo.tasks], todo.run.output_dir / name)


def row(text: str, label: str, x: np.ndarray) -> Row:
    """A map (latent frames, h, w) as a row of a strip, scaled over the video."""
    found = normalize(x[None], "video")
    return (text, label, found.values[0], tuple(found.limits[0, 0]))


def motions_first(sample: Sample) -> list[str]:
    """A clip's words, the motion words first."""
    return [*sample.motions, *(text for text in sample.concepts if text not in sample.motions)]
