"""The benchmark as run from the command line: model in, table out."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from imap.backbones import backbone_of
from imap.errors import ImapError
from imap.loading import load
from imap.outline import outline
from imap.settings.model import model_settings
from imap.shapes.models import RECIPES
from imap.shapes.scoring import Reading, Record, score_baselines, score_model
from imap.shapes.split import SPLITS
from imap.shapes.tables import markdown, summary, write_records
from imap.shapes.world import Scene

log = logging.getLogger("imap")
METHOD = ("num_inference_steps", "renoise_timestep", "imap_layer", "imap_sep_topk", "imap_qk_matching_target")


def benchmark(config: Any) -> None:
    """Run the benchmark as configured, print its tables and write them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    told = OmegaConf.to_container(config, resolve=True)
    if told["split"] not in SPLITS:
        raise ImapError(f"unknown split {told['split']!r}; known are {', '.join(SPLITS)}")
    split = SPLITS[told["split"]]
    scenes = split.scenes()[: told["clips"]]
    model = model_settings(told["backbone"])
    pipe = load(model, outline(model).source)
    pipe.set_progress_bar_config(disable=True)
    paper = told["backbone"]["paper"]
    clip = (paper["num_frames"], paper["height"], paper["width"])
    settings = {name: told[name] for name in METHOD}
    settings["maps_layers"] = [
        min(told["imap_layer"]),
        max(told["imap_layer"]) + 1,
    ]  # read no layer that is not asked for
    reading = Reading(clip, told["noises"], settings)
    out = Path(told["output_dir"])
    out.mkdir(parents=True, exist_ok=True)

    title = (
        f"{told['backbone']['name']}, split {split.name} ({split.hash}), {len(scenes)} clips, {told['noises']} noises"
    )
    if told["sweep"]:
        records = list(_sweep(pipe, scenes, reading))
    else:
        records = list(_all_rows(pipe, scenes, reading, told["untrained"]))
    tables = [f"# {title}", f"`python -m imap.shapes.benchmark {' '.join(sys.argv[1:])}`"]
    for kind in ("noun", "verb"):
        tables += [f"## {kind.capitalize()}s", markdown(summary(records, kind), kind)]
    names = sorted({record.word for record in records if record.kind == "verb"})
    for verb in names:
        own = [record for record in records if record.word == verb]
        tables += [f"## {verb}", markdown(summary(own, "verb"), "verb", intervals=False)]
    text = "\n\n".join(tables) + "\n"
    (out / "table.md").write_text(text, encoding="utf-8")
    write_records(records, out / "records.csv")
    found = {"title": title, "settings": told, **{kind: summary(records, kind) for kind in ("noun", "verb")}}
    (out / "summary.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    log.info("%s\n%s", text, out)


def _all_rows(pipe: Any, scenes: list[Scene], reading: Reading, untrained: bool) -> Iterator[Record]:
    backbone = backbone_of(pipe)
    grid = (reading.clip[1] // backbone.spatial_factor, reading.clip[2] // backbone.spatial_factor)
    yield from score_baselines(scenes, reading, grid)
    if untrained:
        random = RECIPES[backbone.family].build(seed=1)
        random.transformer.to(pipe.transformer.device, pipe.transformer.dtype)
        random.text_encoder.to(pipe.text_encoder.device, pipe.text_encoder.dtype)
        own = {"transformer": random.transformer, "text_encoder": random.text_encoder}
        yield from score_model(type(pipe)(**{**pipe.components, **own}), scenes, reading, ", untrained")
    yield from score_model(pipe, scenes, reading)


def _sweep(pipe: Any, scenes: list[Scene], reading: Reading) -> Iterator[Record]:
    """Each layer alone at the configured steps, then all layers at several steps."""
    for layer in reading.settings["imap_layer"]:
        own = _changed(reading, imap_layer=[layer], maps_layers=[layer, layer + 1])
        yield from score_model(pipe, scenes, own, f", layer {layer}")
    steps = reading.settings["num_inference_steps"]
    for index in range(1, steps, max(1, steps // 10)):
        yield from score_model(pipe, scenes, _changed(reading, renoise_timestep=[index]), f", step {index}")


def _changed(reading: Reading, **settings: Any) -> Reading:
    merged: Mapping[str, Any] = {**reading.settings, **settings}
    return Reading(reading.clip, reading.noises, merged)
