"""What every figure starts from: a loaded model, clips to read, and what they show where that is known."""

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
from imap.jobs.output import Output
from imap.jobs.renoising import renoise_video
from imap.runs.batch import ERRORS
from imap.runs.loading import load
from imap.runs.plan import RANDOM_WEIGHTS, plan
from imap.shapes.world.truth import Things
from imap.view.normalization import normalize
from imap.view.sample import Shown
from imap.view.strip import Row, save

log = logging.getLogger("imap")
LOOK = {"colormap": "inferno", "opacity": 0.8, "space": "bilinear"}
OF_HEADS = ("heads", "separability")  # figures that form maps of single heads themselves,
PLAIN = {"standardize": "text", "surrogate": "per_head", "softmax": False}  # and how


@dataclass(frozen=True)
class Study:
    """A model, what it is called, and the clips that a figure reads with it. out: the folder, and the name that its
    files begin with.

    run.method has every setting of the method, the paper's where none was given.
    """

    pipe: Any
    model: str
    run: Run
    samples: Sequence[Sample]
    out: Path

    @cached_property
    def backbone(self) -> Backbone:
        """The model as the method sees it."""
        return backbone_of(self.pipe)

    def read(
        self, sample: Sample, step: int | None = None, observe: Callable[..., None] | None = None, **method: Any
    ) -> Output:
        """Maps of a clip; step: the only index to noise it to; observe, method: of `imap.trace`, the rest as asked."""
        steps = self.run.renoise_timestep if step is None else (step,)
        try:
            run = replace(self.run, renoise_timestep=steps, method={**self.run.method, **method})
            return renoise_video(self.pipe, sample, run, observe)
        finally:
            self.pipe.maybe_free_model_hooks()

    def shown(self, sample: Sample, output: Output) -> Shown:
        """A read clip as the view takes it."""
        meta = {"request": {"sample": {"prompt": sample.prompt}}}
        return Shown(_clip_of(sample), output.frames, self.run.fps, output.maps, meta)

    def timestep(self, step: int) -> int:
        """The scheduler's timestep, of 1000, at a step index."""
        self.backbone.set_schedule(self.run.num_inference_steps)
        return round(float(self.pipe.scheduler.timesteps[step]))

    def truths(self, sample: Sample, output: Output) -> dict[str, Any]:
        """What a clip shows, a NounTruth or VerbTruth by word, of the truth beside it; empty where there is none.

        Raises ImapError where it is of another size or length than the clip was read at.
        """
        path = truth_of(sample)
        if not path.is_file():
            return {}
        things = Things.load(path)
        read = output.frames.shape[:3]
        if tuple(things.masks.shape[1:]) != read:
            raise ImapError(
                f"{path} is of {'x'.join(map(str, things.masks.shape[1:]))}, and the clip was read as "
                f"{'x'.join(map(str, read))}; set video.resize=none and video.frames=none, and the clip's own size"
            )
        return {truth.word: truth for truth in things.truths(next(iter(output.maps.values())).shape[2:])}

    def path(self, suffix: str) -> Path:
        """Of one of the figure's files."""
        return self.out.with_name(self.out.name + suffix)

    def write_figure(self, figure: Figure, name: str = "") -> None:
        """<out><name>.png and .pdf."""
        for suffix in (".png", ".pdf"):
            save(figure, self.path(name + suffix))
        log.info("%s, .pdf", self.path(f"{name}.png"))

    def write_table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """<out>.csv, with numbers to six digits."""
        with self.path(".csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(header)
            lines.writerows([f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows)

    def write_maps(self, maps: np.ndarray, name: str = "") -> None:
        """<out><name>.npy, float32."""
        np.save(self.path(f"{name}.npy"), maps.astype(np.float32))


def truth_of(sample: Sample) -> Path:
    """Where the truth of a clip lies, if it has one."""
    clip = _clip_of(sample)
    return clip.with_name(f"truth-{clip.stem}.npz")


def _clip_of(sample: Sample) -> Path:
    assert sample.video_path is not None  # figures read clips, and a plan checks that each sample has one
    return sample.video_path


def begin(config: Any, name: str) -> Study:
    """Check everything that a figure is asked for, then load the model. config: configs/figures.yaml, composed.

    Raises ImapError for what cannot be drawn.
    """
    composed: Any = OmegaConf.to_container(config, resolve=True)
    settings = composed | {"pictures": False, "test_full_denoise": False}
    todo = plan(settings, renoising=True)
    if todo.run.chooses_layers:
        raise ImapError(
            "imap_layer=auto is for imap sample and imap renoise; give a list, such as the lambda_2 figure prints"
        )
    if todo.tally.skipped:
        raise ImapError(f"{todo.run.output_dir} holds a run of imap renoise; name another output_dir")
    if todo.tally.failed:
        raise ImapError(f"{todo.tally.failed[0]} cannot be read; {todo.run.output_dir / ERRORS} tells why")
    samples, found = [task.sample for task in todo.tasks], todo.checkpoint
    paper, token = settings["backbone"]["paper"], found.adapter.default_concept_token
    method = vars(method_settings(todo.run.method, paper, found.num_layers, found.num_heads, token))
    if name in OF_HEADS:
        check_heads(method, samples, name)
    log.info("loading %s (%s, %s)", todo.checkpoint.source, todo.model.dtype, todo.model.device)
    pipe = load(todo.model, todo.checkpoint.source)
    if todo.model.source is None:
        log.warning(RANDOM_WEIGHTS, todo.model.name)
    pipe.set_progress_bar_config(disable=True)
    return Study(pipe, todo.model.name, replace(todo.run, method=method), samples, todo.run.output_dir / name)


def check_heads(method: Mapping[str, Any], samples: Iterable[Sample], name: str) -> None:
    """Raise ImapError unless maps are formed as figures of single heads form theirs, and there is what scores them."""
    for setting, value in PLAIN.items():
        if method[setting] != value:
            raise ImapError(f"{name} is of {setting}={value}; leave {setting}={method[setting]} out")
    for sample in samples:
        if not truth_of(sample).is_file():
            raise ImapError(
                f"{sample.video_path} has no {truth_of(sample).name} beside it, and {name} scores maps against the "
                "truth; make clips that have one with python -m imap.shapes.render (at any size)"
            )
        if len(words_of(sample)) < 2:
            raise ImapError(
                f"{name} needs two words in every clip, and {sample.video_path} has {words_of(sample)[0]!r} alone: "
                "over one text only a sign would be left; name another in concepts or motions"
            )


def nothing_scored(samples: Iterable[Sample]) -> ImapError:
    """What to say when the truth beside the clips is of none of the words."""
    words = dict.fromkeys(word for sample in samples for word in words_of(sample))
    return ImapError(
        f"the truth beside the clips scores none of the words {', '.join(words)}; name nouns that are seen there, or "
        "motion words that happen (stays is none)"
    )


def words_of(sample: Sample) -> tuple[str, ...]:
    """Nouns and motion words, in the order of the maps' texts."""
    return (*sample.concepts, *sample.motions)


def first_word(sample: Sample) -> str:
    """The word that a figure of a single word shows: the first motion word, or where there is none the first noun."""
    return (*sample.motions, *sample.concepts)[0]


def row(text: str, label: str, x: np.ndarray) -> Row:
    """A map (latent frames, h, w) as a row of a strip, scaled over the video."""
    found = normalize(x[None], "video")
    return (text, label, found.values[0], tuple(found.limits[0, 0]))
