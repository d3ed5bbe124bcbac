"""Separability (CHI) of every head against how well its own GramCol finds the words, with Pearson's r."""

from collections import defaultdict

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from tqdm import tqdm

from imap.figures.observed import HeadMaps
from imap.figures.study import Study, nothing_scored, words_of

Pair = tuple[int, int]  # layer, head


def draw(study: Study) -> None:
    """heads.png, .pdf, and heads.csv: CHI and AP of every head of the selected layers, means over clips and words.

    Raises ImapError for clips whose truth has none of the words.
    """
    values: dict[str, dict[Pair, list[float]]] = defaultdict(lambda: defaultdict(list))
    layers = study.run.method["imap_layer"]
    for sample in tqdm(study.samples, "reading", unit="clip"):
        seen = HeadMaps(["CHI"], layers, len(words_of(sample)))
        output = study.read(sample, study.run.renoise_timestep[0], seen)
        truths = study.truths(sample, output)
        shape = next(iter(output.maps.values())).shape[1:]
        for layer in layers:
            scores, maps = seen.layers[layer]
            for head, score in enumerate(scores["CHI"].tolist()):
                values["chi"][layer, head].append(score)
                for text, x in zip(output.maps.texts, maps[head], strict=True):
                    if text in truths:
                        kind = "noun" if text in sample.concepts else "verb"
                        values[kind][layer, head].append(truths[text].ap(x.reshape(shape).numpy()))
    pairs = sorted(values["chi"])
    scored = {name: own for name, own in values.items() if not all(np.isnan(x).all() for x in own.values())}
    means = {name: np.array([np.nanmean(own[pair]) for pair in pairs]) for name, own in scored.items()}
    kinds = [kind for kind in ("verb", "noun") if kind in means]
    if not kinds:
        raise nothing_scored(study.samples)
    study.write_table(
        ("layer", "head", "chi", *(f"{kind}_ap" for kind in kinds)),
        [(*pair, *(float(means[name][i]) for name in ("chi", *kinds))) for i, pair in enumerate(pairs)],
    )
    study.write_figure(plot(pairs, means, kinds, len(study.samples)))


def correlation(chi: np.ndarray, ap: np.ndarray) -> float:
    """Pearson's r over heads."""
    return float(np.corrcoef(chi, ap)[0, 1])


def plot(pairs: list[Pair], means: dict[str, np.ndarray], kinds: list[str], clips: int) -> Figure:
    """One scatter per kind of word, a dot per head (its mean over clips), coloured by layer."""
    figure = Figure(figsize=(3.1 * len(kinds) + 0.6, 2.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    layers = [layer for layer, _ in pairs]
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        dots = axes.scatter(means["chi"], means[kind], c=layers, cmap="viridis", s=14, linewidths=0)
        plain, logarithmic = (correlation(x, means[kind]) for x in (means["chi"], np.log(means["chi"])))
        axes.set(xscale="log", xlabel="CHI of the head", ylabel=f"AP of its GramCol, {kind}s")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{len(pairs)} heads, {clips} clips: $r = {plain:.2f}$ ($r = {logarithmic:.2f}$ with log CHI)")
        axes.title.set_fontsize(8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(dots, ax=panels, label="layer", ticks=sorted(set(layers))[:: -(-len(set(layers)) // 8)])
    return figure
