"""lambda_2 by layer (dots: its heads), the layers that the threshold keeps, and maps of the lowest and the highest."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from imap.figures.study import LOOK, Study, first_word, row
from imap.tracing.layer_choice import Lambda2Probe, LayerChoice
from imap.view.strip import strip

KEPT, LEFT = "#b13", "0.6"
WITH_A_PUBLISHED_THRESHOLD = ("cogvideox", "hunyuanvideo")


def draw(study: Study) -> None:
    """lambda_2.png, .pdf, every head's value in lambda_2.csv, the choice in words in lambda_2.txt; and GramCol of the
    first clip's first motion word (or noun) in the layers of the lowest and the highest mean: lambda_2-maps.png, .pdf,
    .npy."""
    sample, step = study.samples[0], study.run.renoise_timestep[0]
    with Lambda2Probe(study.backbone, step, first=step) as probe:
        study.read(sample, step)
    choice = probe.choice()
    study.write_figure(plot(choice, study.backbone.family))
    study.write_table(
        ("layer", "head", "lambda_2", "kept"),
        [
            (layer, head, value, int(layer in choice.layers))
            for layer, values in choice.lambda_2.items()
            for head, value in enumerate(values)
        ],
    )
    study.path(".txt").write_text(f"{choice}\n", encoding="utf-8")

    means = choice.means
    ordered = sorted(means, key=lambda layer: means[layer])
    word, rows, maps = first_word(sample), [], []
    for layer in dict.fromkeys((ordered[0], ordered[-1])):
        output = study.read(sample, step, imap_layer=[layer], maps_layers=[layer, layer + 1])
        maps.append(output.maps.of(word, "imap_layers"))
        rows.append(row(f"layer {layer}", f"{word}, λ₂ {means[layer]:.2f}", maps[-1]))
    study.write_figure(strip(study.shown(sample, output), rows, **LOOK), "-maps")
    study.write_maps(np.stack(maps), "-maps")


def plot(choice: LayerChoice, family: str) -> Figure:
    """Heads as dots, layers' means as bars of ink, the threshold as a line; what is kept by which rule, in words."""
    layers = list(choice.lambda_2)
    figure = Figure(figsize=(max(3.2, 0.22 * len(layers) + 1.2), 2.4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for layer, values in choice.lambda_2.items():
        colour = KEPT if layer in choice.layers else LEFT
        axes.plot([layer] * len(values), values, "o", color=colour, alpha=0.35, markersize=3, markeredgewidth=0)
        axes.plot([layer - 0.35, layer + 0.35], [choice.means[layer]] * 2, color=colour, linewidth=2)
    axes.axhline(choice.threshold, color="0.2", linewidth=0.8, linestyle=(0, (4, 3)))
    whose = "the paper's" if family in WITH_A_PUBLISHED_THRESHOLD else "ours"
    told = f"{choice.threshold}, {whose}"
    axes.text(layers[0] - 0.5, choice.threshold + 0.01, told, fontsize=7, va="bottom", color="0.2")
    axes.set(xlabel="layer", ylabel=r"$\lambda_2$ of the attention", ylim=(0, 1.02))
    axes.set_xticks(layers if len(layers) <= 12 else layers[:: -(-len(layers) // 12)])
    for kind, colour in ((f"kept: {choice.rule}", KEPT), ("left out", LEFT)):
        axes.plot([], [], color=colour, linewidth=2, label=kind)
    axes.plot([], [], "o", color="0.5", alpha=0.5, markersize=3, markeredgewidth=0, label="a head (bars: their mean)")
    figure.legend(fontsize=7, frameon=False, loc="outside upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
