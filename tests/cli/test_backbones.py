"""`imap backbones`: the table of models, and what it says of checkpoints from their small files alone."""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline
from packaging.version import parse

from imap import ImapError
from imap.backbones import FAMILIES, backbone_of
from imap.backbones.known import NOT_TRACED
from imap.cli.backbones import main
from imap.config.presets import presets
from imap.methods.registry import MAPS
from imap.runs.backbone_table import known_backbones
from imap.runs.inspection import Inspection, inspect_checkpoint
from imap.testing import tiny
from tests.shared import NOT_RENOISED

SMALL = {x.name: x.source for x in known_backbones() if x.name.startswith("shapes_")}
TINY = {f"tiny_{family}": family for family in (*tiny.FAMILIES, *tiny.FURTHER)}
WAN_14B = {"_class_name": "WanTransformer3DModel"}  # its class's defaults are the sizes of the 14B model
WEIGHTS = (".safetensors", ".bin", ".pt")


@cache
def folder_of(name: str) -> str:
    return SMALL.get(name) or str(tiny.folder(TINY[name]))


@pytest.fixture
def copied(tmp_path):
    """A copy of a checkpoint without its weights, with some entries of its JSON files changed."""

    def copy(name: str, part: str = "transformer/config.json", whole: bool = False, **changed) -> Path:
        target = tmp_path / name
        shutil.copytree(folder_of(name), target, ignore=shutil.ignore_patterns(*(f"*{x}*" for x in WEIGHTS)))
        path = target / part
        path.write_text(json.dumps(changed if whole else json.loads(path.read_text()) | changed))
        return target

    return copy


def checked(source: object, capsys) -> str:
    """What `imap backbones check` prints of a checkpoint that can be traced."""
    main(["check", str(source)])
    return capsys.readouterr().out


def refused(source: object) -> str:
    """The line with which `imap backbones check` refuses a checkpoint."""
    with pytest.raises(SystemExit) as stop:
        main(["check", str(source)])
    line = str(stop.value.code)  # a text, which Python prints; the status is then 1
    assert line.startswith("imap: error: ") and "\n" not in line
    return line.removeprefix("imap: error: ")


def agrees(found: Inspection, loaded: DiffusionPipeline) -> None:
    """Holds what was found without weights to the adapter of the loaded pipeline."""
    with_weights, without = backbone_of(loaded), found.backbone
    for name in ("family", "num_layers", "num_heads", "text_length", "latent_frames_per_patch", "joint_attention"):
        assert getattr(without, name) == getattr(with_weights, name), name
    assert [x.component for x in without.parts] == [x.component for x in with_weights.parts]
    for part, own in zip(without.parts, with_weights.parts, strict=True):
        shapes = {name: x.shape for name, x in part.transformer.named_parameters()}
        assert shapes == {name: x.shape for name, x in own.transformer.named_parameters()}
        assert {x.device for x in part.transformer.parameters()} == {torch.device("meta")}
    names = ("vae_scale_factor_spatial", "vae_scale_factor_temporal")
    assert all(getattr(without.pipe, x, None) == getattr(loaded, x, None) for x in names)


def test_the_table_has_every_configuration_with_its_status(capsys):
    main([])
    head, *lines = capsys.readouterr().out.splitlines()
    rows = {re.split("  +", line)[0]: re.split("  +", line)[1:] for line in lines}
    assert head.startswith("backbone=") and set(rows) == set(presets()) and len(lines) == len(rows)
    wan = ["Wan-AI/Wan2.1-T2V-14B-Diffusers", "wan", "40 x 40", "49x480x832", "40.2 GB", "layers of the paper"]
    assert rows["wan2_1_14b"] == wan
    assert rows["shapes_wan"] == ["part of imap", "wan", "4 x 8", "25x64x64", "small", "layers tuned by us"]
    assert rows["mochi"][-1] == "chosen by lambda_2 (imap_layer=auto)"
    assert rows["tiny_wan"][0] == "made on this machine" and rows["tiny_wan"][-1] == "random weights, for tests"
    assert rows["sana_video_2b"][-1] == "all layers: nobody has tuned them"
    papers = {name for name, cells in rows.items() if cells[-1] == "layers of the paper"}
    assert papers == {"cogvideox_2b", "cogvideox_5b", "wan2_1_1_3b", "wan2_1_14b", "hunyuanvideo"}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_trained_model_is_traced_as_its_row_says(name: str, capsys):
    found = inspect_checkpoint(folder_of(name))
    agrees(found, DiffusionPipeline.from_pretrained(folder_of(name)))
    said = checked(folder_of(name), capsys)
    row = next(x for x in known_backbones() if x.name == name)
    assert found.fitting == row.preset and found.backbone.family == row.preset.family and found.renoising is None
    assert f"{row.preset.num_layers} with maps, of {row.preset.num_heads} heads each" in said
    assert said.endswith(f"imap sample backbone={name}\n") and "renoising     yes" in said


