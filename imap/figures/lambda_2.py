"""lambda_2 of every head by layer, the layers that the threshold selects, and maps of the lowest and highest layer."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from imap.figures.study import LOOK, Study, first_word, row
from imap.methods.registry import default_key
from imap.tracing.layer_choice import Lambda2Probe, LayerChoice
from imap.view.strip import strip

KEPT, LEFT_OUT = "#b13", "0.6"  # colours
PUBLISHED_THRESHOLD = ("cogvideox", "hunyuanvideo")  # families whose threshold is the paper's


def draw(study: Study) -> None:
    """Write the lambda_2 figure and the maps of two layers.

    Files: lambda_2.png and .pdf; every head's value as lambda_2.csv; the selected layers as lambda_2.txt. The files
    lambda_2-maps.png, .pdf and .npy show GramCol in the layers of the lowest and the highest mean, for the first motion
    word of the first clip (or its first noun).
    """
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

    means, word = choice.means, first_word(sample)
    ordered = sorted(means, key=lambda layer: means[layer])
    shown = list(dict.fromkeys((ordered[0], ordered[-1])))
    outputs = [study.read(sample, step, imap_layer=[layer], maps_layers=[layer, layer + 1]) for layer in shown]
    maps = [output.maps.of(word, default_key("things")) for output in outputs]
    rows = [row(f"layer {layer}", f"{word}, λ₂ {means[layer]:.2f}", x) for layer, x in zip(shown, maps, strict=True)]
    study.write_figure(strip(study.shown(sample, outputs[0]), rows, **LOOK), "-maps")
    study.write_maps(np.stack(maps), "-maps")


def plot(choice: LayerChoice, family: str) -> Figure:
    """Heads as dots, means of layers as bars, the threshold as a line. The legend names the rule of the choice."""
    layers = list(choice.lambda_2)
    figure = Figure(figsize=(max(3.2, 0.22 * len(layers) + 1.2), 2.4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for layer, values in choice.lambda_2.items():
        colour = KEPT if layer in choice.layers else LEFT_OUT
        axes.plot([layer] * len(values), values, "o", color=colour, alpha=0.35, markersize=3, markeredgewidth=0)
        axes.plot([layer - 0.35, layer + 0.35], [choice.means[layer]] * 2, color=colour, linewidth=2)
    axes.axhline(choice.threshold, color="0.2", linewidth=0.8, linestyle=(0, (4, 3)))
    source = "the paper's" if family in PUBLISHED_THRESHOLD else "ours"
    text = f"{choice.threshold}, {source}"
    axes.text(layers[0] - 0.5, choice.threshold + 0.01, text, fontsize=7, va="bottom", color="0.2")
    axes.set(xlabel="layer", ylabel=r"$\lambda_2$ of the attention", ylim=(0, 1.02))
    axes.set_xticks(layers if len(layers) <= 12 else layers[:: -(-len(layers) // 12)])
    for label, colour in ((f"kept: {choice.rule}", KEPT), ("left out", LEFT_OUT)):
        axes.plot([], [], color=colour, linewidth=2, label=label)
    axes.plot([], [], "o", color="0.5", alpha=0.5, markersize=3, markeredgewidth=0, label="a head (bars: their mean)")
    figure.legend(fontsize=7, frameon=False, loc="outside upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
