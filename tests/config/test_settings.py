"""Settings are checked before any weight is loaded; unset values are the paper's."""

import json

import pytest
import torch
from omegaconf import OmegaConf

from imap import ImapError
from imap.config.method import Method, method_settings
from imap.config.model import model_settings
from imap.config.run import check_renoise_timestep, run_settings
from imap.config.sample_lists import samples_of
from tests import shared

PAPER = {"imap_layer": [1, 2], "imap_sep_topk": 2, "imap_qk_matching_target": "prompt", "num_inference_steps": 50}


def composed(command: str, *overrides: str) -> dict:
    return OmegaConf.to_container(shared.composed(command, "backbone=tiny_wan", *overrides), resolve=True)


SAMPLING = composed("sampling", "prompt=a dog", "concepts=dog", "height=32", "width=48", "num_frames=9")
RENOISING = composed(
    "renoising", "prompt=a dog", "concepts=dog", "height=32", "width=48", "num_frames=9", "video_path=a.mp4"
)
BACKBONE = {**SAMPLING["backbone"], "device": "cpu"}


def method(**changed) -> Method:
    return method_settings(changed, PAPER, num_layers=4, num_heads=6, concept_token="last")


def test_unset_values_are_the_papers_else_the_default():
    assert method(imap_layer=None) == Method(
        imap_layer=(1, 2),
        maps_layers=(0, 4),
        maps_timesteps=None,
        imap_sep_score="CHI",
        imap_sep_topk=2,
        imap_qk_matching_target="prompt",
        surrogate="per_head",
        standardize="text",
        softmax=False,
        concept_token="last",
        prompt_tokens=False,
    )


def test_set_values_replace_the_papers():
    chosen = method(imap_layer=[3, 0], imap_sep_topk=-1, maps_layers=[1, 2], imap_qk_matching_target="concepts")
    assert chosen.imap_layer == (3, 0) and chosen.imap_sep_topk == -1 and chosen.imap_qk_matching_target == "concepts"
    assert chosen.layers == (0, 1, 3)
    assert not method(softmax=False).softmax and method(softmax=True).softmax


def test_names_are_case_insensitive():
    assert method(imap_sep_score="silhouette", standardize="None").imap_sep_score == "Silhouette"


def test_a_range_must_lie_within_the_steps():
    method(maps_timesteps=[1, 3]).check_steps(3)
    with pytest.raises(ImapError, match=r"maps_timesteps=\[1, 3\] names step 2, but num_inference_steps=2"):
        method(maps_timesteps=[1, 3]).check_steps(2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"imap_layers": [1]},
            "unknown setting 'imap_layers'; choose from concept_token, effect, effect_neutral",
        ),
        ({"imap_layer": [4]}, "imap_layer names layer 4, but this transformer has layers 0 to 3"),
        ({"imap_layer": [-1]}, "imap_layer names layer -1"),
        ({"imap_layer": []}, "imap_layer is empty"),
        ({"imap_layer": [1, 1]}, "names a layer twice"),
        ({"random_heads": -1}, "random_heads=-1 is not a number of draws; expected 0 to 100"),
        ({"random_heads": True}, "random_heads=True is not a number of draws"),
        ({"imap_layer": "all"}, "imap_layer='all' is not a list of whole numbers"),
        ({"imap_layer": [1.0]}, "not a list of whole numbers"),
        ({"imap_layer": [True]}, "not a list of whole numbers"),
        ({"maps_layers": [0, 5]}, "ends beyond this transformer's 4 layers"),
        ({"maps_layers": [2, 2]}, "maps_layers=.* is not a range"),
        ({"maps_layers": [-1, 2]}, "is not a range"),
        ({"maps_layers": 3}, "is not a range"),
        ({"maps_timesteps": [0, 1, 2]}, "maps_timesteps=.* is not a range"),
        ({"maps_timesteps": "early"}, "maps_timesteps='early'"),
        ({"imap_sep_topk": 7}, "imap_sep_topk=7, but this transformer has 6 heads a layer"),
        ({"imap_sep_topk": 0}, "imap_sep_topk=0"),
        ({"imap_sep_topk": -2}, "imap_sep_topk=-2"),
        ({"imap_sep_topk": True}, "imap_sep_topk=True"),
        ({"imap_sep_topk": "5"}, "imap_sep_topk='5'"),
        ({"imap_sep_score": "CH"}, "imap_sep_score='CH' is not known; it can be CHI, DBI, Silhouette, Fisher"),
        ({"imap_qk_matching_target": "words"}, "it can be concepts, prompt"),
        ({"standardize": "frame"}, "it can be text, none"),
        ({"standardize": False}, "standardize=False"),
        ({"concept_token": 0}, "it can be first, last, mean"),
        ({"softmax": "yes"}, "softmax='yes' is neither true nor false"),
        ({"prompt_tokens": 1}, "prompt_tokens=1 is neither true nor false"),
    ],
)
def test_a_method_that_does_not_fit_the_model_is_an_error(changed: dict, message: str):
    with pytest.raises(ImapError, match=message) as error:
        method(**changed)
    assert "\n" not in str(error.value)


