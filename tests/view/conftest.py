"""A finished run made by hand: no model takes part in the tests of pictures."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from imap.jobs.output import Output
from imap.runs.batch import write_sample
from imap.saliency import Maps

# a run of the first version that wrote layout 1: what it lacks can never become needed for showing that layout
EARLIER = Path(__file__).with_name("layout_1")
FRAMES, LATENT, HEIGHT, WIDTH = 13, 4, 48, 64
KEYS = ("sel_imap_layers", "imap_layers", "cross_attention_maps_layers", "concept_attention_maps_layers")


def make_maps(seed=0, latent=LATENT):
    """Maps in which cell (y, x) of latent frame f says so: rises with f, then y, then x."""
    f, y, x = np.meshgrid(np.arange(latent), np.arange(6), np.arange(8), indexing="ij")
    ramp = (f * 100 + y * 10 + x).astype(np.float32)
    rng = np.random.default_rng(seed)
    texts = np.stack([ramp, -ramp, rng.normal(size=ramp.shape).astype(np.float32)])
    heads = {layer: {2: [0, 3], 5: [0, layer]} for layer in (4, 7)}
    scores = {layer: {step: [1.0] * 8 for step in (2, 5)} for layer in (4, 7)}
    arrays = {key: texts * (i + 1) for i, key in enumerate(KEYS)}
    return Maps(
        arrays, ("ball", "box", "rises & </script> falls"), frozenset({"rises & </script> falls"}), heads, scores
    )


def write_one(folder, prompt="A ball rises.", seed=0, shape=(FRAMES, HEIGHT, WIDTH)):
    frames = np.random.default_rng(seed).integers(0, 255, (*shape, 3)).astype(np.uint8)
    frames = frames // 8 + 100  # smooth enough for a video
    request = {"sample": {"prompt": prompt}, "settings": {"seed": 42, "method": {"imap_layer": [4, 7]}}}
    record = {"video": "sampled", "seconds": {"decode": 1.25}}
    write_sample(folder, Output(frames, make_maps(seed, 1 + (len(frames) - 1) // 4), record), request, {"fps": 8})
    return folder


@pytest.fixture
def maps():
    return make_maps()


@pytest.fixture(scope="session")
def write():
    return write_one


@pytest.fixture
def run(tmp_path):
    """A run folder of two samples."""
    for index, prompt in enumerate(("A ball rises.", 'A "box" <b>falls</b> & stays. <!-- <script> A ball')):
        write_one(tmp_path / f"run/{index:03d}-sample", prompt, index)
    return tmp_path / "run"


@pytest.fixture
def earlier(tmp_path):
    """A run folder of one sample, written by an earlier version: 9 frames of 48x64."""
    return shutil.copytree(EARLIER, tmp_path / "earlier")
