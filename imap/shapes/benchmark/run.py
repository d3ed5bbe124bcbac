"""The benchmark of the command line: it reads a model and writes tables of scores."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from imap.backbones import backbone_of
from imap.backbones.weights_hash import weights_hash
from imap.config.checks import positive
from imap.config.method import method_settings
from imap.config.model import Model, model_settings
from imap.config.run import check_renoise_timestep
from imap.errors import ImapError
from imap.runs.checkpoint import read_checkpoint
from imap.runs.loading import load
from imap.shapes.benchmark.records import RecordFile
from imap.shapes.benchmark.sampled import score_sampled
from imap.shapes.benchmark.scoring import Reading, Record, score_baselines, score_model
from imap.shapes.benchmark.tables import UNTRAINED, counts, gates, markdown, summary, write_records
from imap.shapes.models import Recipe, recipe_for
from imap.shapes.training.card import with_maps
from imap.shapes.world.scenes import Scene, scene_of
from imap.shapes.world.split import SPLITS

log = logging.getLogger("imap")
Part = tuple[str, Callable[..., Iterator[tuple[int, list[Record]]]]]  # name, and function that scores its clips
VIDEOS = ("rendered", "sampled", "demo")
FIRST_SEED = 42  # of the sampled demo: that of imap sample
VERSION = 5  # version of the scoring; increase it when the same settings give other records
METHOD = ("num_inference_steps", "renoise_timestep", "imap_layer", "imap_sep_topk", "imap_qk_matching_target")


def benchmark(config: Any) -> None:
    """Score every map of a model on a frozen split, from a Hydra configuration; print the tables and write them.

    Args:
        config: Configuration shapes_benchmark.

    Raises:
        ImapError: A setting is wrong, or the model cannot be loaded.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    settings: Any = OmegaConf.to_container(config, resolve=True)
    if settings["split"] not in SPLITS:
        raise ImapError(f"unknown split {settings['split']!r}; known are {', '.join(SPLITS)}")
    if settings["videos"] not in VIDEOS or (settings["videos"] != "rendered" and settings["sweep"]):
        raise ImapError(f"videos={settings['videos']!r}: it can be {', '.join(VIDEOS)}, and sweep=true needs rendered")
    split = SPLITS[settings["split"]]
    recipe = recipe_for(settings["backbone"]["name"])
    untrained = recipe if settings["untrained"] else None
    scenes = split.scenes()[: None if settings["clips"] is None else positive("clips", settings["clips"])]
    reading, model, source = _reading(settings)
    card = Path(source) / "README.md"
    if settings["card"] and (settings["sweep"] or settings["videos"] != "rendered" or not card.is_file()):
        raise ImapError(
            f"card=true writes the gates of rendered clips with sweep=false into {card}, a card of imap.shapes.train"
        )
    pipe = load(model, source)
    pipe.set_progress_bar_config(disable=True)
    out = Path(settings["output_dir"])
    out.mkdir(parents=True, exist_ok=True)

    name, noises = settings["backbone"]["name"], settings["noises"]
    title = f"{name}, split {split.name} ({split.hash}), {len(scenes)} clips, {noises} noises"
    facts = {
        "version": VERSION,
        "title": title,
        "model": model.recorded(),
        "weights": weights_hash(pipe.components),
        "clip": reading.clip,
        **reading.settings,
        "untrained": settings["untrained"],
        "sweep": settings["sweep"],
        "videos": settings["videos"],
    }
    record_file = RecordFile(out / "records.jsonl", facts)
    if settings["videos"] != "rendered":
        if settings["videos"] == "demo":
            scenes, reading = (
                [scene_of(settings["backbone"]["demo"]["prompt"])],
                replace(reading, first_noise=FIRST_SEED),
            )
        guidance = settings["backbone"]["paper"]["guidance_scale"]
        parts = iter([("sampled", partial(score_sampled, pipe, scenes, reading, guidance))])
    else:
        parts = _sweep(pipe, scenes, reading) if settings["sweep"] else _all_rows(pipe, scenes, reading, untrained)
    for part, score in parts:
        for clip, records in score(skip=record_file.done(part)):
            record_file.add(part, clip, records)
    _write(out, title, record_file.records, scenes, settings, card if settings["card"] else None)