def test_auto_values_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch):
    model = model_settings({**BACKBONE, "device": "auto"})
    assert model.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert model.dtype == model.vae_dtype == (torch.bfloat16 if torch.cuda.is_available() else torch.float32)
    assert model_settings({**BACKBONE, "dtype": "float16", "vae_dtype": "float32"}).vae_dtype == torch.float32
    assert model_settings({**BACKBONE, "dtype": "float16"}).vae_dtype == torch.float16


def test_recorded_model_settings_are_plain_values():
    recorded = model_settings({**BACKBONE, "dtype": "bfloat16"}).recorded()
    assert json.loads(json.dumps(recorded)) == recorded and recorded["dtype"] == "bfloat16"
    assert "device" not in recorded and "offload" not in recorded  # another machine does not start anew


def test_a_path_replaces_the_hub_id(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    assert model_settings({**BACKBONE, "id": "a/b", "path": str(tmp_path)}).source == str(tmp_path)
    assert model_settings({**BACKBONE, "id": "a/b"}).source == "a/b"
    assert model_settings(BACKBONE).source is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtype": "bf16"}, "backbone.dtype='bf16' is not known; it can be auto, bfloat16, float16, float32"),
        ({"dtype": None}, "backbone.dtype=None is not known"),
        ({"dtype": ["float32"]}, "backbone.dtype="),
        ({"vae_dtype": "float"}, "backbone.vae_dtype='float' is not known"),
        ({"offload": "full"}, "backbone.offload='full' is not known; it can be auto, none, model, group, sequential"),
        ({"offload": "model"}, "backbone.offload=model moves weights to a GPU, and the device is the CPU"),
        ({"device": "gpu"}, "backbone.device='gpu' is not known"),
        ({"device": "mps"}, "backbone.device='?mps"),
        ({"device": "meta"}, "backbone.device='?meta"),
        ({"path": "/no/such"}, "backbone.path: /no/such is not a folder in diffusers format"),
        ({"device_map": "auto"}, "backbone.device_map='auto' is not known; it can be balanced or null"),
        ({"device_map": "balanced"}, "needs two GPUs, and this process sees"),
        ({"device_map": "balanced", "offload": "sequential"}, "offload=sequential"),
        ({"vae_tiling": "maybe"}, "backbone.vae_tiling='maybe'"),
        ({"flow_shift": "strong"}, "backbone.flow_shift='strong'"),
        ({"attention_backend": None}, "backbone.attention_backend=None"),
    ],
)
def test_an_invalid_model_setting_is_an_error(changed: dict, message: str):
    with pytest.raises(ImapError, match=message) as error:
        model_settings({**BACKBONE, **changed})
    assert "\n" not in str(error.value)


