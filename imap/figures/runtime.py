"""Seconds by stage of sampling one video with maps, beside the paper's numbers for the release."""

import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from imap.config.samples import Sample
from imap.figures.study import Study
from imap.jobs.sampling import sample_video
from imap.jobs.timing import Stages, now
from imap.methods.chunking import head_groups
from imap.methods.gramcol import matches, standardized_columns, surrogates
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights
from imap.methods.motion_heads import SCORES

log = logging.getLogger("imap")
WITH_MAPS, ENCODE, WRITE = "inference, reading maps", "encode the text", "write the maps"
PAPER = ("CogVideoX-5B, A100", "as the paper reports")
PART = "   of which {} (one step's, times the steps)"
REPORTED = {  # seconds in the paper, which does not say whether inference includes the two parts
    ENCODE: 10.8,
    WITH_MAPS: 58.7,
    PART.format("QK-matching"): 0.08,
    PART.format("head selection"): 10.4,
    WRITE: 7.2,
}


class Parts:
    """An `observe` function of `imap.trace` that computes the parts of the maps again and times each.

    Attributes:
        seconds: by name of the part, summed over layers.
    """

    def __init__(self, score: str, device: torch.device) -> None:
        self.device, self.score = device, SCORES[score].function
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a `with` block."""
        start = now(self.device)
        yield
        self.seconds[name] += now(self.device) - start

    def __call__(self, layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        """Time the parts on one layer, in the same groups of heads as a trace."""
        for group in head_groups(attention.o, attention.keys.shape[1]):
            q, o, keys = (x[group].float() for x in (attention.q, attention.o, attention.keys))
            with self.part("head selection"):
                self.score(o)
            with self.part("QK-matching"):
                index = surrogates(matches(q, keys))
            with self.part("Gram columns"):
                standardized_columns(o, index, texts.weights, texts.rows)


def draw(study: Study) -> None:
    """Write runtime.md and runtime.csv, a table: the first clip's prompt is sampled with maps, after a warm-up run.

    "of which" marks parts of the row above them. Inference without maps is measured in a separate run.
    """
    sample, device = study.samples[0], study.pipe._execution_device
    try:
        sample_video(study.pipe, sample, study.run)
        output = sample_video(study.pipe, sample, study.run)
        inference(study, sample)
        plain = inference(study, sample)
    finally:
        study.pipe.maybe_free_model_hooks()
    seconds, facts = output.record["seconds"], output.maps.facts
    parts = Parts(facts["method"]["imap_sep_score"], device)
    study.read(sample, study.run.renoise_timestep[0], parts)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        output.maps.save(Path(folder) / "maps")
        written = time.perf_counter() - start
    measured = {
        ENCODE: seconds["encode_text"],
        WITH_MAPS: seconds["denoise"],
        **{PART.format(name): len(facts["steps"]) * x for name, x in sorted(parts.seconds.items())},
        "inference without maps": plain,
        "decode the video": seconds["decode"],
        WRITE: written,
    }
    rows = [(name, x, REPORTED.get(name)) for name, x in measured.items()]
    here = setup_of(study, device)
    study.write_table(("stage", *(f"seconds of {', '.join(setup)}" for setup in (here, PAPER))), rows)
    path = study.path(".md")
    path.write_text(table(rows, here), encoding="utf-8")
    log.info("%s", path)


def inference(study: Study, sample: Sample) -> float:
    """Seconds of the denoising loop of `sample_video` without a trace."""
    run, backbone, stages = study.run, study.backbone, Stages(study.pipe._execution_device)
    with torch.no_grad():
        text = backbone.encode_prompt(sample.prompt, run.negative_prompt if run.guidance_scale > 1 else None)
    with (
        backbone.guidance(run.guidance_scale, conditional_only=False) as guidance,
        stages.denoise_then(run.num_inference_steps - 1, "finish", pipe=study.pipe) as timing,
    ):
        study.pipe(
            **text,
            **backbone.size_arguments(run.num_frames, run.height, run.width),
            num_inference_steps=run.num_inference_steps,
            generator=torch.Generator("cpu").manual_seed(run.seed),
            output_type="latent",
            **guidance,
            **timing,
        )
    return stages.seconds["denoise"]


def setup_of(study: Study, device: torch.device) -> tuple[str, str]:
    """What is measured, in two lines: model and device; size, steps and data type."""
    run = study.run
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    kind = str(study.pipe.transformer.dtype).removeprefix("torch.")
    size = f"{run.num_frames}x{run.height}x{run.width}"
    return (f"{study.model}, {machine}", f"{size}, {run.num_inference_steps} steps, {kind}")


def table(rows: list[tuple[str, float, float | None]], here: tuple[str, str]) -> str:
    """A Markdown table: stages as rows, seconds here and in the paper as columns.

    Args:
        rows: (stage, seconds, seconds in the paper or None).
        here: the two lines of `setup_of`, the heading of the first column.
    """
    heads = [f"{model} ({how})" for model, how in (here, PAPER)]
    lines = [("stage", *(f"seconds of {head}" for head in heads)), ("---", "--:", "--:")]
    lines += [(name.strip(), f"{x:.3f}", "–" if reported is None else f"{reported:g}") for name, x, reported in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
