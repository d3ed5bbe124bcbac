"""How well each patch answers a word in the mean over a layer's heads (QK-matching), the best one in red."""

import numpy as np
from einops import einsum, rearrange
from torch import Tensor

from imap.figures.study import LOOK, Study, row, words_of
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights
from imap.view.strip import Mark, columns_of, strips

LAYERS = 4  # shown


def matching(layer: LayerActivations, texts: SlotWeights) -> Tensor:
    """<Q[h, f, p], K[h]> of the first text, its key averaged over the slots that it spans: (h, f, p) in float32."""
    key = einsum(texts.rows[0], layer.keys.float(), "t, h t d -> h d")
    return einsum(key, layer.q.float(), "h d, h f p d -> h f p")


def draw(study: Study) -> None:
    """qk_matching.png, .pdf, the maps of all layers in qk_matching.npy, and qk_matching.csv: where the truth is known,
    the share of frames in which the best patch lies on the noun, of the mean over heads, and of each head alone, which
    is the text-surrogate token.

    Of the first clip's first noun; without one of its first motion word, for which no share is known."""
    sample = study.samples[0]
    word = words_of(sample)[0]
    found: dict[int, np.ndarray] = {}  # by layer, (h, f, p)

    def observe(layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        found[layer] = matching(attention, texts).cpu().numpy()

    output = study.read(sample, study.run.renoise_timestep[0], observe)
    height, width = next(iter(output.maps.values())).shape[2:]
    truth = study.truths(sample, output).get(word) if word in sample.concepts else None
    layers = sorted(found)
    means = {layer: found[layer].mean(axis=0) for layer in layers}
    shares = {} if truth is None else {layer: on_object(truth.own, means[layer], found[layer]) for layer in layers}
    rows, marks = [], []
    for index in np.unique(np.linspace(0, len(layers) - 1, LAYERS).round().astype(int)):
        layer = layers[index]
        label = f"{word}: peak on it in {shares[layer][0]:.0%} of frames" if shares else word
        rows.append(row(f"layer {layer}", label, rearrange(means[layer], "f (h w) -> f h w", h=height)))
        for column, frame in enumerate(columns_of(len(means[layer]))):
            y, x = divmod(int(means[layer][frame].argmax()), width)
            marks.append(Mark(len(rows), column, (x + 0.5) / width, (y + 0.5) / height))
    study.write_figure(strips([(study.shown(sample, output), rows)], **LOOK, marks=marks))
    header = ("layer", "peak_of_mean_on_object", "peak_of_head_on_object")
    study.write_table(header, [(layer, *shares.get(layer, (float("nan"),) * 2)) for layer in layers])
    study.write_maps(np.stack([rearrange(means[layer], "f (h w) -> f h w", h=height) for layer in layers]))


def on_object(own: np.ndarray, mean: np.ndarray, heads: np.ndarray) -> tuple[float, float]:
    """Share of the frames that show the object in which the best patch lies on it: of the mean (f, p), and averaged
    over heads (h, f, p). own: (f, height, width) booleans."""
    flat = rearrange(own, "f h w -> f (h w)")
    seen = np.flatnonzero(flat.any(axis=1))
    of_heads = [flat[seen, head.argmax(axis=1)[seen]].mean() for head in heads]
    return float(flat[seen, mean.argmax(axis=1)[seen]].mean()), float(np.mean(of_heads))
