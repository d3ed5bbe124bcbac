"""How well each patch answers a word (QK-matching), with the best one, the text-surrogate token, in red."""

import numpy as np
from einops import einsum, rearrange
from torch import Tensor

from imap.figures.study import LOOK, Study, row
from imap.maps.layer import Layer, LayerMaps, Texts
from imap.view.strip import Mark, columns_of, strips

LAYERS = 4  # shown


def matching(layer: Layer, texts: Texts) -> Tensor:
    """<Q[h, f, p], K[h]> of every text, its keys averaged over the slots that it spans: (h, rows, f, p)."""
    keys = einsum(texts.baseline_rows.to(layer.keys.dtype), layer.keys, "r t, h t d -> h r d").float()
    return einsum(keys, layer.q.float(), "h r d, h f p d -> h r f p")


def draw(study: Study) -> None:
    sample = study.samples[0]
    word = (*sample.concepts, *sample.motions)[0]
    found: dict[int, np.ndarray] = {}  # by layer, (h, f, p) of the word

    def observe(layer: int, step: int, attention: Layer, texts: Texts, read: LayerMaps) -> None:
        found[layer] = matching(attention, texts)[:, index].cpu().numpy()

    index = [*sample.concepts, *(x for x in sample.motions if x not in sample.concepts)].index(word)
    output = study.read(sample, study.run.renoise_timestep[0], observe=observe)
    _, _, height, width = next(iter(output.maps.values())).shape
    truth = study.truths(sample, output.maps).get(word)
    rows, marks, numbers = [], [], []
    chosen = sorted(found)
    shown = [chosen[i] for i in np.unique(np.linspace(0, len(chosen) - 1, LAYERS).round().astype(int))]
    for layer in chosen:
        heads, mean = found[layer], found[layer].mean(axis=0)
        shares = ()
        if truth is not None:
            flat = rearrange(truth.own, "f h w -> f (h w)")
            visible = flat.any(axis=-1)
            shares = (
                float(flat[visible, mean.argmax(axis=-1)[visible]].mean()),
                float(np.mean([flat[visible, head.argmax(axis=-1)[visible]].mean() for head in heads])),
            )
        numbers.append((layer, *shares))
        if layer in shown:
            label = f"{shares[0]:.0%} of peaks on it" if shares else "mean over heads"
            rows.append(row(f"layer {layer}", label, rearrange(mean, "f (h w) -> f h w", h=height)))
            for column, frame in enumerate(columns_of(len(mean))):
                y, x = divmod(int(mean[frame].argmax()), width)
                marks.append(Mark(len(rows), column, (x + 0.5) / width, (y + 0.5) / height))
    study.write_figure(strips([(study.shown(sample, output), rows)], **LOOK, marks=marks))
    header = ("layer", "peak_of_mean_on_object", "peak_of_head_on_object") if truth is not None else ("layer",)
    study.write_table(header, numbers)
    study.write_maps(np.stack([rearrange(found[layer].mean(axis=0), "f (h w) -> f h w", h=height) for layer in chosen]))
