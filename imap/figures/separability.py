"""IMAP by the score that tells motion heads and by how many of them are kept, beside GramCol."""

from collections import defaultdict

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from imap.figures.observed import HeadMaps
from imap.figures.study import Study, nothing_scored, words_of
from imap.methods.motion_heads import SCORES, select_motion_heads

PANELS = {("verb", "ap"): "AP of verbs", ("verb", "in_object"): "in-object AUC of verbs", ("noun", "ap"): "AP of nouns"}
MOST = 12  # values of k
Curves = dict[tuple[str, str], dict[str, dict[int, float]]]  # [kind, score][separability][k]


def draw(study: Study) -> None:
    """separability.png, .pdf and separability.csv: mean scores over clips and words of IMAP with the k best heads of
    each selected layer, by separability score.

    CHI and Fisher agree on the k best heads, for both grow with B / W alone: they are one curve. Raises ImapError for
    clips whose truth has none of the words.
    """
    method = study.run.method
    counts = counts_of(study.backbone.num_heads, method["imap_sep_topk"])
    values: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for sample in tqdm(study.samples, "reading", unit="clip"):
        seen = HeadMaps(list(SCORES), method["imap_layer"], len(words_of(sample)))
        output = study.read(sample, study.run.renoise_timestep[0], seen)
        truths = study.truths(sample, output)
        layers = [seen.layers[layer] for layer in method["imap_layer"]]
        for name, score in SCORES.items():
            for k in counts:
                kept = [select_motion_heads(scores[name], score, k) @ maps.flatten(1) / k for scores, maps in layers]
                texts = torch.stack(kept).mean(dim=0).reshape(next(iter(output.maps.values())).shape).numpy()
                for text, x in zip(output.maps.texts, texts, strict=True):
                    if text in truths:
                        kind = "noun" if text in sample.concepts else "verb"
                        for own, value in truths[text].scores(x).items():
                            values[kind, own, name, k].append(value)
    curves: Curves = {
        panel: {name: {k: float(np.nanmean(values[(*panel, name, k)])) for k in counts} for name in SCORES}
        for panel in PANELS
        if any(key[:2] == panel and not np.isnan(x).all() for key, x in values.items())
    }
    if not curves:
        raise nothing_scored(study.samples)
    study.write_table(
        ("kind", "score", "separability", "k", "value"),
        [(*panel, name, k, x) for panel, own in curves.items() for name, line in own.items() for k, x in line.items()],
    )
    study.write_figure(plot(curves, len(study.samples)))


def counts_of(heads: int, asked: int) -> list[int]:
    """Values of k from one head to all, with the one that is asked for among them."""
    spread = np.unique(np.linspace(1, heads, min(heads, MOST)).round().astype(int)).tolist()
    return sorted({*spread, asked} if asked > 0 else spread)


def plot(curves: Curves, clips: int) -> Figure:
    """A panel per score of the maps, a line per separability score (means over clips); all heads together are
    GramCol."""
    figure = Figure(figsize=(2.5 * len(curves) + 0.9, 2.4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (panel, own) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for style, (name, line) in zip(("o-", "s-", "D-", "^:"), own.items(), strict=True):
            label = "Fisher (as CHI)" if name == "Fisher" else name
            axes.plot(list(line), list(line.values()), style, markersize=3, linewidth=1, label=label)
        every = next(iter(own.values()))
        axes.axhline(every[max(every)], color="0.3", linewidth=0.8, linestyle=(0, (4, 3)), label="GramCol, all heads")
        axes.set(xlabel="motion heads a layer, $k$", ylabel=PANELS[panel])
        axes.set_xticks(sorted(every) if len(every) <= 8 else sorted(every)[::2])
        axes.spines[["top", "right"]].set_visible(False)
    title = f"heads chosen by\n(means over {clips} clips)"
    axes.legend(title=title, title_fontsize=7, fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
