"""One word's map at several noise levels of the schedule, from the noisiest on."""

import numpy as np

from imap.figures.study import LOOK, Study, first_word, row
from imap.view.strip import strip

LEVELS = 7


def draw(study: Study) -> None:
    """timesteps.png, .pdf, timesteps.csv (with the AP where the truth is known) and the maps in timesteps.npy, of the
    first clip's first motion word, or without one of its first noun. `renoise_timestep` does not matter: every level is
    read alone."""
    sample = study.samples[0]
    word = first_word(sample)
    steps = np.unique(np.linspace(0, study.run.num_inference_steps - 1, LEVELS).round().astype(int)).tolist()
    rows, maps, numbers = [], [], []
    for step in steps:
        output = study.read(sample, step)
        x, level = output.maps.of(word), study.timestep(step)
        truth = study.truths(sample, output).get(word)
        score = float("nan") if truth is None else truth.ap(x)
        rows.append(row(f"t = {level}", f"{word}, step {step}" + ("" if truth is None else f", AP {score:.2f}"), x))
        maps.append(x)
        numbers.append((step, level, float(x.mean()), float(x.std()), score))
    study.write_figure(strip(study.shown(sample, output), rows, **LOOK))
    study.write_table(("step", "timestep", "mean", "std", f"ap_of_{word}"), numbers)
    study.write_maps(np.stack(maps))
