"""How much work and how many bytes the samples of a plan are: forward passes and maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imap.backbones.tokens import occurrences
from imap.config.presets import preset_for
from imap.config.run import AFTER, BOTH
from imap.config.samples import Sample
from imap.methods.keep import kept_bytes
from imap.methods.registry import MAPS
from imap.runs.plan import Plan

HEADER = 128  # bytes of a npy file
GROUPS = 2  # lists of layers that maps are averaged over: `imap_layer` and `maps_layers`


@dataclass(frozen=True)
class Steps:
    """Steps of one sample.

    Attributes:
        denoised: of a sampling, or of test_full_denoise.
        reads: by reading, the steps whose maps are read. One with `alone` runs a pass for each of them.
        alone: readings that are no part of a denoising.
        effect: steps at which the effect of each word is read.
    """

    denoised: int
    reads: tuple[int, ...]
    alone: tuple[bool, ...]
    effect: int

    @property
    def extra(self) -> int:
        """Passes of readings that are no part of a denoising."""
        return sum(count for count, alone in zip(self.reads, self.alone, strict=True) if alone)


def steps_of(todo: Plan, renoising: bool) -> Steps:
    """Steps of each sample of a plan."""
    run, method, total = todo.run, todo.method, todo.run.num_inference_steps
    wanted = range(*(method.maps_timesteps or (0, total)))
    if renoising and run.test_full_denoise:
        read = [step for step in range(run.renoise_timestep[0], total) if step in wanted]
        return Steps(total - run.renoise_timestep[0], (len(read),), (False,), len(_effect(todo) & {*read}))
    indices = len(run.renoise_timestep)
    if renoising or run.read == AFTER:
        return Steps(0 if renoising else total, (indices,), (True,), indices if method.effect else 0)
    if run.read == BOTH:
        return Steps(total, (len(wanted), indices), (False, True), indices if method.effect else 0)
    return Steps(total, (len(wanted),), (False,), len(_effect(todo) & {*wanted}))


def _effect(todo: Plan) -> set[int]:
    """Steps of the effect in a denoising; `true` takes the noise levels at which the model is renoised."""
    method, total = todo.method, todo.run.num_inference_steps
    if method.effect is True:
        checkpoint = todo.checkpoint
        paper = preset_for(checkpoint.adapter.family, checkpoint.num_layers, checkpoint.num_heads).paper
        method = replace(method, effect=tuple(i / paper["num_inference_steps"] for i in paper["renoise_timestep"]))
    return method.effect_steps(total)


def passes(todo: Plan, steps: Steps) -> dict[str, int]:
    """Forward passes of all samples: one text through all blocks. Guidance has two a step, where the family does it.

    Returns:
        Passes of `denoising`, of `reading` (the finished video, or a clip), of the `effect`, and of the `layer_choice`
        of imap_layer=auto on one sample, which a resumed run does not need again, and `all` of them.
        `concept_steps` are beside them: steps at which a few concept tokens go through the blocks too.
    """
    run, adapter = todo.run, todo.checkpoint.adapter
    guided = run.guidance_scale > 1 and adapter.takes_negative_prompt
    samples = [task.sample for task in todo.tasks]
    a_step = 2 if guided else 1
    counted = {
        "denoising": len(samples) * steps.denoised * a_step,
        "reading": len(samples) * steps.extra,
        "effect": steps.effect * sum(len(words_of(sample)) for sample in samples),
        "layer_choice": 0,
    }
    if run.chooses_layers and samples:
        counted["layer_choice"] = run.num_inference_steps * a_step if steps.denoised else 1
    with_concepts = sum(_reads_concepts(sample, todo) for sample in samples)
    return counted | {"all": sum(counted.values()), "concept_steps": with_concepts * sum(steps.reads)}


def words_of(sample: Sample) -> Sequence[str]:
    """All words of a sample."""
    return (*sample.concepts, *sample.motions)


def _reads_concepts(sample: Sample, todo: Plan) -> bool:
    adapter = todo.checkpoint.adapter
    if todo.method.imap_qk_matching_target != "prompt" or adapter.joint_attention:
        return True
    return not all(occurrences(adapter.clean(word), adapter.clean(sample.prompt)) for word in words_of(sample))


def map_bytes(todo: Plan, steps: Steps) -> dict[str, int]:
    """Bytes of the maps: `on_disk` of all samples, and `on_device` of the sample with the most words."""
    sizes = [_map_bytes(sample, todo, steps) for sample in (task.sample for task in todo.tasks)]
    return {"on_disk": sum(disk for disk, _ in sizes), "on_device": max((device for _, device in sizes), default=0)}


def _map_bytes(sample: Sample, todo: Plan, steps: Steps) -> tuple[int, int]:
    """Bytes of a sample's maps, on disk and on the device. Those of single layers and steps are at most so many."""
    run, method, checkpoint = todo.run, todo.method, todo.checkpoint
    cells, words = checkpoint.cells(run.num_frames, run.height, run.width), len(words_of(sample))
    keys, rows = checkpoint.adapter.maps_of_layer(MAPS) + method.random_heads, words
    tokens = 0
    if method.prompt_tokens and method.imap_qk_matching_target == "prompt":
        tokens = len(checkpoint.adapter.token_ids(checkpoint.tokenizer, checkpoint.adapter.clean(sample.prompt)))
        rows += tokens
    files = GROUPS * keys * len(steps.reads)
    disk = files * (HEADER * (2 if tokens else 1) + 4 * rows * cells)
    disk += bool(method.effect) * (HEADER + 4 * words * cells)
    layers, kept = len(method.layers), keys + bool(method.effect)
    sums = 2 * GROUPS * keys * rows  # of the current step, and of all steps
    device = 4 * (sums + bool(method.effect) * words) * cells
    for count in steps.reads:
        disk += kept_bytes(method.keep, layers, count, words, kept, cells)
        device += sum(kept_bytes([one], layers, count, words, kept, cells) for one in method.keep)
    return disk, device
