"""Every map of a model over the clips of a split, scored against ground truth: one record per clip, word and row."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
NOISES = 1000  # seeds of noise for each clip, so that no two clips are read with the same
POSTERIORS = 10**9  # seeds of the VAE's samples, apart from those
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
    """How clips are read: the settings of `imap.renoise`, and the noises that each is read with."""

    clip: tuple[int, int, int]  # frames, height, width
    noises: int
    settings: Mapping[str, Any]
    first_noise: int = 0


def score_model(
    pipe: Any, scenes: Sequence[Scene], reading: Reading, suffix: str = "", skip: Collection[int] = ()
) -> Iterator[tuple[int, list[Record]]]:
    """Clip by clip, the records of a model's own maps, for both surrogates, and of GramCol with the oracle surrogate.
    suffix: after each row's name. skip: clips that are left out."""
    backbone = backbone_of(pipe)
    for clip, drawn, i in _drawn(scenes, reading.clip, f"reading{suffix}", skip):
        scene, records = scenes[clip], []
        words = (*scene.concepts, *scene.motions)
        generator = torch.Generator().manual_seed(POSTERIORS + clip)
        with torch.no_grad():
            latents = backbone.encode_clip(to_video(drawn.frames[i : i + 1]), generator)
        grid = backbone.grid(latents)
        shown = {truth.word: truth for truth in truths(scene, drawn, i, (grid.height, grid.width))}
        places = [shown[word].own if word in shown else None for word in words]
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
                    observe=None if name else oracle,
                    **reading.settings,
                ).maps
                for key, row in ROWS.items():
                    if key in maps and (not name or "{}" in row):
                        for truth in shown.values():
                            x = maps.of(truth.word, key)
                            records.append(_record(row.format(name) + suffix, clip, truth, noise, x))
                for word, truth in shown.items():
                    found = {"on_thing": oracle.on_thing(words.index(word), bool(name))}
                    records.append(Record(f"GramCol{name}{suffix}", clip, kind_of(truth), word, noise, found))
            for word, truth in shown.items():
                x = oracle.maps()[words.index(word)].reshape(truth.own.shape)
                records.append(_record(f"oracle surrogate{suffix}", clip, truth, noise, x))
        yield clip, records


def score_baselines(
    scenes: Sequence[Scene], reading: Reading, grid: tuple[int, int], skip: Collection[int] = ()
) -> Iterator[tuple[int, list[Record]]]:
    """Clip by clip, the records of maps that need no model: chance, a flat map, what changes, the mover's place at all
    times, and how high a cell lies: things jump and dip to where they never rest, so that height alone tells *when* of
    those verbs, right for one and wrong for the other."""
    for clip, drawn, i in _drawn(scenes, reading.clip, "baselines", skip):
        change, records = frame_difference(drawn.frames[i], grid), []
        height = np.broadcast_to(-np.arange(grid[0], dtype=float)[:, None], change.shape)
        for word, truth in enumerate(truths(scenes[clip], drawn, i, grid)):
            rng = np.random.default_rng([clip, word])
            for noise in range(reading.noises):
                records.append(_record("random", clip, truth, noise, rng.normal(size=change.shape)))
            records.append(_record("uniform", clip, truth, 0, np.zeros(change.shape)))
            if isinstance(truth, VerbTruth):
                records.append(_record("frame difference", clip, truth, 0, change))
                records.append(_record("object in all frames", clip, truth, 0, truth.own.astype(float)))
                records.append(_record("height in the picture", clip, truth, 0, height))
        yield clip, records


def _drawn(
    scenes: Sequence[Scene], size: tuple[int, int, int], title: str, skip: Collection[int]
) -> Iterator[tuple[int, Drawn, int]]:
    """Number of each clip that is not to be skipped, the batch that it is drawn in, and its place there."""
    wanted = [clip for clip in range(len(scenes)) if clip not in skip]
    with tqdm(total=len(scenes), initial=len(scenes) - len(wanted), desc=title, unit="clip", mininterval=2) as bar:
        for start in range(0, len(wanted), BATCH):
            own = wanted[start : start + BATCH]
            drawn = draw([scenes[clip] for clip in own], *size)
            for i, clip in enumerate(own):
                yield clip, drawn, i
                bar.update()


def kind_of(truth: NounTruth | VerbTruth) -> str:
    """noun or verb."""
    return "noun" if isinstance(truth, NounTruth) else "verb"


def _record(row: str, clip: int, truth: NounTruth | VerbTruth, noise: int, x: np.ndarray) -> Record:
    return Record(row, clip, kind_of(truth), truth.word, noise, truth.scores(x))
