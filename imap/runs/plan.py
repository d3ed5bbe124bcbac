"""Everything that can be wrong with a run, found before a weight is loaded."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from imap.atomic import check_writable
from imap.config.method import method_settings
from imap.config.model import Model, model_settings
from imap.config.run import AUTO, Run, run_settings, samples_of
from imap.config.samples import Sample, numbered
from imap.errors import ImapError
from imap.media.clips import check_clip, check_video_size, clip_shape
from imap.runs.batch import ERRORS, Tally, Task, is_finished, record_failure, request
from imap.runs.checkpoint import Checkpoint, read_checkpoint
from imap.tracing.text_slots import check_window

log = logging.getLogger("imap")
REAL = "cogvideox_2b, cogvideox_5b, wan2_1_1_3b, wan2_1_14b or hunyuanvideo"  # backbones that know any word
RANDOM_WEIGHTS = (
    "backbone=%s is a small pipeline with RANDOM weights: everything runs as with a real model, and the maps mean "
    f"nothing. For a real one set backbone={REAL}."
)


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: what to load, and what of the list is to be done."""

    model: Model
    run: Run
    checkpoint: Checkpoint
    tasks: Sequence[Task]
    prompt: str  # the first of the whole list, finished or not: it tells one list from another
    tally: Tally  # holds what is finished already, and what cannot be done


def plan(config: Mapping[str, Any], renoising: bool) -> Plan:
    """Check a composed door configuration; ImapError for what no sample could survive.

    One sample of several with a bad clip or a concept that is too long is counted as failed, and the others go on.
    """
    model, run = model_settings(config["backbone"]), run_settings(config, renoising)
    samples = list(numbered(samples_of(config, renoising, config["backbone"].get("demo"))))
    warn_of_unknown_words([sample for _, sample in samples], model.name, config["backbone"].get("words"))
    found = read_checkpoint(model)
    adapter, paper = found.adapter, config["backbone"]["paper"]
    method = method_settings(run.method, paper, found.num_layers, found.num_heads, adapter.default_concept_token)
    method.check_steps(run.num_inference_steps)
    if run.chooses_layers and not model.attention_backend.lstrip("_").startswith(("default", "native")):
        raise ImapError(
            f"imap_layer=auto reads queries and keys of torch's own attention, and backbone.attention_backend="
            f"{model.attention_backend} is another; set one of the two"
        )
    check_video_size(run.height, run.width, run.num_frames, found.size_multiple, adapter.temporal_factor)
    if run.negative_prompt and not adapter.takes_negative_prompt:
        raise ImapError(
            f"negative_prompt is set, and the guidance of backbone={model.name} is built in; leave it empty"
        )
    check_writable(run.output_dir)
    recorded = vars(method) | ({"imap_layer": AUTO} if run.chooses_layers else {})
    settings = {"model": model.recorded(), **run.recorded(), "method": recorded}
    tally, tasks = Tally(), []
    for name, sample in tqdm(samples, "checking", leave=False, disable=len(samples) < 10):
        task = Task(name, sample, request(sample, settings))
        try:
            if is_finished(run.output_dir / name, task.request):
                tally.skipped.append(name)
                continue
            _check_sample(sample, found, run)
        except ImapError as error:
            if len(samples) == 1:
                raise
            tally.failed.append(name)
            record_failure(run.output_dir, name, "check", error)
        else:
            tasks.append(task)
    if len(tally.failed) == len(samples):
        raise ImapError(f"none of the {len(samples)} samples can be run; {run.output_dir / ERRORS} tells why")
    return Plan(model, run, found, tasks, samples[0][1].prompt, tally)


def warn_of_unknown_words(samples: Iterable[Sample], name: str, known: Sequence[str] | None) -> None:
    """Say so when a text holds words that a backbone was never taught; known: all that it was, or None for any."""
    if known is None:
        return
    texts = [text for sample in samples for text in (sample.prompt, *sample.concepts, *sample.motions)]
    unknown = dict.fromkeys(word for text in texts for word in re.findall(r"\w+", text.lower()) if word not in known)
    if unknown:
        log.warning(
            "backbone=%s was taught no word but %s: %s %s nothing to it. For any words set backbone=%s.",
            name,
            ", ".join(known),
            ", ".join(unknown),
            "mean" if len(unknown) > 1 else "means",
            REAL,
        )


def _check_sample(sample: Sample, found: Checkpoint, run: Run) -> None:
    for text in (*sample.concepts, *sample.motions):
        check_window(found.adapter, found.tokenizer, text)
    if sample.video_path:
        check_clip(clip_shape(sample.video_path), run.fit, str(sample.video_path))
