"""Where the time of one sampled video with maps goes, beside what the paper reports for the release."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import einsum

from imap.figures.study import Study
from imap.maps.gramcol import standardized_columns, surrogates
from imap.maps.layer import Layer, LayerMaps, Texts
from imap.maps.separability import SCORES
from imap.sampling import sample_video
from imap.timing import now

REPORTED = {  # seconds, by the paper: CogVideoX-5B on an A100
    "encode the text": 10.8,
    "denoise, maps included": 58.7,
    "of it: QK-matching": 0.08,
    "of it: head scores": 10.4,
    "write the maps": 7.2,
}


class Parts:
    """An `observe` for `imap.trace` that does the parts of the maps once more, each on the clock."""

    def __init__(self, score: str) -> None:
        self.score = SCORES[score].function
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = now()
        yield
        self.seconds[name] += now() - start

    def __call__(self, layer: int, step: int, attention: Layer, texts: Texts, read: LayerMaps) -> None:
        with self.part("of it: head scores"):
            self.score(attention.o.float())
        with self.part("of it: QK-matching"):
            index = surrogates(einsum("hfpd,htd->htfp", attention.q.float(), attention.keys.float()))
        with self.part("of it: Gram columns"):
            standardized_columns(attention.o.float(), index, texts.weights)


def draw(study: Study) -> None:
    sample = study.samples[0]
    sample_video(study.pipe, sample, study.run)  # the first run warms up
    output = sample_video(study.pipe, sample, study.run)
    seconds = output.record["seconds"]
    parts = Parts(study.run.method["imap_sep_score"])
    study.read(sample, study.run.renoise_timestep[0], observe=parts)
    start = now()
    with tempfile.TemporaryDirectory() as folder:
        output.maps.save(Path(folder) / "maps")
    steps = study.run.num_inference_steps
    measured = {
        "encode the text": seconds["encode_text"],
        "denoise, maps included": seconds["denoise"],
        **{name: steps * x for name, x in sorted(parts.seconds.items())},
        "decode the video": seconds["decode"],
        "write the maps": now() - start,
    }
    rows = [(name, x, REPORTED.get(name, float("nan"))) for name, x in measured.items()]
    study.write_table(("stage", "seconds", "seconds_reported_for_the_release"), rows)
    study.write_figure(table(rows))


def table(rows: list[tuple[str, float, float]]) -> Figure:
    """Stages down; seconds here and as reported."""
    figure = Figure(figsize=(4.6, 0.24 * len(rows) + 0.5), dpi=200)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(rows) + 1.1, -0.4))
    columns = ((0.03, "left"), (0.66, "right"), (0.97, "right"))
    lines = [("stage", "seconds here", "release, A100")]
    lines += [(name, f"{x:.3g}", "–" if reported != reported else f"{reported:g}") for name, x, reported in rows]
    for y, line in enumerate(lines):
        for (x, side), text in zip(columns, line, strict=True):
            axes.text(x, y, text, ha=side, va="center", fontsize=8, color="0.35" if y == 0 else "black")
    for y, width in ((-0.45, 1.0), (0.5, 0.6), (len(rows) + 0.55, 1.0)):
        axes.axhline(y, 0.02, 0.98, color="black", linewidth=width)
    return figure