def _reading(settings: Mapping[str, Any]) -> tuple[Reading, Model, str]:
    """How clips are read, the model's settings, and the folder of its weights."""
    positive("noises", settings["noises"])
    method, paper = {name: settings[name] for name in METHOD}, settings["backbone"]["paper"]
    check_renoise_timestep(settings["renoise_timestep"], positive(METHOD[0], settings[METHOD[0]]), None, full=False)
    model = model_settings(settings["backbone"])
    checkpoint = read_checkpoint(model)
    map_settings = {name: method[name] for name in METHOD[2:]}
    layers = method_settings(map_settings, paper, checkpoint.num_layers, checkpoint.num_heads, "first").imap_layer
    method["imap_layer"] = list(layers)
    method["maps_layers"] = [min(layers), max(layers) + 1]  # skip the other layers
    clip = (paper["num_frames"], paper["height"], paper["width"])
    return Reading(clip, settings["noises"], method), model, checkpoint.source


def _write(
    out: Path,
    title: str,
    records: list[Record],
    scenes: list[Scene],
    settings: Mapping[str, Any],
    card: Path | None,
) -> None:
    """Write table.md, records.csv and summary.json, and the gates into a model's card if one is given."""
    command = f"`{' '.join(['python -m imap.shapes.benchmark', *sys.argv[1:]])}`"
    tables = [f"# {title}", command, *_tables(records, scenes)]
    if settings["videos"] != "rendered":
        tables += ["## Sampled videos", counts(records)]
    elif not settings["sweep"]:
        tables += ["## Gates", gates(records)]
    text = "\n\n".join(tables) + "\n"
    (out / "table.md").write_text(text, encoding="utf-8")
    write_records(records, out / "records.csv")
    scored = {"title": title, "settings": settings, **{kind: summary(records, kind) for kind in ("noun", "verb")}}
    (out / "summary.json").write_text(json.dumps(scored, indent=1), encoding="utf-8")
    log.info("%s\n%s", text, out)
    if card:
        note = f"{len(scenes)} clips of {settings['split']}, {settings['noises']} noises ({command}):"
        card.write_text(with_maps(card.read_text(encoding="utf-8"), gates(records), note), encoding="utf-8")
        log.info("%s", card)


def _tables(records: list[Record], scenes: list[Scene]) -> list[str]:
    """Headings and tables: nouns, verbs, verbs with and without twins, and each verb."""
    twins = {clip for clip, scene in enumerate(scenes) if len(scene.concepts) == 1}
    verbs = sorted({record.word for record in records if record.kind == "verb"})
    parts: list[tuple[str, str, list[Record]]] = [
        ("Nouns", "noun", records),
        ("Verbs", "verb", records),
        ("Verbs, the two things alike", "verb", [x for x in records if x.clip in twins]),
        ("Verbs, the two things of different nouns", "verb", [x for x in records if x.clip not in twins]),
        *((verb, "verb", [x for x in records if x.word == verb]) for verb in verbs),
    ]
    return [text for title, kind, rows in parts for text in (f"## {title}", markdown(summary(rows, kind), kind))]


def _all_rows(pipe: Any, scenes: list[Scene], reading: Reading, untrained: Recipe | None) -> Iterator[Part]:
    """Parts of a full benchmark: baselines, then random weights, then the model."""
    backbone = backbone_of(pipe)
    grid = (reading.clip[1] // backbone.spatial_factor, reading.clip[2] // backbone.spatial_factor)
    yield "baselines", partial(score_baselines, scenes, reading, grid)
    if untrained is not None:
        for noise in range(reading.noises):  # each noise has other random weights
            transformer = untrained.build(seed=noise + 1).transformer
            transformer = transformer.to(pipe.transformer.device, pipe.transformer.dtype)
            random = type(pipe)(**{**pipe.components, "transformer": transformer})
            one_noise = replace(reading, noises=1, first_noise=noise)
            yield f"untrained {noise + 1}", partial(score_model, random, scenes, one_noise, UNTRAINED)
    yield "model", partial(score_model, pipe, scenes, reading)


def _sweep(pipe: Any, scenes: list[Scene], reading: Reading) -> Iterator[Part]:
    """Parts of a sweep: each layer alone at the configured steps, then all layers at several steps."""
    for layer in reading.settings["imap_layer"]:
        one_layer = _changed(reading, imap_layer=[layer], maps_layers=[layer, layer + 1])
        yield f"layer {layer}", partial(score_model, pipe, scenes, one_layer, f", layer {layer}")
    steps = reading.settings["num_inference_steps"]
    for index in range(1, steps, max(1, steps // 10)):
        one_step = _changed(reading, renoise_timestep=[index])
        yield f"step {index}", partial(score_model, pipe, scenes, one_step, f", step {index}")


def _changed(reading: Reading, **settings: Any) -> Reading:
    return replace(reading, settings={**reading.settings, **settings})