def test_a_missing_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ImapError, match=r"backbone\.device=cuda, but torch .* finds no CUDA GPU here; set backbone.device=cpu"
    ):
        model_settings({**BACKBONE, "device": "cuda"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert model_settings({**BACKBONE, "device": "cuda:1"}).device.index == 1
    with pytest.raises(ImapError, match=r"backbone\.device=cuda:2, but there are 2 GPUs"):
        model_settings({**BACKBONE, "device": "cuda:2"})


def test_recorded_run_settings_are_plain_values_without_the_folder():
    for run in (run_settings(SAMPLING, False), run_settings(RENOISING, True)):
        recorded = run.recorded()
        assert json.loads(json.dumps(recorded)) == recorded and "output_dir" not in recorded
    assert run_settings(RENOISING, True).recorded()["fit"]["resize"] == "none"


@pytest.mark.parametrize(
    "changed",
    [
        *[{name: value} for name in ("height", "num_frames", "num_inference_steps") for value in (0, -1, 1.5, "a")],
        *[{"fps": value} for value in (0, -1, 1001, "a", None, True, float("nan"))],
        *[{"width": value} for value in (None, True, [48])],
        *[{"guidance_scale": value} for value in (0, 0.5, "a", None, float("nan"), float("inf"))],
        *[{"seed": value} for value in (None, 1.5, "a", 2**64, True)],
    ],
)
def test_a_number_out_of_range_is_an_error_with_the_settings_name(changed: dict):
    with pytest.raises(ImapError, match=f"^{next(iter(changed))}="):
        run_settings({**SAMPLING, **changed}, False)


@pytest.mark.parametrize("folder", [None, ""])
def test_an_empty_output_folder_is_an_error(folder):
    with pytest.raises(ImapError, match="output_dir"):
        run_settings({**SAMPLING, "output_dir": folder}, False)


@pytest.mark.parametrize("seed", [0, -1, 2**63])
def test_every_seed_of_torchs_range_is_accepted(seed: int):
    torch.Generator().manual_seed(seed)
    assert run_settings({**SAMPLING, "seed": seed}, False).seed == seed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_full_denoise": "yes"}, "test_full_denoise='yes' is neither true nor false"),
        ({"video": {"resize": "zoom", "frames": None}}, "video.resize='zoom'"),
        ({"video": "none"}, "video"),
        ({"renoise_timestep": [4]}, "renoise_timestep names step 4, but num_inference_steps=4 has steps 0 to 3"),
        ({"maps_timesteps": 5}, "maps_timesteps=5 is not a range"),
        ({"maps_timesteps": "early"}, "maps_timesteps='early'"),
        ({"maps_timesteps": [0, 1, 0]}, r"maps_timesteps=\[0, 1, 0\] is not a range"),
    ],
)
def test_an_invalid_setting_of_renoising_is_an_error(changed: dict, message: str):
    with pytest.raises(ImapError, match=message):
        run_settings({**RENOISING, **changed}, True)


def test_null_for_video_settings_means_none():
    fit = run_settings({**RENOISING, "video": {"resize": None, "frames": None}}, True).fit
    assert (fit.resize, fit.frames, fit.height, fit.width, fit.num_frames) == ("none", "none", 32, 48, 9)


@pytest.mark.parametrize(
    ("value", "window", "full", "indices"),
    [
        (2, None, False, (2,)),
        ([2], None, False, (2,)),
        ([3, 0, 3], None, False, (3, 0)),
        ([0, 1, 2, 3], [1, 3], False, (1, 2)),
        (0, None, False, (0,)),
        ([3, 1], None, True, (3,)),  # denoising starts from the first and goes on to the end
        ([0, 1], [2, 4], True, (0,)),
    ],
)
def test_renoise_steps_are_unique_and_in_the_range_of_maps(value, window, full: bool, indices: tuple[int, ...]):
    assert check_renoise_timestep(value, 4, window, full) == indices


