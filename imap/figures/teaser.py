"""IMAP strips of the motion words of the first three clips."""

import numpy as np

from imap.figures.study import LOOK, Study, row
from imap.methods.registry import default_key
from imap.view.strip import strips

CLIPS = 3


def draw(study: Study) -> None:
    """Write teaser.png and .pdf, each map's mean by latent frame as teaser.csv, and the maps as teaser-<clip>.npy.

    Clips without a motion word show GramCol of their nouns. Maps of an earlier run with more clips are removed.
    """
    blocks, numbers = [], []
    for sample in study.samples[:CLIPS]:
        output = study.read(sample)
        words = sample.motions or sample.concepts
        key = default_key("motions" if sample.motions else "things")  # the paper's maps, whatever the run shows
        maps = [output.maps.of(word, key) for word in words]
        truths, label = study.truths(sample, output), output.maps.names[key]
        scores = [
            f", AP {truths[word].ap(x):.2f}" if word in truths else "" for word, x in zip(words, maps, strict=True)
        ]
        rows = [row(word, label + ap, x) for word, ap, x in zip(words, scores, maps, strict=True)]
        blocks.append((study.shown(sample, output), rows))
        for word, x in zip(words, maps, strict=True):
            numbers += [(sample.prompt, word, frame, float(mean)) for frame, mean in enumerate(x.mean(axis=(1, 2)))]
        study.write_maps(np.stack(maps), f"-{len(blocks)}")
    for clip in range(len(blocks) + 1, CLIPS + 1):
        study.path(f"-{clip}.npy").unlink(missing_ok=True)
    study.write_figure(strips(blocks, **LOOK))
    study.write_table(("prompt", "word", "latent_frame", "mean"), numbers)
