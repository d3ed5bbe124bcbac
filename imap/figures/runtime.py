"""Where the time of one sampled video with maps goes, beside what the paper reports for the release."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from imap.figures.study import Study
from imap.maps.gramcol import matches, standardized_columns, surrogates
from imap.maps.grouping import head_groups
from imap.maps.layer import Layer, LayerMaps, Texts
from imap.maps.separability import SCORES
from imap.sampling import sample_video
from imap.timing import now

REPORTED = {  # seconds, by the paper
    "encode the text": 10.8,
    "inference": 58.7,
    "QK-matching": 0.08,
    "head selection": 10.4,
    "write the maps": 7.2,
}


class Parts:
    """An `observe` for `imap.trace` that does the parts of the maps once more, each on the clock."""

    def __init__(self, score: str, device: torch.device) -> None:
        self.device, self.score = device, SCORES[score].function
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's seconds."""
        start = now(self.device)
        yield
        self.seconds[name] += now(self.device) - start

    def __call__(self, layer: int, step: int, attention: Layer, texts: Texts, read: LayerMaps) -> None:
        """Time the parts on one layer, in the groups of heads that a trace takes."""
        for group in head_groups(attention.o, attention.keys.shape[1]):
            q, o, keys = (x[group].float() for x in (attention.q, attention.o, attention.keys))
            with self.part("head selection"):
                self.score(o)
            with self.part("QK-matching"):
                index = surrogates(matches(q, keys))
            with self.part("Gram columns"):
                standardized_columns(o, index, texts.weights, texts.rows)


def draw(study: Study) -> None:
    """runtime.png, .pdf and runtime.csv: of the first clip's prompt sampled with its maps, after a run to warm up."""
    sample = study.samples[0]
    try:
        sample_video(study.pipe, sample, study.run)
        output = sample_video(study.pipe, sample, study.run)
    finally:
        study.pipe.maybe_free_model_hooks()
    seconds, facts = output.record["seconds"], output.maps.facts
    parts = Parts(facts["method"]["imap_sep_score"], study.pipe._execution_device)
    study.read(sample, study.run.renoise_timestep[0], parts)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        output.maps.save(Path(folder) / "maps")
        written = time.perf_counter() - start
    measured = {
        "encode the text": seconds["encode_text"],
        "inference": seconds["denoise"],
        **{name: len(facts["steps"]) * x for name, x in sorted(parts.seconds.items())},
        "decode the video": seconds["decode"],
        "write the maps": written,
    }
    rows = [(name, x, REPORTED.get(name)) for name, x in measured.items()]
    parameter = next(study.pipe.transformer.parameters())
    here = f"{parameter.device.type}, {parameter.dtype}".replace("torch.", "")
    study.write_table(("stage", f"seconds on {here}", "seconds by the paper"), rows)
    study.write_figure(table(rows, here))


def table(rows: list[tuple[str, float, float | None]], here: str) -> Figure:
    """Stages down; seconds here and as the paper reports them."""
    figure = Figure(figsize=(5.2, 0.24 * len(rows) + 0.5), dpi=200)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(len(rows) + 1.1, -0.4))
    columns = ((0.03, "left"), (0.56, "right"), (0.97, "right"))
    lines = [("seconds", here, "paper: CogVideoX-5B, A100")]
    lines += [(name, f"{x:.3g}", "–" if reported is None else f"{reported:g}") for name, x, reported in rows]
    for y, line in enumerate(lines):
        for (x, side), text in zip(columns, line, strict=True):
            axes.text(x, y, text, ha=side, va="center", fontsize=8, color="0.35" if y == 0 else "black")
    for y, width in ((-0.45, 1.0), (0.5, 0.6), (len(rows) + 0.55, 1.0)):
        axes.axhline(y, 0.02, 0.98, color="black", linewidth=width)
    return figure