@pytest.mark.parametrize("value", [None, [], "a", [1.0], [True], True, 1.5, "30", [[1]], {"a": 1}])
def test_a_renoise_step_that_is_not_an_index_is_an_error_with_an_example(value):
    with pytest.raises(ImapError, match=r"is not a list of step indices; write it as renoise_timestep=\[30\]"):
        check_renoise_timestep(value, 4, None, False)


@pytest.mark.parametrize("value", [4, -1, [0, 4]])
def test_a_renoise_step_out_of_range_is_an_error_with_the_range(value):
    with pytest.raises(ImapError, match="num_inference_steps=4 has steps 0 to 3"):
        check_renoise_timestep(value, 4, None, False)


@pytest.mark.parametrize(("value", "window", "full"), [(3, [0, 2], False), ([2, 0], [0, 2], True)])
def test_a_range_of_maps_without_any_renoise_step_is_an_error(value, window: list[int], full: bool):
    with pytest.raises(ImapError, match=r"no step of renoise_timestep=\[.*\] lies in maps_timesteps=\[0, 2\]"):
        check_renoise_timestep(value, 4, window, full)


def test_a_single_sample_has_the_typed_words():
    assert samples_of(SAMPLING, renoising=False)[0].concepts == ("dog",)
    assert str(samples_of(RENOISING, renoising=True)[0].video_path) == "a.mp4"


def test_the_built_in_example_is_used_only_if_no_word_is_set():
    demo = {"prompt": "a ball", "concepts": ["ball"], "motions": []}
    nothing = {**SAMPLING, "prompt": None, "concepts": None}
    assert samples_of(nothing, False, demo)[0].prompt == "a ball"
    assert samples_of(SAMPLING, False, demo)[0].prompt == "a dog"
    with pytest.raises(ImapError, match="the prompt is empty; .*leave out motions to run the whole built-in example"):
        samples_of({**nothing, "motions": "runs"}, False, demo)
    with pytest.raises(ImapError, match="video_path is missing; .*leave out concepts and motions to run the whole"):
        samples_of({**RENOISING, "prompt": None, "motions": "runs", "video_path": None}, True, demo)
    with pytest.raises(ImapError, match=r"prompt=\"...\"$"):
        samples_of({**nothing, "motions": "runs"}, False, None)
    with pytest.raises(ImapError, match=r'no sample is set; set prompt="\.\.\." with concepts'):
        samples_of(nothing, False, None)


@pytest.mark.parametrize(
    ("changed", "renoising", "message"),
    [
        ({"input_json": "a.json"}, False, "input_json and prompt are both set"),
        ({"input_json": "a.json", "prompt": None}, False, "input_json and concepts are both set"),
        ({"concept_option": "x"}, False, "concept_option='x' is not known"),
        ({"concept_option": ["s"]}, False, "concept_option="),
        ({"video_path": None}, True, "video_path is missing; set it to a video file"),
        ({"prompt": None, "concepts": None, "video_path": None}, True, "no sample is set; .*video_path=FILE"),
    ],
)
def test_an_incomplete_sample_is_an_error(changed: dict, renoising: bool, message: str):
    with pytest.raises(ImapError, match=message):
        samples_of({**(RENOISING if renoising else SAMPLING), **changed}, renoising)


@pytest.mark.parametrize(
    "setting",
    ["name=[1]", "words=nan", "demo=5", "demo.input_json=5", "paper.renoise_timestep=x", "paper.num_inference_steps=0"],
)
def test_parts_of_a_preset_that_are_something_else_are_refused(setting):
    config = shared.composed("sampling", "backbone=shapes_wan", f"backbone.{setting}")
    with pytest.raises(ImapError, match=f"^backbone.{setting.partition('=')[0].removesuffix('.input_json')}"):
        model_settings(OmegaConf.to_container(config.backbone, resolve=True))
