"""All maps side by side, of a clip's first motion word and first noun."""

import numpy as np

from imap.figures.study import LOOK, Study, row
from imap.methods.registry import CHOSEN, MAPS, QUIET
from imap.view.strip import strip

ORDER = (None, "things", "motions")  # baselines first, IMAP last, as in the paper; then the maps beyond it
KEYS = tuple(x.key + CHOSEN for x in sorted(MAPS, key=lambda x: (x.key in QUIET, ORDER.index(x.shows))))


def draw(study: Study) -> None:
    """Write methods.png and .pdf, the maps as methods.npy, and their scores as methods.csv.

    Scores are NaN for a clip without ground truth.
    """
    sample = study.samples[0]
    output = study.read(sample)
    truths, labels = study.truths(sample, output), output.maps.names
    rows, maps, numbers = [], [], []
    for word in (*sample.motions[:1], *sample.concepts[:1]):
        for key in KEYS:
            if key in output.maps:  # Wan has no ConceptAttention
                x = output.maps.of(word, key)
                # in a model with cross attention, text attention is cross attention: one row is enough
                if not any(text == word and np.array_equal(x, drawn) for text, drawn in maps):
                    ap = f", AP {truths[word].ap(x):.2f}" if word in truths else ""
                    rows.append(row(word, labels[key] + ap, x))
                maps.append((word, x))
                scores = truths[word].scores(x) if word in truths else {"": float("nan")}
                numbers += [(word, labels[key], score, value) for score, value in scores.items()]
    study.write_figure(strip(study.shown(sample, output), rows, **LOOK))
    study.write_maps(np.stack([x for _, x in maps]))
    study.write_table(("word", "map", "score", "value"), numbers)
