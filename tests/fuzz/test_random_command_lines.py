"""Command lines, drawn at random: refused in one line before anything is loaded, or planned as they are typed."""

from functools import partial

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import OmegaConf

from imap.config.overrides import TEXTS, check_overrides, literal
from imap.config.presets import config_folder
from imap.media.video_io import write_video
from imap.runs.plan import plan
from tests.fuzz.values import accepted, fuzzed, search, texts

WHOLE = ("seed", "num_inference_steps", "height", "width", "num_frames", "fps")
REAL = ("guidance_scale",)
YES_OR_NO = ("pictures", "test_full_denoise")
METHOD = {
    "imap_layer": ["[0]", "[0,1]", "[4]", "[-1]", "[0,0]", "auto", "AUTO", "0", "[]", "[0.5]", "[true]"],
    "maps_layers": ["[0,2]", "[2,0]", "[0,9]", "[1]", "3"],
    "maps_timesteps": ["[0,2]", "[1,99]", "[-1,2]", "[0,2,3]"],
    "imap_sep_score": ["chi", "DBI", "Silhouette", "CH", "[CHI]"],
    "imap_sep_topk": ["-1", "0", "1", "99", "2.0", "true"],
    "imap_qk_matching_target": ["prompt", "concepts", "both"],
    "surrogate": ["per_head", "consensus", "mean"],
    "standardize": ["text", "none", "null"],
    "softmax": ["true", "yes", "1", "False"],
    "concept_token": ["first", "LAST", "mean", "2"],
    "prompt_tokens": ["true", "no"],
    "show": ["published", "IMAP", "video_col", "effect", "sel_imap", "imap_layers"],
    "effect": ["true", "[0,1]", "[5.0]", "1", "[]", "{a:1}", "0.5"],
    "effect_neutral": ["mean", "dropped", "none"],
    "random_heads": ["0", "2", "-1", "101", "two", "1.5"],
}
BACKBONE = ("dtype", "vae_dtype", "device", "offload", "vae_tiling", "attention_backend", "flow_shift", "path", "id")
BACKBONE += (
    "name",
    "family",
    "num_layers",
    "num_heads",
    "paper",
    "demo",
    "words",
    "paper.imap_layer",
    "demo.prompt",
    "demo.input_json",
    "paper.renoise_timestep",
)
OTHERS = ("read", "read_timestep", "renoise_timestep", "concept_option", "video", "video.resize", "video.frames")
NAMES = (*TEXTS, *WHOLE, *REAL, *YES_OR_NO, *METHOD, *OTHERS, *(f"backbone.{name}" for name in BACKBONE))
VALUES = ["true", "Yes", "off", "null", "", "0", "1", "2", "-1", "2.5", "1e3", "1_000", "0x10", "nan", "inf", "-inf"]
VALUES += ["[1]", "[0,1]", "{a:1}", "[[1]]", "1,2", "none", "during", "after", "both", "s", "crop", "first", "auto"]
VALUES += ["9" * 30, "9" * 400, "9" * 5000, "1e400", "${seed}", "${x}", "'1'", '"64"', "a b", "[" * 50, "é", "cpu:0"]
BASE = ("prompt=a ball jumps", "concepts=ball", "motions=jumps", "num_inference_steps=2", "renoise_timestep=[1]")


@st.composite
def override(draw):
    """One setting of a command line: mostly a known name, and a value that may fit."""
    name = draw(st.sampled_from(NAMES) | st.sampled_from(["heigth", "hydra.x", "+seed", "++seed", "~seed", "method"]))
    value = draw(st.sampled_from([*METHOD.get(name, VALUES), *METHOD.get(name, ())]) | st.sampled_from(VALUES) | texts)
    return f"{name}={value}".replace("\0", "")  # no argument of a process holds NUL


def typed(kind, value):
    """What a person means by a number."""
    try:
        return kind(value.strip("'\""))
    except ValueError:
        return None


def check_run(name, value, config, run):
    """A setting that is accepted has the value that was typed."""
    if "${" in value and name not in TEXTS:  # a reference to another setting
        return
    if name in TEXTS and value not in ("", "null"):
        parent, _, key = name.rpartition(".")
        assert (config[parent] if parent else config)[key] == value
    elif name in WHOLE:
        assert getattr(run, name) == typed(int, value) and value[0] not in "'\""
    elif name in REAL:
        assert getattr(run, name) == typed(float, value) and value[0] not in "'\""
    elif name in YES_OR_NO:
        assert str(getattr(run, name)).lower() == value.lower()


@pytest.mark.slow
@pytest.mark.parametrize("renoising", [False, True])
@fuzzed(0.06, few=5)
def test_a_command_line_is_refused_or_planned_as_it_is_typed(examples, renoising, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", np.zeros((25, 64, 64, 3), np.uint8), 8)
    command = "renoising" if renoising else "sampling"
    base = [x for x in BASE if renoising or not x.startswith("renoise")] + ["video_path=clip.mp4"] * renoising

    def planned(overrides):
        check_overrides(command, overrides)
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = OmegaConf.to_container(compose(command, overrides), resolve=True)
        return config, plan(config, renoising).run

    def check(chosen):
        result = accepted(partial(planned, [literal(x) for x in [*base, *chosen]]))
        last = dict(x.partition("=")[::2] for x in chosen)
        for name, value in last.items() if result else ():
            check_run(name, value, *result)

    search(examples, check, st.lists(override(), min_size=1, max_size=2))
