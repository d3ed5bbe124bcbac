"""`imap sample` and `imap renoise`: check the configuration, load the model once, run the samples, draw pictures."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from imap.atomic import clear_leftovers
from imap.backbones import backbone_of
from imap.claims import claim, lock_of
from imap.config.method import shown_map
from imap.config.model import Model
from imap.config.run import DURING, Run
from imap.config.samples import Sample
from imap.errors import ImapError, one_line
from imap.jobs.output import Output
from imap.jobs.posterior_cache import PosteriorCache
from imap.jobs.renoising import renoise_video
from imap.jobs.sample_clip import read_sample
from imap.jobs.sampling import sample_video
from imap.map_files import META, VIEW, set_shown, shows_other
from imap.media.clips import FittedClip
from imap.methods.registry import PUBLISHED
from imap.runs import interrupts
from imap.runs.batch import Tally, Task, finished_on_interrupt, run_tasks
from imap.runs.checkpoint import Checkpoint
from imap.runs.devices import run_on_devices
from imap.runs.failures import forget_failures
from imap.runs.folders import LAYERS
from imap.runs.forecast import write_forecast
from imap.runs.less_memory import offload_of, with_less_memory
from imap.runs.listing import write_list
from imap.runs.loading import load
from imap.runs.plan import RANDOM_WEIGHTS, Plan, plan
from imap.runs.prefetch import Prefetch
from imap.runs.request import look_up, refuse_changed
from imap.runs.run_record import write_run
from imap.tracing.layer_choice import Lambda2Probe, LayerChoice, choose_once
from imap.tracing.prompt_cache import PromptCache
from imap.view.look import Look
from imap.view.pictures import FACTS
from imap.view.report import is_report_of
from imap.view.run import REPORT, show_report, show_samples
from imap.view.sample import Problems

log = logging.getLogger("imap")


def run_command(config: Any, renoising: bool) -> Tally:
    """Run a composed configuration over its list of samples.

    Args:
        config: of `imap sample` or `imap renoise`.
        renoising: `imap renoise`, not `imap sample`.

    Returns:
        Names of the samples that were done, were finished before, and failed. With `dry_run` nothing is done.

    Raises:
        ImapError: if nothing can start.
    """
    values: Any = OmegaConf.to_container(config, resolve=True)
    interrupts.check()
    todo = plan(values, renoising)
    folder, tally = todo.run.output_dir, todo.tally
    if todo.scale.dry_run:
        write_forecast(todo, renoising)
        return tally
    try:
        with finished_on_interrupt(folder, tally):
            write_list(folder, todo.listed)
            if todo.tasks:
                write_run(folder, values, todo.model.device)
                (run_on_devices if todo.scale.devices else run_plan)(todo, renoising)
            if todo.run.pictures:
                show(todo)
            refuse_lost(folder, tally)
    finally:
        with interrupts.uninterrupted():
            forget_failures(folder, [*tally.skipped, *tally.done])
            clear_leftovers(folder)
    log.info("%s: %s", folder, tally)
    return tally


def refuse_lost(folder: Path, tally: Tally) -> None:
    """Raise ImapError if finished samples are gone, as after somebody has removed the folder during the run."""
    lost = [name for name in (*tally.skipped, *tally.done) if not (folder / name / META).is_file()]
    if lost:
        raise ImapError(
            f"{len(lost)} samples that were finished are gone from {folder} ({', '.join(lost[:3])}); run the same "
            "command again to make them"
        )


def show(todo: Plan) -> None:
    """Draw missing pictures of finished samples, and the report. A failure is logged, and no result is lost."""
    folder, shown = todo.run.output_dir, method_show(todo)
    finished = {*todo.tally.skipped, *todo.tally.done}
    samples = [folder / name for name in todo.names if name in finished]

    def lacks_pictures(sample: Path) -> bool:
        return shows_other(sample, shown, PUBLISHED) or not (sample / VIEW / FACTS).is_file()

    def needs_pictures(sample: Path) -> bool:
        interrupts.check()
        return set_shown(sample, shown, PUBLISHED) or lacks_pictures(sample)

    try:
        problems = Problems()
        without = [sample for sample in samples if lacks_pictures(sample)]
        show_samples(without, Look(), problems, needs_pictures)
        if samples and (without or not is_report_of(folder / REPORT, samples)):
            log.info("%s", show_report(folder, samples, Look(), problems))
    except Exception as error:  # decoders and matplotlib have no common class of errors
        interrupts.check()
        log.error("no pictures: %s", one_line(error))


def method_show(todo: Plan) -> str:
    """The map that a run shows."""
    chosen = todo.run.method.get("show")
    return shown_map(PUBLISHED if chosen is None else chosen)


def run_plan(todo: Plan, renoising: bool) -> None:
    """Load the model of a plan and run its tasks."""
    pipe = load_model(todo.model, todo.checkpoint)
    run = choose_layers(pipe, todo, renoising) if todo.run.chooses_layers else todo.run
    facts = facts_of(todo.model, run)
    cache = PosteriorCache(todo.scale.cache_latents, backbone_of(pipe)) if todo.scale.cache_latents else None
    do_tasks(pipe, todo.tasks, run, renoising, todo.tally, facts, todo.scale.max_failures, cache)
    if cache is not None:
        log.info("cache_latents: %s", cache)


def load_model(model: Model, checkpoint: Checkpoint) -> Any:
    """Load a pipeline, and log what is loaded."""
    log.info("loading %s (%s, %s)", checkpoint.source, model.dtype, model.device)
    pipe = load(model, checkpoint.source)
    if model.source is None:
        log.warning(RANDOM_WEIGHTS, model.name)
    return pipe


def facts_of(model: Model, run: Run) -> dict[str, Any]:
    """What `meta.json` records of a run, and is not part of the request."""
    return {"fps": run.fps, "device": str(model.device), "offload": model.offload}


def do_tasks(
    pipe: Any,
    tasks: Sequence[Task],
    run: Run,
    renoising: bool,
    tally: Tally,
    facts: Mapping[str, Any],
    max_failures: int | None = None,
    cache: PosteriorCache | None = None,
) -> None:
    """Run samples one by one. The next clip is decoded in the background, and repeated texts are encoded once.

    Args:
        pipe: a loaded pipeline.
        tasks: samples to do.
        run: settings.
        renoising: read clips instead of sampling.
        tally: is updated after each task.
        facts, max_failures: as in `run_tasks`. `offload` is recorded as it was in the end.
        cache: of the VAE's encodings of clips.
    """
    prompt_cache, facts = PromptCache(backbone_of(pipe)), dict(facts)
    places = {task.sample: place for place, task in enumerate(tasks)}

    def is_free(task: Task) -> bool:
        folder = run.output_dir / task.name
        return not lock_of(folder).exists() and not look_up(folder, task.request).is_finished

    requests = {task.sample: task.request for task in tasks}

    def read(sample: Sample) -> tuple[FittedClip, float]:
        clip = read_sample(sample, run.fit)
        refuse_changed({"video_path": sample.files["video_path"]}, requests[sample])
        return clip

    with Prefetch(read) as clips:

        def work(sample: Sample) -> Output:
            prepared: dict[str, Any] = {"prompt_cache": prompt_cache}
            refuse_changed(sample.pictures, requests[sample])
            if renoising:
                prepared |= {"clip": clips.take(sample), "cache": cache}
                following = next(filter(is_free, tasks[places[sample] + 1 :]), None)
                if following is not None:
                    clips.start(following.sample)
            output = with_less_memory(pipe, partial(one_sample, pipe, sample, run, renoising, **prepared))
            facts["offload"] = offload_of(pipe)
            return output

        run_tasks(tasks, run.output_dir, work, tally, facts, max_failures)


def one_sample(pipe: Any, sample: Sample, run: Run, renoising: bool, **prepared: Any) -> Output:
    """Sample or renoise one sample. prepared: its decoded clip, the prompt cache, the progress callback."""
    try:
        return (renoise_video if renoising else sample_video)(pipe, sample, run, **prepared)
    finally:
        pipe.maybe_free_model_hooks()  # after a failure, an offloaded model may still be on the device


def choose_layers(pipe: Any, todo: Plan, renoising: bool, **prepared: Any) -> Run:
    """Settings of the run with layers of high lambda_2, measured on one sample and saved in layers.json.

    It is the first one of the list that is left to do: the same in every shard.

    prepared: as in `one_sample`.
    """
    run, task = todo.run, todo.first or todo.tasks[0]
    step = run.renoise_timestep[0] if renoising else run.num_inference_steps // 2
    method = {**run.method, "maps_timesteps": None if renoising else [step, step + 1]}
    method |= {"effect": False, "show": PUBLISHED, "keep": None, "random_heads": 0}
    short = replace(run, read=DURING, renoise_timestep=(step,), test_full_denoise=False, method=method)

    def probed() -> LayerChoice:
        with Lambda2Probe(backbone_of(pipe), step, first=step if renoising else 0) as probe:
            one_sample(pipe, task.sample, short, renoising, **prepared)
        return probe.choice()

    def measure() -> LayerChoice:
        try:
            return with_less_memory(pipe, probed)
        except (RuntimeError, OSError, ImapError) as error:
            raise ImapError(
                f"imap_layer=auto could not measure lambda_2 on {task.name}: {error}; list the layers "
                "instead, such as imap_layer=[0,1,2]"
            ) from error

    measured_for = {"model": todo.model.recorded(), "num_inference_steps": run.num_inference_steps, "step": step}
    measured_for |= {"height": run.height, "width": run.width, "num_frames": run.num_frames, "prompt": todo.prompt}
    path = run.output_dir / LAYERS
    with claim(path, wait=True):
        choice = choose_once(path, json.loads(json.dumps(measured_for)), measure)
    log.info("%s", choice)
    return replace(run, method={**run.method, "imap_layer": choice.layers})
