"""IMAP strips of the motion words of the first three clips."""

import numpy as np

from imap.figures.study import LOOK, Study, motions_first, row
from imap.view.strip import strips

CLIPS = 3


def draw(study: Study) -> None:
    blocks, numbers = [], []
    for sample in study.samples[:CLIPS]:
        output = study.read(sample)
        words = list(sample.motions) or motions_first(sample)
        maps = [output.maps.of(word) for word in words]
        rows = [row(word, "IMAP", x) for word, x in zip(words, maps, strict=True)]
        blocks.append((study.shown(sample, output), rows))
        for word, x in zip(words, maps, strict=True):
            numbers += [(sample.prompt, word, frame, float(mean)) for frame, mean in enumerate(x.mean(axis=(1, 2)))]
        study.write_maps(np.stack(maps), f"-{len(blocks)}")
    study.write_figure(strips(blocks, **LOOK))
    study.write_table(("prompt", "word", "latent_frame", "mean"), numbers)
