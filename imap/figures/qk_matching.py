"""How well each patch matches a word, as the mean over a layer's heads (QK-matching), with the best patch in red."""

import numpy as np
from einops import einsum, rearrange
from torch import Tensor

from imap.figures.study import LOOK, Study, row, words_of
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights
from imap.view.strip import Mark, columns_of, strips

LAYERS = 4  # in the picture


def matching(layer: LayerActivations, texts: SlotWeights) -> Tensor:
    """<Q[h, f, p], K[h]> of the first text, (h, f, p) in float32; its key is the mean over the text's slots."""
    key = einsum(texts.rows[0], layer.keys.float(), "t, h t d -> h d")
    return einsum(key, layer.q.float(), "h d, h f p d -> h f p")


def draw(study: Study) -> None:
    """Write qk_matching.png and .pdf, the maps of all layers as qk_matching.npy, and qk_matching.csv.

    The word is the first noun of the first clip, or its first motion word if there is no noun. The table has the share
    of frames in which the best patch lies on the noun: for the mean over heads, and for each head alone (its best patch
    is the surrogate). Without ground truth, or for a motion word, shares are NaN.
    """
    sample = study.samples[0]
    word = words_of(sample)[0]
    matches: dict[int, np.ndarray] = {}  # by layer, (h, f, p)

    def observe(layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        matches[layer] = matching(attention, texts).cpu().numpy()

    output = study.read(sample, study.run.renoise_timestep[0], observe)
    height, width = next(iter(output.maps.values())).shape[2:]
    truth = study.truths(sample, output).get(word) if word in sample.concepts else None
    layers = sorted(matches)
    means = {layer: matches[layer].mean(axis=0) for layer in layers}
    shares = {} if truth is None else {layer: on_object(truth.own, means[layer], matches[layer]) for layer in layers}
    rows, marks = [], []
    for index in np.unique(np.linspace(0, len(layers) - 1, LAYERS).round().astype(int)):
        layer = layers[index]
        label = f"{word}: peak on it in {shares[layer][0]:.0%} of frames" if shares else word
        rows.append(row(f"layer {layer}", label, rearrange(means[layer], "f (h w) -> f h w", h=height)))
        for column, frame in enumerate(columns_of(len(means[layer]))):
            y, x = divmod(int(means[layer][frame].argmax()), width)
            marks.append(Mark(len(rows), column, (x + 0.5) / width, (y + 0.5) / height))
    shown = study.shown(sample, output, dict.fromkeys((name for name, *_ in rows), word))
    study.write_figure(strips([(shown, rows)], **LOOK, marks=marks))
    header = ("layer", "peak_of_mean_on_object", "peak_of_head_on_object")
    study.write_table(header, [(layer, *shares.get(layer, (float("nan"),) * 2)) for layer in layers])
    study.write_maps(np.stack([rearrange(means[layer], "f (h w) -> f h w", h=height) for layer in layers]))


def on_object(cells: np.ndarray, mean: np.ndarray, heads: np.ndarray) -> tuple[float, float]:
    """Share of frames in which the best patch lies on the object, among the frames that show it.

    Args:
        cells: booleans (f, height, width), the patches of the object.
        mean: scores (f, p), the mean over heads.
        heads: scores (h, f, p).

    Returns:
        The share for `mean`, and the mean of the shares of single heads.
    """
    flat = rearrange(cells, "f h w -> f (h w)")
    visible = np.flatnonzero(flat.any(axis=1))
    of_heads = [flat[visible, head.argmax(axis=1)[visible]].mean() for head in heads]
    return float(flat[visible, mean.argmax(axis=1)[visible]].mean()), float(np.mean(of_heads))
