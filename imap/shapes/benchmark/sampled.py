"""Scores of maps on sampled videos, against the places and times that the things' own colours show."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import imap
from imap.backbones import backbone_of
from imap.jobs.reading import READING
from imap.media.clips import to_pixels
from imap.saliency import Maps
from imap.shapes.benchmark.scoring import ROWS, Reading, Record, record_of
from imap.shapes.training.caption_fidelity import judge
from imap.shapes.world.scenes import Scene
from imap.shapes.world.seen import seen_things
from imap.shapes.world.truth import NounTruth, VerbTruth

RIGHT = 0.8  # least share of a map that lies on the word's own thing and, of a verb, in the frames in which it happens


def score_sampled(
    pipe: Any, scenes: Sequence[Scene], reading: Reading, guidance_scale: float, skip: Collection[int] = ()
) -> Iterator[tuple[int, list[Record]]]:
    """Sample a video of each caption, read it during sampling and after, and score the maps.

    A video counts if both things are in it and do what the caption says, and nothing else: then its truth is known.
    The first part of each row's name says when it was read. The rows "during: all words right" and "after: all
    words right" hold 1 if the whole-video columns of all words are right, else 0. The row "video" holds whether the
    video counts.

    Args:
        pipe: The pipeline.
        scenes: Scenes whose captions are sampled; those with two things of one noun are skipped.
        reading: How videos are read; `noises` seeds per caption.
        guidance_scale: Of the sampling.
        skip: Numbers of scenes to skip.

    Yields:
        Number of a scene, and its records.
    """
    for clip, scene in enumerate(tqdm(scenes, "sampling", unit="caption", mininterval=2)):
        if clip in skip or len(scene.concepts) < len(scene.things):
            continue
        records: list[Record] = []
        for noise in range(reading.first_noise, reading.first_noise + reading.noises):
            video, latents, during, trace = _sample(pipe, scene, reading, guidance_scale, seed=1000 * clip + noise)
            follows = all(verdict.follows_only for verdict in judge(video, scene))
            things = seen_things(video, scene) if follows else None
            counts = {"counts": float(things is not None)}
            records.append(Record("video", clip, "sampled", scene.caption, noise, counts))
            if things is None:
                continue
            steps = {name: reading.settings[name] for name in ("num_inference_steps", "renoise_timestep")}
            after = imap.read_after(trace, latents, seed=1000 * clip + noise + READING, **steps)
            for name, maps in (("during", during), ("after", after)):
                records += _records(name, maps, clip, noise, things.truths(maps.imap.shape[2:]), scene.caption)
        yield clip, records


def _sample(pipe: Any, scene: Scene, reading: Reading, guidance_scale: float, seed: int) -> tuple:
    """Frames, latents, maps read during sampling, and the trace."""
    frames, height, width = reading.clip
    backbone, kept = backbone_of(pipe), {}

    def keep(pipe: Any, step: int, timestep: Any, tensors: dict) -> dict:
        kept.update(tensors)
        return tensors

    method = dict(reading.settings)
    steps = method.pop("num_inference_steps")
    method.pop("renoise_timestep")
    words = (scene.caption, scene.concepts, scene.motions)
    with (
        imap.trace(pipe, *words, effect=True, **method) as trace,
        backbone.guidance(guidance_scale, conditional_only=False) as guidance,
    ):
        video = pipe(
            **trace.encode_prompt(scene.caption, "" if guidance_scale > 1 else None),
            height=height,
            width=width,
            num_frames=frames,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
            callback_on_step_end=keep,
            **guidance,
        ).frames[0]
    return to_pixels(video), kept["latents"], trace.maps(), trace


def _records(name: str, maps: Maps, clip: int, noise: int, truths: Sequence[Any], caption: str) -> Iterator[Record]:
    right = True
    for truth in truths:
        for key, row in ROWS.items():
            if key in maps:
                x = maps.of(truth.word, key)
                if key == "video_col_layers":
                    right &= is_right(x, truth)
                yield record_of(f"{name}: {row.format('')}", clip, truth, noise, x)
    yield Record(f"{name}: all words right", clip, "sampled", caption, noise, {"right": float(right)})


def is_right(x: np.ndarray, truth: NounTruth | VerbTruth) -> bool:
    """Whether a picture of a word's map is right: on its own thing, and for a verb only while it happens.

    Of what is above the map's median, as pictures show it, the share RIGHT of what lies on things must lie on the
    word's own. For a verb, the same share of what lies on its thing must lie in moving frames.

    Args:
        x: Map (frames, height, width).
        truth: Of the word.
    """
    heat = np.maximum(x - np.median(x), 0)
    own, other = heat[truth.own & ~truth.other].sum(), heat[truth.other & ~truth.own].sum()
    right = own >= RIGHT * (own + other) > 0
    if isinstance(truth, VerbTruth):
        moving, still = (heat[truth.own & flags[:, None, None]].sum() for flags in (truth.moving, truth.still))
        right = right and moving >= RIGHT * (moving + still) > 0
    return bool(right)
