"""Check a whole run before any weight is loaded, and list what is left to do."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imap.atomic import check_writable
from imap.config.file_hash import sha256_of
from imap.config.method import Method, method_settings
from imap.config.model import Model, model_settings
from imap.config.run import AFTER, AUTO, DURING, Run, run_settings
from imap.config.sample_lists import samples_of
from imap.config.samples import Sample, numbered
from imap.config.scale import Scale, scale_settings, with_device
from imap.errors import ImapError
from imap.jobs.posterior_cache import check_cache
from imap.media.clips import check_video_size
from imap.methods.registry import MAPS
from imap.runs.batch import Tally, Task, finished_on_interrupt
from imap.runs.checkpoint import Checkpoint, read_checkpoint
from imap.runs.failures import ERRORS
from imap.runs.folders import earlier_requests, log_others, placed
from imap.runs.request import Request, request
from imap.runs.sample_checks import Problem, SampleChecks, check_tasks
from imap.runs.shards import shard_of
from imap.tracing.keep_memory import check_memory
from imap.tracing.layer_choice import check_attention_matrix

log = logging.getLogger("imap")
REAL = (
    "cogvideox_2b, cogvideox_5b, wan2_1_1_3b, wan2_1_14b or hunyuanvideo"  # backbones that were trained on real videos
)
RANDOM_WEIGHTS = (
    "backbone=%s has RANDOM weights: it runs like a real model, but its maps mean nothing. "
    f"For a real model, set backbone={REAL}."
)


@dataclass(frozen=True)
class Plan:
    """A checked run: what to load, and which samples are left to do."""

    model: Model
    run: Run
    scale: Scale
    checkpoint: Checkpoint
    method: Method
    tasks: Sequence[Task]
    prompt: str  # of the first sample of the whole list, finished or not: it identifies the list
    listed: Mapping[str, Request]  # of the whole list, in order, by folder
    first: Task | None  # of the list that is not finished, whatever the shard: imap_layer=auto measures it
    tally: Tally  # has the samples that are finished already, and those that fail the check
    problems: Sequence[Problem] = ()  # of those that fail

    @property
    def names(self) -> Sequence[str]:
        """Folders of the whole list, in order."""
        return list(self.listed)


def plan(config: Mapping[str, Any], renoising: bool) -> Plan:
    """Check a composed configuration.

    In a list, a sample with a bad clip or a word that is too long counts as failed, and the others go on. With
    `dry_run`, all of them may fail, and errors.jsonl is not written.

    Args:
        config: plain values of a composed configuration.
        renoising: `imap renoise`, not `imap sample`.

    Raises:
        ImapError: if no sample can run.
    """
    scale = scale_settings(config)
    model, run = model_settings(with_device(config["backbone"], scale)), run_settings(config, renoising)
    samples = list(numbered(samples_of(config, renoising, config["backbone"].get("demo"))))
    warn_of_unknown_words([sample for _, sample in samples], model.name, config["backbone"].get("words"))
    if scale.cache_latents:
        check_cache(scale.cache_latents, model.offload)
    checkpoint, method = check_model(config, model, run, renoising)
    check_writable(run.output_dir)
    settings = recorded_settings(model, run, method)
    tally = Tally()
    with finished_on_interrupt(run.output_dir, tally):
        listed = place_tasks(samples, settings, run.output_dir)
        checks = SampleChecks(checkpoint, run, bool(method.effect), config["input_json"])
        tasks, problems = check_tasks(listed, checks, tally, scale)
        check_keep([task.sample for task in tasks], checkpoint, run, method, renoising)
    if len(tally.failed) == len(listed) and not scale.dry_run:
        raise ImapError(f"none of the {len(listed)} samples can run; see {run.output_dir / ERRORS} for the reasons")
    requests, first = {task.name: task.request for task in listed}, tasks[0] if tasks else None
    tasks = shard_of(tasks, list(requests), scale, run.output_dir)
    return Plan(model, run, scale, checkpoint, method, tasks, samples[0][1].prompt, requests, first, tally, problems)


def recorded_settings(model: Model, run: Run, method: Method) -> dict[str, Any]:
    """Settings that decide results, as the request of every sample has them."""
    recorded = method.recorded() | ({"imap_layer": AUTO} if run.chooses_layers else {})
    return {"model": model.recorded(), **run.recorded(), "method": recorded}


def check_model(config: Mapping[str, Any], model: Model, run: Run, renoising: bool) -> tuple[Checkpoint, Method]:
    """Check the settings of a run against the small files of its checkpoint.

    Args:
        config: plain values of a composed configuration.
        model: of the configuration.
        run: of the configuration.
        renoising: `imap renoise`, not `imap sample`.

    Raises:
        ImapError: if the model is not found, or cannot run so.
    """
    checkpoint = read_checkpoint(model)
    adapter, paper = checkpoint.adapter, config["backbone"]["paper"]
    if adapter.renoising_refusal and (renoising or run.read != DURING):
        what = "imap renoise" if renoising else f"read={run.read}"
        raise ImapError(f"{what} cannot give noised latents to backbone={model.name}: {adapter.renoising_refusal}")
    method = method_settings(
        run.method, paper, checkpoint.num_layers, checkpoint.num_heads, adapter.default_concept_token
    )
    if not renoising and run.read == DURING:
        method.check_steps(run.num_inference_steps)
    if run.chooses_layers:
        check_attention_matrix(adapter)
    if run.chooses_layers and not model.attention_backend.lstrip("_").startswith(("default", "native")):
        raise ImapError(
            f"imap_layer=auto reads queries and keys of torch's own attention, and does not work with "
            f"backbone.attention_backend={model.attention_backend}; change one of the two"
        )
    time = (adapter.temporal_factor, adapter.causal)
    check_video_size(run.height, run.width, run.num_frames, checkpoint.size_multiple, *time)
    if run.num_frames <= adapter.temporal_factor:
        raise ImapError(
            f"num_frames={run.num_frames} is one latent frame, and motion needs two; set num_frames="
            f"{adapter.frames_of(2)} or more"
        )
    if run.negative_prompt and not adapter.takes_negative_prompt:
        raise ImapError(
            f"backbone={model.name} takes no negative_prompt, because its guidance is built in; leave it empty"
        )
    return checkpoint, method


def check_keep(samples: Sequence[Sample], checkpoint: Checkpoint, run: Run, method: Method, renoising: bool) -> None:
    """Log how much memory the maps of single layers and steps take, and refuse more than there is.

    Args:
        samples: that are to be done; the one with the most words counts.
        checkpoint, run, method: of the run.
        renoising: `imap renoise`, not `imap sample`.

    Raises:
        ImapError: as `check_memory`.
    """
    if not samples or not method.keep:
        return
    cells = checkpoint.cells(run.num_frames, run.height, run.width)
    start, stop = method.maps_timesteps or (0, run.num_inference_steps)
    if run.test_full_denoise:
        steps = len(range(max(start, run.renoise_timestep[0]), stop))
    else:
        steps = len(run.renoise_timestep) + (0 if renoising or run.read == AFTER else stop - start)
    words = max(len(sample.concepts) + len(sample.motions) for sample in samples)
    check_memory(method, steps, words, checkpoint.adapter.maps_of_layer(MAPS), cells)


def place_tasks(samples: Sequence[tuple[str, Sample]], settings: Mapping[str, Any], output_dir: Path) -> list[Task]:
    """A task for each sample of the list, with the folder that holds it or is to hold it.

    Args:
        samples: with the names that new folders get.
        settings: recorded settings of the run.
        output_dir: of the run; it exists.
    """
    hash_of = cache(sha256_of)  # entries may share a clip
    wanted = [request(sample, settings, hash_of) for _, sample in samples]
    earlier = earlier_requests(output_dir)
    names = placed([name for name, _ in samples], wanted, earlier)
    log_others(output_dir, earlier, names, wanted[0])
    return [Task(name, sample, one) for name, (_, sample), one in zip(names, samples, wanted, strict=True)]


def warn_of_unknown_words(samples: Iterable[Sample], name: str, known: Sequence[str] | None) -> None:
    """Log a warning for words that a backbone was not trained on.

    Args:
        samples: all samples of the run.
        name: of the backbone.
        known: all words of its training; None for any.
    """
    if known is None:
        return
    texts = [text for sample in samples for text in (sample.prompt, *sample.concepts, *sample.motions)]
    unknown = dict.fromkeys(word for text in texts for word in re.findall(r"\w+", text.lower()) if word not in known)
    if unknown:
        log.warning(
            "backbone=%s does not know: %s. Its words are %s. For other words, set backbone=%s.",
            name,
            ", ".join(unknown),
            ", ".join(known),
            REAL,
        )