@pytest.mark.parametrize(
    "name", [x if x[5:] in tiny.FAMILIES else pytest.param(x, marks=pytest.mark.slow) for x in TINY]
)
def test_a_tiny_pipeline_of_every_family_is_traced(name: str, capsys):
    found = inspect_checkpoint(folder_of(name))
    agrees(found, DiffusionPipeline.from_pretrained(folder_of(name)))
    said, family = checked(folder_of(name), capsys), TINY[name]
    assert found.backbone.family == family and (found.renoising is None) == (family not in NOT_RENOISED)
    assert ("ConceptAttention" in said) == found.backbone.joint_attention and MAPS[0].label in said
    assert (f"2 of {found.backbone.transformer_class}" in said) == (len(found.backbone.parts) == 2)
    if name in presets():
        assert found.fitting == presets()[name] and f"backbone={name} backbone.path=" in said
    else:
        in_python = found.backbone.in_sections and "with trace.sections()" in said
        assert found.fitting is None and ("imap_layer=auto imap_sep_topk=1" in said or in_python)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_no_weights_are_needed(name: str, copied, capsys):
    folder = copied(name)
    assert not [path for path in folder.rglob("*") if path.suffix in WEIGHTS]
    with_weights, without = checked(folder_of(name), capsys), checked(folder, capsys)
    assert without.splitlines()[1:-1] == with_weights.splitlines()[1:-1]
    assert without.endswith(f"imap sample backbone={name} backbone.path={folder}\n")


def test_weights_that_are_there_are_not_opened(copied, monkeypatch):
    folder = copied("shapes_wan")
    for part in ("transformer", "vae"):  # unreadable, had anything opened it
        (folder / part / "diffusion_pytorch_model.safetensors").mkdir()
    assert inspect_checkpoint(str(folder)).pickled is None
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rmdir()
    (folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert "backbone.pickle_weights=true" in inspect_checkpoint(str(folder)).facts()["note"]


@pytest.mark.slow
def test_a_checkpoint_of_a_published_size_gets_its_configuration(copied, capsys):
    folder = copied("shapes_wan", whole=True, **WAN_14B)
    said = checked(folder, capsys)
    assert f"imap sample backbone=wan2_1_14b backbone.path={folder}" in said
    assert "layers        imap_layer=[5,6,7," in said and "40 with maps, of 40 heads each" in said
    assert "1 x 2 x 2 latent cells, 16 x 16 pixels" in said and "UMT5EncoderModel; 512 text tokens" in said


def test_a_checkpoint_of_another_size_must_name_its_layers(copied, capsys):
    said = checked(copied("shapes_wan", num_layers=3), capsys)
    assert "no configuration has this size: set imap_layer" in said and said.endswith(
        "imap_layer=auto imap_sep_topk=1\n"
    )


@pytest.mark.slow
def test_an_untuned_model_says_how_its_layers_are_chosen(copied):
    folder = copied("tiny_mochi", num_layers=48, num_attention_heads=24)
    found = inspect_checkpoint(str(folder))
    assert found.fitting == presets()["mochi"]
    assert (
        found.facts()["layers"] == "imap_layer=auto, chosen by lambda_2 in a run; in Python, imap_layer must be a list"
    )


@pytest.mark.parametrize(
    ("name", "changed", "reason"),
    [
        (
            "shapes_wan",
            {"image_dim": 8, "added_kv_proj_dim": 64},
            "its cross-attention mixes image keys into the text's",
        ),
        ("shapes_hunyuanvideo", {"image_condition_type": "token_replace"}, "it is conditioned on an image"),
    ],
)
def test_a_model_of_images_to_video_is_refused_by_its_adapter(name: str, changed: dict, reason: str, copied):
    assert reason in refused(copied(name, **changed))


@pytest.mark.parametrize("kind", ["HeliosPipeline", "Kandinsky5I2VPipeline", "LattePipeline"])
def test_a_video_pipeline_of_no_family_is_refused_by_name_with_the_reason(kind: str, copied):
    line = refused(copied("shapes_wan", "model_index.json", _class_name=kind))
    assert f"of class {kind}: {NOT_TRACED[kind]}" in line


def test_another_pipeline_of_a_known_transformer_is_traced_from_python_only(copied, capsys):
    kind = "WanVideoToVideoPipeline"
    said = checked(copied("shapes_wan", "model_index.json", _class_name=kind), capsys)
    assert f"no: imap renoise takes a WanPipeline, and this is a {kind}" in said
    assert said.endswith("imap.trace in Python; imap sample takes a WanPipeline\n")


def test_a_family_may_refuse_a_pipeline_of_its_transformer(copied):
    line = refused(copied("tiny_ltx", "model_index.json", _class_name="LTXI2VLongMultiPromptPipeline"))
    assert "LTXImageToVideoPipeline.from_pipe(pipe)" in line


@pytest.mark.slow
def test_a_vae_of_another_factor_is_traced_but_not_renoised(copied):
    found = inspect_checkpoint(str(copied("shapes_wan", "vae/config.json", scale_factor_spatial=16)))
    assert found.renoising.startswith("no: imap.renoise knows wan models whose VAE divides space by 8")
    assert found.facts()["VAE"].endswith("space / 16") and found.facts()["token"].endswith("16 x 16 pixels")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"text_encoder": [None, None]}, "it has no text_encoder, which words need"),
        ({"vae": [None, None]}, None),
        ({"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}, "FluxTransformer2D"),
        (
            {"_class_name": "StableDiffusionPipeline", "transformer": None, "unet": ["diffusers", "UNet2DModel"]},
            "it has no transformer, but a UNet; expected one of AllegroPipeline",
        ),
        ({"_class_name": "NoSuchPipeline"}, "has no such pipeline"),
        ({"_class_name": "AutoencoderKLWan"}, "has no such pipeline"),
        ({"_class_name": 1}, "names no pipeline class"),
        ({"_class_name": ["own", "Code"]}, "names no pipeline class"),
        ({"vae": ["diffusers", "os"]}, "the vae of "),
    ],
)
def test_an_index_that_does_not_fit_is_refused_in_one_line(changed: dict, reason: str | None, copied, capsys):
    folder = copied("shapes_wan", "model_index.json", **changed)
    if reason is None:
        assert "no: it has no VAE with an encoder" in checked(folder, capsys)
    else:
        assert reason in refused(folder)


