"""One word's map at several noise levels of the schedule, noisiest first."""

import numpy as np

from imap.figures.study import LOOK, Study, first_word, row
from imap.methods.registry import default_key
from imap.view.strip import strip

LEVELS = 7


def draw(study: Study) -> None:
    """Write timesteps.png and .pdf, timesteps.csv (with the AP, if the clip has ground truth), and timesteps.npy.

    They show the first motion word of the first clip, or its first noun if there is no motion word. Each level is a
    forward pass of its own, so `renoise_timestep` has no effect.
    """
    sample = study.samples[0]
    word = first_word(sample)
    key = default_key("motions" if word in sample.motions else "things")
    steps = np.unique(np.linspace(0, study.run.num_inference_steps - 1, LEVELS).round().astype(int)).tolist()
    outputs = [study.read(sample, step) for step in steps]
    rows, maps, numbers = [], [], []
    for step, output in zip(steps, outputs, strict=True):
        x, level = output.maps.of(word, key), study.timestep(step)
        truth = study.truths(sample, output).get(word)
        ap = float("nan") if truth is None else truth.ap(x)
        rows.append(row(f"t = {level}", f"{word}, step {step}" + ("" if truth is None else f", AP {ap:.2f}"), x))
        maps.append(x)
        numbers.append((step, level, float(x.mean()), float(x.std()), ap))
    study.write_figure(
        strip(study.shown(sample, outputs[0], dict.fromkeys((name for name, *_ in rows), word)), rows, **LOOK)
    )
    study.write_table(("step", "timestep", "mean", "std", f"ap_of_{word}"), numbers)
    study.write_maps(np.stack(maps))
