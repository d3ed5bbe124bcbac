"""The benchmark as run from the command line: model in, table out."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from imap.backbones import backbone_of
from imap.config.method import method_settings
from imap.config.model import model_settings
from imap.config.run import check_renoise_timestep, positive
from imap.errors import ImapError
from imap.runs.checkpoint import read_checkpoint
from imap.runs.loading import load
from imap.shapes.benchmark.records import RecordFile
from imap.shapes.benchmark.scoring import Reading, Record, score_baselines, score_model
from imap.shapes.benchmark.tables import UNTRAINED, gates, markdown, summary, write_records
from imap.shapes.models import Recipe, recipe_for
from imap.shapes.training.card import with_maps
from imap.shapes.weights_hash import weights_hash
from imap.shapes.world.scenes import Scene
from imap.shapes.world.split import SPLITS

log = logging.getLogger("imap")
Part = tuple[str, Callable[..., Iterator[tuple[int, list[Record]]]]]  # name, and what scores its clips
VERSION = 3  # of what is scored and how: raised when the same settings would give other records
METHOD = ("num_inference_steps", "renoise_timestep", "imap_layer", "imap_sep_topk", "imap_qk_matching_target")


def benchmark(config: Any) -> None:
    """Run the benchmark as configured, print its tables and write them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    told = OmegaConf.to_container(config, resolve=True)
    if told["split"] not in SPLITS:
        raise ImapError(f"unknown split {told['split']!r}; known are {', '.join(SPLITS)}")
    split = SPLITS[told["split"]]
    recipe = recipe_for(told["backbone"]["name"])
    untrained = recipe if told["untrained"] else None
    scenes = split.scenes()[: None if told["clips"] is None else positive("clips", told["clips"])]
    positive("noises", told["noises"])
    settings, paper = {name: told[name] for name in METHOD}, told["backbone"]["paper"]
    check_renoise_timestep(told["renoise_timestep"], positive(METHOD[0], told[METHOD[0]]), None, full=False)
    model = model_settings(told["backbone"])
    sizes = read_checkpoint(model)
    card = Path(sizes.source) / "README.md"
    if told["card"] and (told["sweep"] or not card.is_file()):
        raise ImapError(
            f"card=true writes the gates of a run with sweep=false into {card}, a card of imap.shapes.train"
        )
    method = {name: settings[name] for name in METHOD[2:]}
    layers = method_settings(method, paper, sizes.num_layers, sizes.num_heads, "first").imap_layer
    settings["imap_layer"] = list(layers)
    settings["maps_layers"] = [min(layers), max(layers) + 1]  # read no layer that is not asked for
    pipe = load(model, sizes.source)
    pipe.set_progress_bar_config(disable=True)
    clip = (paper["num_frames"], paper["height"], paper["width"])
    reading = Reading(clip, told["noises"], settings)
    out = Path(told["output_dir"])
    out.mkdir(parents=True, exist_ok=True)

    title = (
        f"{told['backbone']['name']}, split {split.name} ({split.hash}), {len(scenes)} clips, {told['noises']} noises"
    )
    asked = {name: told[name] for name in ("untrained", "sweep")}
    record_file = RecordFile(
        out / "records.jsonl",
        {
            "version": VERSION,
            "title": title,
            "model": model.recorded(),
            "weights": weights_hash(pipe.components),
            "clip": clip,
            **settings,
            **asked,
        },
    )
    parts = _sweep(pipe, scenes, reading) if told["sweep"] else _all_rows(pipe, scenes, reading, untrained)
    for part, score in parts:
        for number, found in score(skip=record_file.done(part)):
            record_file.add(part, number, found)
    _write(out, title, record_file.records, scenes, told, card if told["card"] else None)


def _write(
    out: Path, title: str, records: list[Record], scenes: list[Scene], told: dict[str, Any], card: Path | None
) -> None:
    """table.md, records.csv and summary.json; and the gates into a model's card. told: what the run was asked for."""
    command = f"`{' '.join(['python -m imap.shapes.benchmark', *sys.argv[1:]])}`"
    tables = [f"# {title}", command, *_tables(records, scenes)]
    if not told["sweep"]:
        tables += ["## Gates", gates(records)]
    text = "\n\n".join(tables) + "\n"
    (out / "table.md").write_text(text, encoding="utf-8")
    write_records(records, out / "records.csv")
    scored = {"title": title, "settings": told, **{kind: summary(records, kind) for kind in ("noun", "verb")}}
    (out / "summary.json").write_text(json.dumps(scored, indent=1), encoding="utf-8")
    log.info("%s\n%s", text, out)
    if card:
        note = f"{len(scenes)} clips of {told['split']}, {told['noises']} noises ({command}):"
        card.write_text(with_maps(card.read_text(encoding="utf-8"), gates(records), note), encoding="utf-8")
        log.info("%s", card)


def _tables(records: list[Record], scenes: list[Scene]) -> list[str]:
    """Headings and tables: by kind of word, of verbs by whether the two things are alike, and by verb."""
    twins = {clip for clip, scene in enumerate(scenes) if len(scene.concepts) == 1}
    verbs = sorted({record.word for record in records if record.kind == "verb"})
    parts: list[tuple[str, str, list[Record]]] = [
        ("Nouns", "noun", records),
        ("Verbs", "verb", records),
        ("Verbs, the two things alike", "verb", [x for x in records if x.clip in twins]),
        ("Verbs, the two things of different nouns", "verb", [x for x in records if x.clip not in twins]),
        *((verb, "verb", [x for x in records if x.word == verb]) for verb in verbs),
    ]
    return [part for title, kind, own in parts for part in (f"## {title}", markdown(summary(own, kind), kind))]


def _all_rows(pipe: Any, scenes: list[Scene], reading: Reading, untrained: Recipe | None) -> Iterator[Part]:
    backbone = backbone_of(pipe)
    grid = (reading.clip[1] // backbone.spatial_factor, reading.clip[2] // backbone.spatial_factor)
    yield "baselines", partial(score_baselines, scenes, reading, grid)
    for noise in range(reading.noises if untrained else 0):  # with random weights of its own for each noise
        transformer = untrained.build(seed=noise + 1).transformer.to(pipe.transformer.device, pipe.transformer.dtype)
        random = type(pipe)(**{**pipe.components, "transformer": transformer})
        own = replace(reading, noises=1, first_noise=noise)
        yield f"untrained {noise + 1}", partial(score_model, random, scenes, own, UNTRAINED)
    yield "model", partial(score_model, pipe, scenes, reading)


def _sweep(pipe: Any, scenes: list[Scene], reading: Reading) -> Iterator[Part]:
    """Each layer alone at the configured steps, then all layers at several steps."""
    for layer in reading.settings["imap_layer"]:
        own = _changed(reading, imap_layer=[layer], maps_layers=[layer, layer + 1])
        yield f"layer {layer}", partial(score_model, pipe, scenes, own, f", layer {layer}")
    steps = reading.settings["num_inference_steps"]
    for index in range(1, steps, max(1, steps // 10)):
        own = _changed(reading, renoise_timestep=[index])
        yield f"step {index}", partial(score_model, pipe, scenes, own, f", step {index}")


def _changed(reading: Reading, **settings: Any) -> Reading:
    return replace(reading, settings={**reading.settings, **settings})