def test_the_second_of_two_transformers_alone_is_refused(copied):
    folder = copied("tiny_wan2_2", "model_index.json", transformer=[None, None])
    assert "it has no transformer, only the second one of two" in refused(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', "[" * 100_000, "\xff"])
@pytest.mark.parametrize("part", ["model_index.json", "transformer/config.json", "vae/config.json"])
def test_damaged_json_is_refused_in_one_line(text: str, part: str, copied):
    folder = copied("shapes_wan")
    (folder / part).write_bytes(text.encode("latin-1"))
    assert str(folder) in refused(folder)


def test_a_configuration_of_wrong_values_is_refused_in_one_line(copied):
    assert "cannot build the transformer" in refused(copied("shapes_wan", num_layers="four"))


def test_what_is_no_pipeline_is_refused_with_what_was_expected(tmp_path, monkeypatch):
    assert "has no model_index.json; expected a folder in diffusers format" in refused(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"")
    assert "is a file; expected a folder" in refused(tmp_path / "a.mp4")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot read model_index.json of nobody/nothing" in refused("nobody/nothing")
    assert "cannot read model_index.json of a/b/c d" in refused("a/b/c d")


def test_the_command_has_help_and_its_mistakes_are_one_line(capsys):
    for argv, usage in (
        (["--help"], "usage: imap backbones [check"),
        (["check", "-h"], "usage: imap backbones check F"),
    ):
        main(argv)
        assert capsys.readouterr().out.startswith(usage)
    assert main(["check", "-h"]) is None
    for argv in (["check"], ["check", "a", "b"], ["check", "--all"]):
        with pytest.raises(SystemExit, match="imap: error: imap backbones check takes one folder or hub id"):
            main(argv)
    with pytest.raises(SystemExit) as stop:
        main(["chekc"])
    assert stop.value.code == 2 and "did you mean imap backbones check?" in capsys.readouterr().err


def test_reasons_are_of_classes_that_no_family_reads():
    done = {adapter.pipeline_class for adapter in FAMILIES}
    assert not done & set(NOT_TRACED) and all("\n" not in x and len(x) < 120 for x in NOT_TRACED.values())
    if parse(diffusers.__version__) >= parse("0.42"):
        assert [kind for kind in NOT_TRACED if kind not in dir(diffusers)] == []


def test_an_error_of_the_index_is_an_imap_error(tmp_path):
    with pytest.raises(ImapError, match=r"model_index\.json"):
        inspect_checkpoint(str(tmp_path))
