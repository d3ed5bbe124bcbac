"""What every figure starts from: a loaded model, clips, and their ground truth if there is one."""

import csv
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from imap.backbones import Backbone, backbone_of
from imap.config.method import method_settings
from imap.config.run import Run
from imap.config.samples import Sample
from imap.errors import ImapError
from imap.jobs.noise_schedule import timesteps_of
from imap.jobs.output import Output
from imap.jobs.renoising import renoise_video
from imap.media.truth import truth_path
from imap.media.video_io import RATE, steady_times
from imap.runs.failures import ERRORS
from imap.runs.loading import load
from imap.runs.plan import RANDOM_WEIGHTS, plan
from imap.shapes.world.truth import Things
from imap.view.look import Look
from imap.view.normalization import normalize
from imap.view.sample import Shown
from imap.view.strip import Row, save

log = logging.getLogger("imap")
LOOK = {name: getattr(Look(), name) for name in ("colormap", "opacity", "space")}
OF_HEADS = ("heads", "separability")  # figures that compute maps of single heads (`HeadMaps`)
WHOLE_LIST = {
    "dry_run": False,
    "shard": {"index": 0, "count": 1, "helps": True},
    "devices": None,
    "max_failures": None,
}
HEAD_SETTINGS = {"standardize": "text", "surrogate": "per_head", "softmax": False}  # the only ones they support


@dataclass(frozen=True)
class Study:
    """A model, and the clips that a figure reads with it.

    Attributes:
        pipe: the diffusers pipeline.
        model: its name.
        run: the settings. `run.method` has a value for every setting of the method.
        samples: the clips with their words.
        out: path of the figure's files, without a suffix.
    """

    pipe: Any
    model: str
    run: Run
    samples: Sequence[Sample]
    out: Path

    @cached_property
    def backbone(self) -> Backbone:
        """The adapter of the pipeline."""
        return backbone_of(self.pipe)

    def read(
        self, sample: Sample, step: int | None = None, observe: Callable[..., None] | None = None, **method: Any
    ) -> Output:
        """Maps of a clip, by renoising.

        Args:
            sample: the clip and its words.
            step: index of the only step to noise it to; None takes `renoise_timestep`.
            observe: as in `imap.trace`.
            **method: settings of the method that replace those of `run`.

        Returns:
            The frames as read, the maps, and facts about the job.
        """
        steps = self.run.renoise_timestep if step is None else (step,)
        try:
            run = replace(self.run, renoise_timestep=steps, method={**self.run.method, **method})
            return renoise_video(self.pipe, sample, run, observe)
        finally:
            self.pipe.maybe_free_model_hooks()

    def shown(self, sample: Sample, output: Output, rows: Mapping[str, str] | None = None) -> Shown:
        """A clip that was read, as pictures need it. rows: the word of each row that has another name."""
        meta = {"request": {"sample": {"prompt": sample.prompt}}}
        masks = output.truth.by_word(output.maps.texts) if output.truth else {}
        truth = masks | {name: masks[word] for name, word in (rows or {}).items() if word in masks}
        times = output.times or steady_times(len(output.frames), self.run.fps or RATE)
        return Shown(_clip_of(sample), output.frames, times, output.maps, meta, truth=truth)

    def timestep(self, step: int) -> int:
        """The scheduler's timestep (of 1000) at a step index."""
        run = self.run
        return round(
            float(timesteps_of(self.backbone, run.num_inference_steps, run.num_frames, run.height, run.width)[step])
        )

    def truths(self, sample: Sample, output: Output) -> dict[str, Any]:
        """Ground truth by word, a NounTruth or VerbTruth each, from the file beside the clip. Empty without a file.

        Raises:
            ImapError: The clip was read at another size or length than the truth has.
        """
        path = truth_of(sample)
        if not path.is_file():
            return {}
        things = Things.load(path)
        rendered, read = tuple(things.masks.shape[1:]), output.frames.shape[:3]
        if rendered != read:
            raise ImapError(
                f"{path} has frames of {'x'.join(map(str, rendered))}, but the clip was read as "
                f"{'x'.join(map(str, read))}; set video.resize=none, video.frames=none and the size of the clip"
            )
        return {truth.word: truth for truth in things.truths(next(iter(output.maps.values())).shape[2:])}

    def path(self, suffix: str) -> Path:
        """Path of one of the figure's files."""
        return self.out.with_name(self.out.name + suffix)

    def write_figure(self, figure: Figure, name: str = "") -> None:
        """Write <out><name>.png and .pdf."""
        for suffix in (".png", ".pdf"):
            save(figure, self.path(name + suffix))
        log.info("%s, .pdf", self.path(f"{name}.png"))

    def write_table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write <out>.csv, with numbers to six digits."""
        with self.path(".csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(header)
            lines.writerows([f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows)

    def write_maps(self, maps: np.ndarray, name: str = "") -> None:
        """Write <out><name>.npy as float32."""
        np.save(self.path(f"{name}.npy"), maps.astype(np.float32))


def truth_of(sample: Sample) -> Path:
    """Path of a clip's ground truth, whether the file exists or not."""
    return truth_path(_clip_of(sample))


