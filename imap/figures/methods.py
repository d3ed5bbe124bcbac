"""Methods side by side: cross attention, ConceptAttention, GramCol, IMAP of a clip's first motion word and noun."""

import numpy as np

from imap.figures.study import LOOK, Study, row
from imap.methods.registry import labels
from imap.view.strip import strip

KEYS = ("cross_attention_maps_layers", "concept_attention_maps_layers", "imap_layers", "sel_imap_layers")


def draw(study: Study) -> None:
    """methods.png, .pdf, the maps in methods.npy, and their scores where the truth is known in methods.csv."""
    sample = study.samples[0]
    output = study.read(sample)
    truths = study.truths(sample, output)
    rows, maps, numbers = [], [], []
    for word in (*sample.motions[:1], *sample.concepts[:1]):
        for key in KEYS:
            if key in output.maps:
                x = output.maps.of(word, key)
                rows.append(row(word, key, x))
                maps.append(x)
                scores = truths[word].scores(x) if word in truths else {"": float("nan")}
                numbers += [(word, labels()[key], score, value) for score, value in scores.items()]
    study.write_figure(strip(study.shown(sample, output), rows, **LOOK))
    study.write_maps(np.stack(maps))
    study.write_table(("word", "map", "score", "value"), numbers)
