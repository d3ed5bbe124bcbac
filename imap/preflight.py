"""Everything that can be wrong with a run, found before a weight is loaded."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from imap.batch import Tally, is_finished, record_failure, request
from imap.clips import check_clip, check_video_size, read_clip
from imap.errors import ImapError
from imap.loading import TEMPORAL_FACTOR, Outline, outline
from imap.results import check_writable
from imap.samples import Sample, numbered
from imap.settings.method import method_settings
from imap.settings.model import Model, model_settings
from imap.settings.run import Run, run_settings, samples_of
from imap.wording import check_window

log = logging.getLogger("imap")


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: what to load, what to do, and what of it is done or hopeless already."""

    model: Model
    run: Run
    outline: Outline
    samples: Sequence[tuple[str, Sample]]
    settings: Mapping[str, Any]  # recorded with every sample
    tally: Tally


def plan(config: Mapping[str, Any], renoising: bool) -> Plan:
    """Check a composed door configuration; ImapError for what no sample could survive.

    One sample of several with a bad clip or a concept that is too long is counted as failed, and the others go on.
    """
    model, run = model_settings(config["backbone"]), run_settings(config, renoising)
    demo = config["backbone"].get("demo") if not renoising else None
    samples = list(numbered(samples_of(config, renoising, demo)))
    found = outline(model)
    concept_token = found.adapter.default_concept_token
    paper = config["backbone"]["paper"]
    method = method_settings(run.method, paper, found.num_layers, found.num_heads, concept_token)
    method.check_steps(run.num_inference_steps)
    check_video_size(run.height, run.width, run.num_frames, found.size_multiple, TEMPORAL_FACTOR)
    check_writable(run.output_dir)
    settings = {"model": model.recorded(), **run.recorded(), "method": vars(method)}
    tally, good = Tally(), []
    for name, sample in tqdm(samples, "checking", leave=False, disable=len(samples) < 10):
        try:
            for text in (*sample.concepts, *sample.motions):
                check_window(found.adapter, found.tokenizer, text)
            if renoising and not is_finished(run.output_dir / name, request(sample, settings)):
                check_clip(read_clip(sample.video_path).shape, run.fit, str(sample.video_path))
        except ImapError as error:
            if len(samples) == 1:
                raise
            tally.failed.append(name)
            record_failure(run.output_dir, name, "check", error)
        else:
            good.append((name, sample))
    if not good:
        raise ImapError(f"none of the {len(samples)} samples can be run; {run.output_dir / 'errors.jsonl'} tells why")
    return Plan(model, run, found, good, settings, tally)
