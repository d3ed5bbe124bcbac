"""Separability (CHI) of every head against how well the head's own GramCol localizes words, with Pearson's r."""

from collections import defaultdict

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from tqdm import tqdm

from imap.figures.head_maps import HeadMaps
from imap.figures.study import Study, nothing_scored, words_of

Head = tuple[int, int]  # layer, head


def draw(study: Study) -> None:
    """Write heads.png and .pdf, and heads.csv with CHI and AP of every head of the chosen layers.

    Both are means over clips and words.

    Raises:
        ImapError: The ground truth of the clips has none of the words.
    """
    values: dict[str, dict[Head, list[float]]] = defaultdict(lambda: defaultdict(list))
    layers = study.run.method["imap_layer"]
    for sample in tqdm(study.samples, "reading", unit="clip"):
        head_maps = HeadMaps(["CHI"], layers, len(words_of(sample)))
        output = study.read(sample, study.run.renoise_timestep[0], head_maps)
        truths = study.truths(sample, output)
        shape = next(iter(output.maps.values())).shape[1:]
        for layer in layers:
            scores, maps = head_maps.layers[layer]
            for head, chi in enumerate(scores["CHI"].tolist()):
                values["chi"][layer, head].append(chi)
                for text, x in zip(output.maps.texts, maps[head], strict=True):
                    if text in truths:
                        kind = "noun" if text in sample.concepts else "verb"
                        values[kind][layer, head].append(truths[text].ap(x.reshape(shape).numpy()))
    heads = sorted(values["chi"])
    scored = {name: by_head for name, by_head in values.items() if not all(np.isnan(x).all() for x in by_head.values())}
    means = {name: np.array([np.nanmean(by_head[head]) for head in heads]) for name, by_head in scored.items()}
    kinds = [kind for kind in ("verb", "noun") if kind in means]
    if not kinds:
        raise nothing_scored(study.samples)
    study.write_table(
        ("layer", "head", "chi", *(f"{kind}_ap" for kind in kinds)),
        [(*head, *(float(means[name][i]) for name in ("chi", *kinds))) for i, head in enumerate(heads)],
    )
    study.write_figure(plot(heads, means, kinds, len(study.samples)))


def correlation(chi: np.ndarray, ap: np.ndarray) -> float:
    """Pearson's r over heads."""
    return float(np.corrcoef(chi, ap)[0, 1])


def plot(heads: list[Head], means: dict[str, np.ndarray], kinds: list[str], clips: int) -> Figure:
    """One scatter plot per kind of word. A dot is a head, coloured by layer.

    Args:
        heads: (layer, head) of each dot.
        means: "chi", and the AP by kind of word, (heads,) each.
        kinds: "verb", "noun", or both.
        clips: number of clips in the means.
    """
    figure = Figure(figsize=(3.1 * len(kinds) + 0.6, 2.7), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    layers = sorted({layer for layer, _ in heads})
    norm = BoundaryNorm(np.arange(len(layers) + 1) - 0.5, len(layers))
    colours = ScalarMappable(norm, colormaps["viridis"].resampled(len(layers)))
    dots = {"c": [layers.index(layer) for layer, _ in heads], "cmap": colours.cmap, "norm": norm}
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        axes.scatter(means["chi"], means[kind], **dots, s=14, linewidths=0)
        linear, logarithmic = (correlation(x, means[kind]) for x in (means["chi"], np.log(means["chi"])))
        axes.set(xscale="log", xlabel="CHI of the head", ylabel=f"AP of its GramCol, {kind}s")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"$r = {linear:.2f}$; with log CHI, $r = {logarithmic:.2f}$")
        axes.title.set_fontsize(8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{len(heads)} heads of the layers in imap_layer, {clips} clips", fontsize=8)
    bar = figure.colorbar(colours, ax=panels, label="layer", ticks=range(0, len(layers), -(-len(layers) // 8)))
    bar.set_ticklabels([str(layers[i]) for i in bar.get_ticks().astype(int)])
    bar.ax.minorticks_off()
    return figure
