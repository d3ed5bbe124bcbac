"""Every configuration composes and is complete, and the paper's settings are those of docs/method.md, 6."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from imap import ImapError
from imap.config.method import method_settings
from imap.config.model import model_settings
from imap.config.presets import config_folder, preset_for, presets
from imap.config.run import METHOD_KEYS, run_settings
from imap.config.sample_lists import samples_of
from imap.media.video_io import read_video
from imap.shapes.models.base import WORDS
from imap.testing import tiny
from tests import shared

BACKBONES = sorted(path.stem for path in (config_folder() / "backbone").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (config_folder() / "experiment").glob("*.yaml"))
FILES = sorted(path.relative_to(config_folder()).as_posix() for path in config_folder().rglob("*.yaml"))
COMMANDS = {"sampling": False, "renoising": True}
TINY = [f"tiny_{family}" for family in tiny.FAMILIES]
SHAPES = [f"shapes_{family}" for family in tiny.FAMILIES]


def layers(*ranges: int | tuple[int, int]) -> list[int]:
    """Layers as docs/method.md, 6 writes them: single ones, and (first, last) for a range with both ends."""
    return [n for r in ranges for n in (range(r[0], r[1] + 1) if isinstance(r, tuple) else [r])]


# name: hub id, layers and heads of the model, imap_layer, k, target, steps, renoise index, height, width
PAPER = {
    "cogvideox_2b": (
        *("THUDM/CogVideoX-2b", 30, 30),
        *(layers(4, 6, 7, (10, 23)), 5, "concepts", 50, 30, 480, 720),
    ),
    "cogvideox_5b": (
        *("THUDM/CogVideoX-5b", 42, 48),
        *(layers((1, 5), (7, 21), 23), 5, "concepts", 50, 30, 480, 720),
    ),
    "hunyuanvideo": (
        *("hunyuanvideo-community/HunyuanVideo", 20, 24),
        *(layers(1, 2, 4, 5, 6, 9, 10, 13, (15, 19)), 5, "concepts", 30, 20, 480, 720),
    ),
    "wan2_1_1_3b": (
        *("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 30, 12),
        *(layers((5, 19)), 3, "prompt", 50, 20, 480, 832),
    ),
    "wan2_1_14b": (
        *("Wan-AI/Wan2.1-T2V-14B-Diffusers", 40, 40),
        *(layers((5, 25)), 5, "prompt", 50, 20, 480, 832),
    ),
}


# published, and nobody has tuned their settings
UNTUNED = sorted(x.name for x in presets().values() if x.is_published and x.paper["imap_layer"] == "auto")
ALL_LAYERS = ["sana_video_2b"]  # whose attention over the video has no lambda_2


def composed(command: str, *overrides: str) -> dict:
    return OmegaConf.to_container(shared.composed(command, *overrides), resolve=True)


def check(config: dict, renoising: bool) -> None:
    """The checks of a command before it reads a checkpoint."""
    backbone = config["backbone"]
    model_settings({**backbone, "path": None})  # the small trained models are not on every machine
    run = run_settings(config, renoising)
    method = method_settings(run.method, backbone["paper"], backbone["num_layers"], backbone["num_heads"], "first")
    method.check_steps(run.num_inference_steps)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_composes_for_both_commands(command: str, backbone: str):
    config = composed(command, f"backbone={backbone}")
    check(config, COMMANDS[command])
    paper = config["backbone"]["paper"]
    same = [key for key in paper if config.get(key) is not None]
    assert {key: config[key] for key in same} == {key: paper[key] for key in same}
    assert config["seed"] == 42 and config["fps"] == (paper["fps"] if command == "sampling" else None)
    if backbone not in (*UNTUNED, *ALL_LAYERS):
        assert paper["fps"] == 8
        assert config["guidance_scale"] == (4.0 if backbone in SHAPES else 6.0)
    assert config["negative_prompt"] == ""


def test_backbones_are_published_small_or_tiny():
    assert sorted(BACKBONES) == sorted([*PAPER, *UNTUNED, *ALL_LAYERS, *SHAPES, *TINY])
    assert set(tiny.FURTHER) <= {presets()[name].family for name in (*UNTUNED, *ALL_LAYERS)}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_for_a_command(name: str):
    faults = []
    for command, renoising in COMMANDS.items():
        try:
            check(composed(command, f"experiment={name}"), renoising)
        except Exception as error:  # an experiment may be for one command only
            faults.append(f"{command}: {error}")
    assert len(faults) < len(COMMANDS), faults


@pytest.mark.parametrize("name", PAPER)
def test_paper_settings_equal_the_papers_table(name: str):
    config = OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml")
    hub, num_layers, num_heads, imap_layer, k, target, steps, index, height, width = PAPER[name]
    assert (config.name, config.id, config.num_layers, config.num_heads) == (name, hub, num_layers, num_heads)
    assert OmegaConf.to_container(config.paper) == {
        "imap_layer": imap_layer,
        "imap_sep_topk": k,
        "imap_qk_matching_target": target,
        "num_inference_steps": steps,
        "renoise_timestep": [index],
        "guidance_scale": 6.0,
        "height": height,
        "width": width,
        "num_frames": 49,
        "fps": 8,
        "show": "published",
        "read": "during",
    }
    if config.family == "wan":
        assert (config.vae_dtype, config.flow_shift) == ("float32", 3.0)


@pytest.mark.parametrize("name", [*PAPER, *UNTUNED, *ALL_LAYERS])
def test_a_preset_is_found_by_the_models_size(name: str):
    config = OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml")
    assert preset_for(config.family, config.num_layers, config.num_heads) == presets()[name]
    assert preset_for(config.family, config.num_layers, config.num_heads + 1).name != name
    assert preset_for(config.family, config.num_layers + 1, config.num_heads).name != name


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_model_of_another_size_gets_all_layers_and_its_familys_schedule(family: str):
    of_family = [preset.paper for name, preset in presets().items() if preset.family == family and name in PAPER]
    paper = preset_for(family, 7, 11).paper
    assert paper["imap_layer"] == list(range(7)) and paper["imap_sep_topk"] == 2
    assert preset_for(family, 7, 3).paper["imap_sep_topk"] == 1
    for key in ("imap_qk_matching_target", "num_inference_steps", "renoise_timestep", "height", "width", "num_frames"):
        assert paper[key] in [x[key] for x in of_family], key


@pytest.mark.parametrize("name", ALL_LAYERS)
def test_a_model_without_lambda_2_gets_all_its_layers(name: str):
    preset = presets()[name]
    model = (preset.num_layers, preset.num_heads, "first")
    assert preset.paper["imap_layer"] == list(range(preset.num_layers))
    assert method_settings({}, preset.paper, *model).imap_layer == tuple(range(preset.num_layers))


@pytest.mark.parametrize("name", UNTUNED)
def test_layers_of_a_model_that_nobody_has_tuned_must_be_chosen(name: str):
    preset = presets()[name]
    model = (preset.num_layers, preset.num_heads, "first")
    with pytest.raises(ImapError, match=f"nobody has tuned layers.*layers 0 to {preset.num_layers - 1}$"):
        method_settings({}, preset_for(preset.family, *model[:2]).paper, *model)
    assert method_settings({"imap_layer": [3]}, preset.paper, *model).imap_layer == (3,)
    run = run_settings(composed("sampling", f"backbone={name}"), False)
    assert run.chooses_layers and method_settings(run.method, preset.paper, *model).maps_layers == (0, model[0])


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_backbone_has_the_size_of_its_configuration(name: str):
    config = OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml")
    transformer = tiny.build(config.family).transformer
    blocks = transformer.blocks if config.family == "wan" else transformer.transformer_blocks
    assert (config.num_layers, config.num_heads) == (len(blocks), transformer.config.num_attention_heads)
    assert config.id is None and config.path is None


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_backbone_has_a_built_in_example(name: str):
    config = composed("sampling", f"backbone={name}")
    sample = samples_of(config, renoising=False, demo=config["backbone"]["demo"])[0]
    assert all(word in sample.prompt for word in (*sample.concepts, *sample.motions)) and sample.motions


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_the_built_in_example_of_a_published_backbone_is_clips_of_its_size(name: str):
    config = composed("renoising", f"backbone={name}")
    paper, demo = config["backbone"]["paper"], config["backbone"]["demo"]
    samples = samples_of(config, renoising=True, demo=demo)
    frames = read_video(samples[0].video_path)
    assert frames.shape == (paper["num_frames"], paper["height"], paper["width"], 3) and len(samples) == 2
    assert all(x.video_path.with_name(f"truth-{x.video_path.stem}.npz").is_file() for x in samples)
    with pytest.raises(ImapError, match="no sample is set"):
        samples_of(composed("sampling", f"backbone={name}"), renoising=False, demo=demo)


def test_every_setting_of_the_method_is_in_its_configuration():
    assert set(OmegaConf.load(config_folder() / "method" / "imap.yaml")) == set(METHOD_KEYS)


def test_every_backbone_has_the_same_keys():
    configs = [OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml") for name in BACKBONES]
    assert len({frozenset(set(config) - {"demo", "words"}) for config in configs}) == 1
    assert len({frozenset(config.paper) for config in configs}) == 1


def test_small_models_list_the_words_of_the_embedded_world():
    named = {name: OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml").get("words") for name in BACKBONES}
    for name, words in named.items():
        assert (words is not None) == name.startswith("shapes_")
        assert words is None or sorted(words) == sorted(WORDS.split()), name


def test_both_commands_share_settings_and_defaults():
    sampling, renoising = composed("sampling"), composed("renoising")
    assert set(sampling) - set(renoising) == {"read", "read_timestep"}
    clips = {"video_path", "renoise_timestep", "test_full_denoise", "video", "cache_latents"}
    assert set(renoising) - set(sampling) == clips
    differ = {key for key in set(sampling) & set(renoising) if sampling[key] != renoising[key]}
    assert differ == {"output_dir", "fps"}  # a clip has time stamps of its own


def uncommented(text: str) -> list[str]:
    """Keys without a comment on their line or the line above. A block's comment is enough for all its keys."""
    keys, parents, above = [], [], False
    for line in text.splitlines():
        key = re.match(r"( *)([\w/]+):(?: |$)", line)
        if key:
            indent = len(key.group(1))
            parents = [(depth, explained) for depth, explained in parents if depth < indent]
            explained = above or " # " in line or any(x for _, x in parents)
            parents.append((indent, explained))
            if not explained:
                keys.append(key.group(2))
        above = line.lstrip().startswith("#")
    return keys


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("experiment/")])
def test_every_key_has_a_comment(file: str):
    text = Path(config_folder() / file).read_text(encoding="utf-8")
    # without the defaults list and the hydra block, which are Hydra's
    settings = re.split(r"^hydra:", re.sub(r"^defaults:\n(?: +.*\n)+", "", text, flags=re.M), flags=re.M)[0]
    assert uncommented(settings) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_comment(name: str):
    lines = (config_folder() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_" and lines[1].startswith("# ")


def test_a_key_without_a_comment_is_found():
    assert uncommented("# file\na: 1\nb: 1\nc: # C\n  d: 2\n\ne:\n  f: 1 # F\n# G\ng: 1\n") == ["b", "e"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_missing_small_model_is_an_error_with_the_training_command(name: str):
    with pytest.raises(ImapError, match=f"train it first: imap shapes train backbone={name}"):
        model_settings(composed("sampling", f"backbone={name}", "backbone.path=nowhere")["backbone"])
