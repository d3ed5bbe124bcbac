"""One word's map at several noise levels of the schedule, from the noisiest on."""

import numpy as np

from imap.figures.study import LOOK, Study, row
from imap.view.strip import strip

LEVELS = 7


def draw(study: Study) -> None:
    sample = study.samples[0]
    word = (*sample.concepts, *sample.motions)[-1]
    steps = np.unique(np.linspace(0, study.run.num_inference_steps - 1, LEVELS).round().astype(int)).tolist()
    rows, maps, numbers = [], [], []
    for step in steps:
        output = study.read(sample, step)
        x, level = output.maps.of(word), study.timestep(step)
        score = {word: truth.scores(x)["ap"] for word, truth in study.truths(sample, output.maps).items()}.get(word)
        rows.append(row(f"t = {level}", f"step {step}" + ("" if score is None else f", AP {score:.2f}"), x))
        maps.append(x)
        numbers.append((step, level, float(x.mean()), float(x.std()), float("nan") if score is None else score))
    study.write_figure(strip(study.shown(sample, output), rows, **LOOK))
    study.write_table(("step", "timestep", "mean", "std", f"ap_of_{word}"), numbers)
    study.write_maps(np.stack(maps))
