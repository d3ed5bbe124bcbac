"""What both doors do with a composed configuration: check all of it, load the model once, do the samples, report."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import OmegaConf

from imap.batch import run_samples
from imap.loading import load
from imap.preflight import Plan, plan
from imap.renoising import renoise_video
from imap.samples import Sample
from imap.sampling import Output, sample_video

log = logging.getLogger("imap")
RANDOM_WEIGHTS = (
    "backbone={} is a small pipeline with RANDOM weights: everything runs as with a real model, and the maps mean "
    "nothing. For a real one set backbone=cogvideox_2b, cogvideox_5b, wan2_1_1_3b, wan2_1_14b or hunyuanvideo."
)


def run_door(config: Any, renoising: bool) -> None:
    """Run a door. Exits with status 1 when a sample has failed; raises ImapError when nothing can start."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "diffusers", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    plain: Mapping[str, Any] = OmegaConf.to_container(config, resolve=True)
    todo = plan(plain, renoising)
    if todo.model.source is None:
        log.warning(RANDOM_WEIGHTS.format(todo.model.name))
    run_samples(todo.samples, todo.run.output_dir, todo.settings, _work(todo, renoising), todo.run.fps, todo.tally)
    log.info("%s: %s", todo.run.output_dir, todo.tally)
    if todo.model.source is None:
        log.warning("(random weights: the maps mean nothing)")
    if todo.tally.failed:
        sys.exit(1)


def _work(todo: Plan, renoising: bool) -> Callable[[Sample], Output]:
    """The job of one sample. The model is loaded when the first sample needs it, so a finished run loads none."""
    job, loaded = renoise_video if renoising else sample_video, []

    def work(sample: Sample) -> Output:
        if not loaded:
            log.info("loading %s (%s, %s)", todo.outline.source, todo.model.dtype, todo.model.device)
            loaded.append(load(todo.model, todo.outline.source))
        return job(loaded[0], sample, todo.run)

    return work
