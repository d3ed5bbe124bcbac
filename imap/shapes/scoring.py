"""Every map of a model over the clips of a split, scored against ground truth: one record per clip, word and row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import imap
from imap.backbones import backbone_of
from imap.shapes.drawing import Drawn, draw
from imap.shapes.training.autoencoder import to_video
from imap.shapes.truth import NounTruth, VerbTruth, frame_difference, truths
from imap.shapes.world import Scene

BATCH = 10  # clips drawn at a time
ROWS = {  # of the table, by the key of a map; {} is the surrogate's name where it is not the published one
    "cross_attention_maps_layers": "cross attention",
    "concept_attention_maps_layers": "ConceptAttention",
    "imap_layers": "GramCol{}",
    "sel_imap_layers": "IMAP{}",
}
SURROGATES = {"per_head": "", "consensus": ", consensus surrogate"}


@dataclass(frozen=True)
class Record:
    """Scores of one map: the table's row, the clip's number, the word, its kind (noun or verb), the noise's seed."""

    row: str
    clip: int
    kind: str
    word: str
    noise: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """How clips are read: the settings of `imap.renoise`, and how many noises each is read with."""

    clip: tuple[int, int, int]  # frames, height, width
    noises: int
    settings: Mapping[str, Any]


def score_model(pipe: Any, scenes: Sequence[Scene], reading: Reading, suffix: str = "") -> Iterator[Record]:
    """Records of a model's own maps, for both surrogates. suffix: after each row's name."""
    backbone = backbone_of(pipe)
    for start, drawn in _drawn(scenes, reading.clip, f"reading{suffix}"):
        for i, scene in enumerate(scenes[start : start + BATCH]):
            generator = torch.Generator().manual_seed(start + i)
            with torch.no_grad():
                latents = backbone.encode_clip(to_video(drawn.frames[i : i + 1]), generator)
            for noise in range(reading.noises):
                for surrogate, name in SURROGATES.items():
                    maps = imap.renoise(
                        pipe,
                        latents=latents,
                        prompt=scene.caption,
                        concepts=scene.concepts,
                        motions=scene.motions,
                        seed=noise,
                        surrogate=surrogate,
                        **reading.settings,
                    ).maps
                    for key, row in ROWS.items():
                        if key in maps and (not name or "{}" in row):
                            for truth in truths(scene, drawn, i, maps[key].shape[2:]):
                                x = maps.of(truth.word, key)
                                yield _record(row.format(name) + suffix, start + i, truth, noise, x)


def score_baselines(scenes: Sequence[Scene], reading: Reading, grid: tuple[int, int]) -> Iterator[Record]:
    """Records of maps that need no model: chance, a flat map, what changes, and the mover's place at all times."""
    for start, drawn in _drawn(scenes, reading.clip, "baselines"):
        for i, scene in enumerate(scenes[start : start + BATCH]):
            change = frame_difference(drawn.frames[i], grid)
            for word, truth in enumerate(truths(scene, drawn, i, grid)):
                rng = np.random.default_rng([start + i, word])
                for noise in range(reading.noises):
                    yield _record("random", start + i, truth, noise, rng.normal(size=change.shape))
                yield _record("uniform", start + i, truth, 0, np.zeros(change.shape))
                if isinstance(truth, VerbTruth):
                    yield _record("frame difference", start + i, truth, 0, change)
                    yield _record("object in all frames", start + i, truth, 0, truth.place.astype(float))


def _drawn(scenes: Sequence[Scene], clip: tuple[int, int, int], title: str) -> Iterator[tuple[int, Drawn]]:
    with tqdm(total=len(scenes), desc=title, unit="clip", mininterval=2) as bar:
        for start in range(0, len(scenes), BATCH):
            own = scenes[start : start + BATCH]
            yield start, draw(own, *clip)
            bar.update(len(own))


def _record(row: str, clip: int, truth: NounTruth | VerbTruth, noise: int, x: np.ndarray) -> Record:
    kind = "noun" if isinstance(truth, NounTruth) else "verb"
    return Record(row, clip, kind, truth.word, noise, truth.scores(x))