def _clip_of(sample: Sample) -> Path:
    assert sample.video_path is not None  # the plan of a renoising run checks that each sample has a clip
    return sample.video_path


def begin(config: Any, name: str) -> Study:
    """Check all settings of a figure, then load the model.

    Args:
        config: configs/figures.yaml, composed by Hydra.
        name: of the figure.

    Returns:
        What the figure's `draw` takes.

    Raises:
        ImapError: The figure cannot be drawn with these settings or clips.
    """
    composed: Any = OmegaConf.to_container(config, resolve=True)
    settings = composed | {"pictures": False, "test_full_denoise": False, **WHOLE_LIST}
    todo = plan(settings, renoising=True)
    if todo.run.chooses_layers:
        raise ImapError(
            "imap_layer=auto is for imap sample and imap renoise; give a list, such as the lambda_2 figure prints"
        )
    if todo.tally.skipped:
        raise ImapError(f"{todo.run.output_dir} holds a run of imap renoise; name another output_dir")
    if todo.tally.failed:
        raise ImapError(f"{todo.tally.failed[0]} cannot be read; {todo.run.output_dir / ERRORS} has the reason")
    samples, checkpoint = [task.sample for task in todo.tasks], todo.checkpoint
    paper, token = settings["backbone"]["paper"], checkpoint.adapter.default_concept_token
    method = vars(method_settings(todo.run.method, paper, checkpoint.num_layers, checkpoint.num_heads, token))
    if name in OF_HEADS:
        check_heads(method, samples, name)
    log.info("loading %s (%s, %s)", checkpoint.source, todo.model.dtype, todo.model.device)
    pipe = load(todo.model, checkpoint.source)
    if todo.model.source is None:
        log.warning(RANDOM_WEIGHTS, todo.model.name)
    pipe.set_progress_bar_config(disable=True)
    return Study(pipe, todo.model.name, replace(todo.run, method=method), samples, todo.run.output_dir / name)


def check_heads(method: Mapping[str, Any], samples: Iterable[Sample], name: str) -> None:
    """Check the settings and clips of a figure of single heads.

    Args:
        method: all settings of the method.
        samples: the clips.
        name: of the figure.

    Raises:
        ImapError: A setting is not supported, a clip has no ground truth, or a clip has a single word.
    """
    for setting, value in HEAD_SETTINGS.items():
        if method[setting] != value:
            raise ImapError(f"{name} needs {setting}={value}; remove {setting}={method[setting]}")
    for sample in samples:
        if not truth_of(sample).is_file():
            raise ImapError(
                f"{sample.video_path} has no {truth_of(sample).name} beside it, and {name} scores maps against the "
                "ground truth; render clips that have one with `imap shapes render` (at any size)"
            )
        if len(words_of(sample)) < 2:
            raise ImapError(
                f"{name} needs at least two words per clip, and {sample.video_path} has only {words_of(sample)[0]!r}; "
                "standardization over a single text leaves only a sign, so add a word to concepts or motions"
            )


def nothing_scored(samples: Iterable[Sample]) -> ImapError:
    """The error for clips whose ground truth has none of the words."""
    words = dict.fromkeys(word for sample in samples for word in words_of(sample))
    return ImapError(
        f"the ground truth of the clips has none of the words {', '.join(words)}; use nouns that the clips show, or "
        "verbs that happen in them (not stays)"
    )


def words_of(sample: Sample) -> tuple[str, ...]:
    """Concepts and motion words, in the order of the maps' texts."""
    return (*sample.concepts, *sample.motions)


def first_word(sample: Sample) -> str:
    """The word of a figure that shows one: the first motion word, or the first noun if there is none."""
    return (*sample.motions, *sample.concepts)[0]


def row(text: str, label: str, x: np.ndarray) -> Row:
    """A map (latent frames, h, w) as a row of a strip, in the colours of all pictures."""
    normalized = normalize(x[None])
    return (text, label, normalized.values[0], tuple(normalized.limits[0, 0]))
