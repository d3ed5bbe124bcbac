"""Scores of every map of a model on the clips of a split: one record per clip, word and table row."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import imap
from imap.backbones import backbone_of
from imap.shapes.benchmark.oracle import OracleSurrogate
from imap.shapes.world.drawing import Drawn, draw, to_video
from imap.shapes.world.scenes import Scene
from imap.shapes.world.truth import NounTruth, VerbTruth, frame_difference, truths

BATCH = 10  # clips drawn at a time
NOISES = 1000  # noise seeds per clip, so that no two clips share a noise
POSTERIORS = 10**9  # first seed of the VAE's samples
ROWS = {  # table rows by map key; {} is the suffix of the consensus surrogate
    "cross_attention_maps_layers": "cross attention",
    "text_attention_layers": "text attention",
    "concept_attention_maps_layers": "ConceptAttention",
    "imap_layers": "GramCol{}",
    "sel_imap_layers": "IMAP{}",
    "video_col_layers": "whole-video column",
    "effect": "effect",
}
SURROGATES = {"per_head": "", "consensus": ", consensus surrogate"}
NEUTRAL = {"per_head": "mean", "consensus": "dropped"}  # of the effect, which the surrogate does not change
DROPPED = "effect, word dropped"
AGREEMENT = "agreement_"  # starts names of scores against the effect, not against the truth


@dataclass(frozen=True)
class Record:
    """Scores of one map.

    Attributes:
        row: Row of the table.
        clip: Number of the clip.
        kind: "noun" or "verb".
        word: The word.
        noise: Number of the noise.
        scores: Scores by name.
    """

    row: str
    clip: int
    kind: str
    word: str
    noise: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """How the benchmark reads clips.

    Attributes:
        clip: Frames, height and width.
        noises: Noises per clip.
        settings: Settings of `imap.renoise`.
        first_noise: Number of the first noise.
    """

    clip: tuple[int, int, int]
    noises: int
    settings: Mapping[str, Any]
    first_noise: int = 0


def score_model(
    pipe: Any, scenes: Sequence[Scene], reading: Reading, suffix: str = "", skip: Collection[int] = ()
) -> Iterator[tuple[int, list[Record]]]:
    """Score a model's maps with both surrogates, and GramCol with the oracle surrogate, clip by clip.

    Args:
        pipe: The pipeline.
        scenes: Scenes of the split.
        reading: How clips are read.
        suffix: Suffix of each row's name.
        skip: Numbers of clips to skip.

    Yields:
        Number of a clip, and its records.
    """
    backbone = backbone_of(pipe)
    for clip, drawn, i in _drawn(scenes, reading.clip, f"reading{suffix}", skip):
        scene = scenes[clip]
        records: list[Record] = []
        words = (*scene.concepts, *scene.motions)
        generator = torch.Generator().manual_seed(POSTERIORS + clip)
        with torch.no_grad():
            latents = backbone.encode_clip(to_video(drawn.frames[i : i + 1]), generator)
        grid = backbone.grid({"hidden_states": latents})
        by_word = {truth.word: truth for truth in truths(scene, drawn, i, (grid.height, grid.width))}
        places = [by_word[word].own if word in by_word else None for word in words]
        for noise in range(reading.first_noise, reading.first_noise + reading.noises):
            oracle = OracleSurrogate(places, reading.settings["imap_layer"])
            for surrogate, name in SURROGATES.items():
                maps = imap.renoise(
                    pipe,
                    latents=latents,
                    prompt=scene.caption,
                    concepts=scene.concepts,
                    motions=scene.motions,
                    seed=NOISES * clip + noise,
                    surrogate=surrogate,
                    effect=True,
                    effect_neutral=NEUTRAL[surrogate],
                    observe=None if name else oracle,
                    **reading.settings,
                ).maps
                for key, row in ROWS.items():
                    row = DROPPED if name and row == "effect" else row
                    if key in maps and (not name or "{}" in row or row == DROPPED):
                        for truth in by_word.values():
                            record = record_of(row.format(name) + suffix, clip, truth, noise, maps.of(truth.word, key))
                            agreement = {} if name else maps.facts["faithfulness"][truth.word].get(key, {})
                            records.append(replace(record, scores={**record.scores, **_named(agreement)}))
                for word, truth in by_word.items():
                    share = {"on_thing": oracle.on_object(words.index(word), consensus=bool(name))}
                    records.append(Record(f"GramCol{name}{suffix}", clip, kind_of(truth), word, noise, share))
            for word, truth in by_word.items():
                x = oracle.maps()[words.index(word)].reshape(truth.own.shape)
                records.append(record_of(f"oracle surrogate{suffix}", clip, truth, noise, x))
        yield clip, records


def score_baselines(
    scenes: Sequence[Scene], reading: Reading, grid: tuple[int, int], skip: Collection[int] = ()
) -> Iterator[tuple[int, list[Record]]]:
    """Score maps that need no model, clip by clip.

    The maps are random values, a constant, the frame difference, the moving object's place in all frames, and the
    height in the picture. Objects jump and dip to heights at which they never rest. So height alone indicates when they
    move, with the right sign for one of these verbs and the wrong sign for the other.

    Args:
        scenes: Scenes of the split.
        reading: How clips are read.
        grid: Rows and columns of latent cells.
        skip: Numbers of clips to skip.

    Yields:
        Number of a clip, and its records.
    """
    for clip, drawn, i in _drawn(scenes, reading.clip, "baselines", skip):
        change = frame_difference(drawn.frames[i], grid)
        records: list[Record] = []
        height = np.broadcast_to(-np.arange(grid[0], dtype=float)[:, None], change.shape)
        for word, truth in enumerate(truths(scenes[clip], drawn, i, grid)):
            rng = np.random.default_rng([clip, word])
            for noise in range(reading.noises):
                records.append(record_of("random", clip, truth, noise, rng.normal(size=change.shape)))
            records.append(record_of("uniform", clip, truth, 0, np.zeros(change.shape)))
            if isinstance(truth, VerbTruth):
                records.append(record_of("frame difference", clip, truth, 0, change))
                records.append(record_of("object in all frames", clip, truth, 0, truth.own.astype(float)))
                records.append(record_of("height in the picture", clip, truth, 0, height))
        yield clip, records


def _drawn(
    scenes: Sequence[Scene], size: tuple[int, int, int], title: str, skip: Collection[int]
) -> Iterator[tuple[int, Drawn, int]]:
    """Number of each clip that is not skipped, its drawn batch, and its index in the batch."""
    wanted = [clip for clip in range(len(scenes)) if clip not in skip]
    with tqdm(total=len(scenes), initial=len(scenes) - len(wanted), desc=title, unit="clip", mininterval=2) as bar:
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            drawn = draw([scenes[clip] for clip in batch], *size)
            for i, clip in enumerate(batch):
                yield clip, drawn, i
                bar.update()


def kind_of(truth: NounTruth | VerbTruth) -> str:
    """Kind of a word: "noun" or "verb"."""
    return "noun" if isinstance(truth, NounTruth) else "verb"


def _named(agreement: Mapping[str, float | None]) -> dict[str, float]:
    return {AGREEMENT + name: np.nan if value is None else value for name, value in agreement.items()}


def record_of(row: str, clip: int, truth: NounTruth | VerbTruth, noise: int, x: np.ndarray) -> Record:
    """Scores of a word's map (frames, height, width)."""
    return Record(row, clip, kind_of(truth), truth.word, noise, truth.scores(x))
