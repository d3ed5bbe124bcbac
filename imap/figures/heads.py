"""Separability (CHI) of every head against how well its own GramCol finds the words, with Pearson's r."""

from collections import defaultdict

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from imap.figures.observed import HeadMaps
from imap.figures.study import Study
from imap.shapes.truth import VerbTruth

Pair = tuple[int, int]  # layer, head


def draw(study: Study) -> None:
    values: dict[str, dict[Pair, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in tqdm(study.samples, "reading", unit="clip"):
        heads = HeadMaps()
        output = study.read(sample, study.run.renoise_timestep[0], observe=heads, imap_sep_score="CHI")
        truths = study.needed_truths(sample, output.maps)
        shape = next(iter(output.maps.values())).shape[1:]
        for layer, (scores, maps) in heads.layers.items():
            for head, score in enumerate(scores["CHI"].tolist()):
                values["chi"][layer, head].append(score)
                for text, x in zip(output.maps.texts, maps[head], strict=True):
                    if text in truths:
                        kind = "verb" if isinstance(truths[text], VerbTruth) else "noun"
                        values[kind][layer, head].append(truths[text].scores(x.reshape(shape).numpy())["ap"])
    pairs = sorted(values["chi"])
    means = {name: np.array([np.nanmean(own[pair]) for pair in pairs]) for name, own in values.items()}
    kinds = [kind for kind in ("verb", "noun") if kind in means]
    study.write_table(
        ("layer", "head", "chi", *(f"{kind}_ap" for kind in kinds)),
        [(*pair, *(float(means[name][i]) for name in ("chi", *kinds))) for i, pair in enumerate(pairs)],
    )
    study.write_figure(plot(pairs, means, kinds))


def plot(pairs: list[Pair], means: dict[str, np.ndarray], kinds: list[str]) -> Figure:
    """One scatter per kind of word, a dot per head, coloured by layer."""
    figure = Figure(figsize=(3.1 * len(kinds) + 0.6, 2.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    layers = [layer for layer, _ in pairs]
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        dots = axes.scatter(means["chi"], means[kind], c=layers, cmap="viridis", s=14, linewidths=0)
        r = np.corrcoef(np.log(means["chi"]), means[kind])[0, 1]
        axes.set(xscale="log", xlabel="CHI of the head", ylabel=f"AP of its GramCol, {kind}s")
        axes.set_title(f"$r$ = {r:.2f} (log CHI), {len(pairs)} heads", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(dots, ax=panels, label="layer", ticks=sorted(set(layers))[:: -(-len(set(layers)) // 8)])
    return figure
