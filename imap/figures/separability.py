"""IMAP by separability score and by the number k of heads that it keeps, beside GramCol (docs/method.md, 3.1)."""

from collections import defaultdict

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from imap.figures.head_maps import HeadMaps
from imap.figures.study import Study, nothing_scored, words_of
from imap.methods.motion_heads import SCORES, select_motion_heads

PANELS = {("verb", "ap"): "AP of verbs", ("verb", "in_object"): "in-object AUC of verbs", ("noun", "ap"): "AP of nouns"}
MOST = 12  # values of k
Curves = dict[tuple[str, str], dict[str, dict[int, float]]]  # [kind, score][separability][k]


def draw(study: Study) -> None:
    """Write separability.png and .pdf, and separability.csv with scores of IMAP, means over clips and words.

    IMAP keeps the k best heads of each chosen layer, by each separability score. CHI and Fisher select the same k
    heads, since both grow with B / W alone; their curves coincide.

    Raises:
        ImapError: The ground truth of the clips has none of the words.
    """
    method = study.run.method
    counts = counts_of(study.backbone.num_heads, method["imap_sep_topk"])
    values: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for sample in tqdm(study.samples, "reading", unit="clip"):
        head_maps = HeadMaps(list(SCORES), method["imap_layer"], len(words_of(sample)))
        output = study.read(sample, study.run.renoise_timestep[0], head_maps)
        truths = study.truths(sample, output)
        layers = [head_maps.layers[layer] for layer in method["imap_layer"]]
        for name, score in SCORES.items():
            for k in counts:
                kept = [select_motion_heads(scores[name], score, k) @ maps.flatten(1) / k for scores, maps in layers]
                texts = torch.stack(kept).mean(dim=0).reshape(next(iter(output.maps.values())).shape).numpy()
                for text, x in zip(output.maps.texts, texts, strict=True):
                    if text in truths:
                        kind = "noun" if text in sample.concepts else "verb"
                        for map_score, value in truths[text].scores(x).items():
                            values[kind, map_score, name, k].append(value)
    curves: Curves = {
        panel: {name: {k: float(np.nanmean(values[(*panel, name, k)])) for k in counts} for name in SCORES}
        for panel in PANELS
        if any(key[:2] == panel and not np.isnan(x).all() for key, x in values.items())
    }
    if not curves:
        raise nothing_scored(study.samples)
    study.write_table(
        ("kind", "score", "separability", "k", "value"),
        [
            (*panel, name, k, x)
            for panel, lines in curves.items()
            for name, line in lines.items()
            for k, x in line.items()
        ],
    )
    study.write_figure(plot(curves, len(study.samples)))


def counts_of(heads: int, topk: int) -> list[int]:
    """Values of k from one head to all heads. They include `topk`, the setting, unless it is -1."""
    spread = np.unique(np.linspace(1, heads, min(heads, MOST)).round().astype(int)).tolist()
    return sorted({*spread, topk} if topk > 0 else spread)


def plot(curves: Curves, clips: int) -> Figure:
    """One panel per score of the maps, one line per separability score. All heads together are GramCol.

    Args:
        curves: mean score by panel, separability score and k.
        clips: number of clips in the means.
    """
    figure = Figure(figsize=(2.5 * len(curves) + 0.9, 2.4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (panel, lines) in zip(panels, curves.items(), strict=True):
        for style, (name, line) in zip(("o-", "s-", "D-", "^:"), lines.items(), strict=True):
            label = "Fisher (as CHI)" if name == "Fisher" else name
            axes.plot(list(line), list(line.values()), style, markersize=3, linewidth=1, label=label)
        first = next(iter(lines.values()))  # all lines meet at all heads
        axes.axhline(first[max(first)], color="0.3", linewidth=0.8, linestyle=(0, (4, 3)), label="GramCol, all heads")
        axes.set(xlabel="motion heads per layer, $k$", ylabel=PANELS[panel])
        axes.set_xticks(sorted(first) if len(first) <= 8 else sorted(first)[::2])
        axes.spines[["top", "right"]].set_visible(False)
    title = f"heads chosen by\n(means over {clips} clips)"
    panels[-1].legend(
        title=title, title_fontsize=7, fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    return figure
