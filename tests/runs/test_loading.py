"""Weights are loaded from safetensors; pickled ones only where the setting says so."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file

from imap import ImapError
from imap.config.model import model_settings
from imap.runs.checkpoint import read_checkpoint
from imap.runs.loading import load, with_flow_shift
from imap.testing import tiny
from tests.shared import composed

PARTS = ("text_encoder", "transformer", "vae")


def pickled(folder, parts=PARTS):
    """A copy of a tiny pipeline in which some parts have their weights as .bin only."""
    shutil.copytree(tiny.folder("wan"), folder)
    for part in parts:
        (path,) = (folder / part).glob("*.safetensors")
        name = path.name.replace(".safetensors", ".bin")
        torch.save(load_file(path), path.with_name("pytorch_model.bin" if name == "model.bin" else name))
        path.unlink()
    return folder


def settings(folder, **changed):
    values = {"path": str(folder), "device": "cpu"} | changed
    config = composed("sampling", "backbone=tiny_wan", *(f"backbone.{key}={value}" for key, value in values.items()))
    return model_settings(config.backbone)


@pytest.mark.parametrize("part", PARTS)
def test_a_folder_with_pickled_weights_is_refused_before_they_are_loaded(part, tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "Unpickler", None)
    monkeypatch.setattr(torch, "load", None)
    folder = pickled(tmp_path / "model", [part])
    with pytest.raises(ImapError, match=f"{part} has its weights as .bin only.*set backbone.pickle_weights=true"):
        read_checkpoint(settings(folder))
    with pytest.raises(ImapError, match="set backbone.pickle_weights=true if they exist as .bin only"):
        load(settings(folder), str(folder))  # as of a hub id, whose files are not at hand before


def test_both_formats_are_the_same_model(tmp_path):
    model = settings(pickled(tmp_path / "model"), pickle_weights="true")
    assert read_checkpoint(model).num_layers == 4
    one, other = load(model, str(tmp_path / "model")), load(model, str(tiny.folder("wan")))
    for name in PARTS:
        weights, expected = getattr(one, name).state_dict(), getattr(other, name).state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_the_format_is_no_part_of_a_result(tmp_path):
    model = settings(tiny.folder("wan"))
    assert model.recorded() == replace(model, pickle_weights=True).recorded()
    with pytest.raises(ImapError, match="backbone.pickle_weights='yes' is neither true nor false"):
        settings(tiny.folder("wan"), pickle_weights="yes")


def test_safetensors_beside_pickled_weights_are_taken(tmp_path, monkeypatch):
    shutil.copytree(tiny.folder("wan"), tmp_path / "model")
    (tmp_path / "model" / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"not a pickle")
    model = settings(tmp_path / "model")
    read_checkpoint(model)
    assert isinstance(load(model, str(tmp_path / "model")), DiffusionPipeline)


def test_every_torch_load_of_the_tree_takes_weights_only():
    root = Path(__file__).parents[2]
    for path in root.glob("[!.]*/**/*.py"):
        calls = [line for line in path.read_text().splitlines() if "torch.load(" in line and "tests" not in path.parts]
        assert all("weights_only=True" in line for line in calls), path


def test_a_flow_shift_is_set_by_the_name_that_the_scheduler_gives_it():
    euler, dynamic = (
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    for scheduler, name in ((tiny.build("wan").scheduler, "flow_shift"), (euler, "shift")):
        changed = with_flow_shift(scheduler, 7.0)
        assert type(changed) is type(scheduler) and changed.config[name] == 7.0 and scheduler.config[name] == 3.0
        changed.set_timesteps(4)
        scheduler.set_timesteps(4)
        assert not torch.equal(changed.timesteps, scheduler.timesteps)
    for scheduler, why in (
        (tiny.build("cogvideox").scheduler, "has no flow shift"),
        (dynamic, "from the video's size"),
    ):
        with pytest.raises(ImapError, match=f"{why}; set backbone.flow_shift=null"):
            with_flow_shift(scheduler, 7.0)
