"""Transformer files, quantization and LoRAs: loaded as set, recorded, or refused before any weight is loaded."""

import json
import shutil

import diffusers
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import imap
import imap.config.weights
import imap.runs.quantization
from imap import ImapError
from imap.backbones import backbone_of, family
from imap.config.model import model_settings
from imap.config.presets import presets
from imap.config.weights import NOTHING
from imap.runs.checkpoint import read_checkpoint
from imap.runs.loading import load
from imap.runs.quantization import check_quantized
from imap.runs.weights import memory_line, weights_of
from imap.testing import tiny
from tests.runs.test_runner import command  # noqa: F401  (a fixture)
from tests.shared import PROMPT, SIZES, composed, sizes_of

WORDS = {"concepts": ["ball", "zebra"], "motions": ["rolls"]}
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
MORE = {"hunyuanvideo": ["add_k_proj", "add_q_proj"], "cogvideox": [], "wan": []}


def settings(name="wan", folder=None, **changed):
    changes = [f"backbone.{key}={value}" for key, value in changed.items()]
    if folder is not None:
        changes.append(f"backbone.path={folder}")
    return model_settings(composed("sampling", f"backbone=tiny_{name}", "backbone.device=cpu", *changes).backbone)


def of_family(name, **changed):
    """Settings of a family without a tiny configuration."""
    config = composed("sampling", "backbone=tiny_wan", "backbone.device=cpu", "backbone.flow_shift=null").backbone
    return model_settings({**config, "name": f"tiny_{name}", "family": name, "path": str(tiny.folder(name)), **changed})


def loaded(model):
    return load(model, read_checkpoint(model).source)


def other_transformer(name, path, part="transformer"):
    """A file of other weights for a tiny transformer."""
    transformer = getattr(tiny.build(name, seed=1), part)
    save_file({key: x.contiguous() for key, x in transformer.state_dict().items()}, path)
    return load_file(path)


def folder_without(name, part, root):
    """A copy of a tiny checkpoint without the weights of a part."""
    shutil.copytree(tiny.folder(name), root)
    for path in (root / part).glob("*.safetensors"):
        path.unlink()
    return root


def lora_file(path, name="wan", seed=0, part="transformer", targets=TARGETS):
    """A LoRA of a tiny transformer, as its trainers save it."""
    torch.manual_seed(seed)
    transformer = getattr(tiny.build(name), part)
    config = LoraConfig(r=2, init_lora_weights=False, target_modules=[*targets, *MORE.get(name, [])])
    transformer.add_adapter(config)
    weights = {f"transformer.{key}": x.contiguous() for key, x in get_peft_model_state_dict(transformer).items()}
    save_file(weights, path)
    return path


def latents(pipe, name="wan", steps=1):
    pipe.set_progress_bar_config(disable=True)
    size = sizes_of(name) | {"num_inference_steps": steps, "output_type": "latent"}
    return pipe(prompt=PROMPT, **size, generator=torch.Generator().manual_seed(0)).frames


def traced(pipe, name="wan"):
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        found = latents(pipe, name)
    return found, trace.maps()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wan", "cogvideox", "hunyuanvideo", "ltx", "mochi", "allegro"])
def test_a_file_takes_the_place_of_the_checkpoints_transformer(name, tmp_path):
    expected = other_transformer(name, tmp_path / "a.safetensors")
    folder = folder_without(name, "transformer", tmp_path / "model")  # so its own weights cannot be read
    pipe = loaded(of_family(name, path=str(folder), transformer=str(tmp_path / "a.safetensors")))
    found = pipe.transformer.state_dict()
    assert found.keys() == expected.keys() and not pipe.transformer.training
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    vae, own = pipe.vae.state_dict(), tiny.build(name).vae.state_dict()
    assert all(torch.equal(vae[key], own[key]) for key in own)


@pytest.mark.slow
def test_each_of_two_transformers_can_be_a_file(tmp_path):
    expected = other_transformer("wan2_2", tmp_path / "b.safetensors", "transformer_2")
    pipe = loaded(of_family("wan2_2", transformer_2=str(tmp_path / "b.safetensors")))
    own = tiny.build("wan2_2").transformer.state_dict()
    assert all(torch.equal(x, expected[key]) for key, x in pipe.transformer_2.state_dict().items())
    assert all(torch.equal(x, own[key]) for key, x in pipe.transformer.state_dict().items())


def gguf_file(path, weights):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(path), "wan")
    kinds = gguf.GGMLQuantizationType
    for key, x in weights.items():
        values, kind = x.float().numpy(), kinds.F32
        if x.ndim == 2 and x.shape[1] % 32 == 0:
            values, kind = gguf.quants.quantize(values, kinds.Q8_0), kinds.Q8_0
        writer.add_tensor(key, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_is_traced_without_a_trace_of_it(tmp_path):
    weights = other_transformer("wan", tmp_path / "a.safetensors")
    model = settings(transformer=gguf_file(tmp_path / "a.gguf", weights))
    assert model.weights.are_packed and weights_of(model, str(tiny.folder("wan")))["transformer"] == (
        (tmp_path / "a.gguf").stat().st_size
    )
    pipe, exact = loaded(model), loaded(settings(transformer=tmp_path / "a.safetensors"))
    assert pipe.transformer.condition_embedder.text_embedder.linear_1.weight.quant_type is not None
    plain, exact_plain = latents(pipe), latents(exact)
    found, maps = traced(pipe)
    assert torch.equal(found, plain) and not torch.equal(plain, exact_plain)
    assert (plain - exact_plain).norm() < 0.05 * exact_plain.norm()  # 8 bits
    own = traced(exact)[1]
    assert np.corrcoef(maps.cross_attention.ravel(), own.cross_attention.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("quantization", ["torchao_int8", "torchao_float8"])
def test_a_quantized_model_is_traced_without_a_trace_of_it(quantization):
    pytest.importorskip("torchao")
    pipe = loaded(settings(quantization=quantization, quantize_text="true"))
    for module in (pipe.transformer.blocks[0].attn2.to_k, pipe.text_encoder.encoder.block[0].layer[0].SelfAttention.k):
        assert type(module.weight).__module__.startswith("torchao")
    plain, exact = latents(pipe), latents(tiny.build("wan"))
    assert torch.equal(traced(pipe)[0], plain) and not torch.equal(plain, exact)
    assert (plain - exact).norm() < 0.1 * exact.norm()


def test_weights_that_were_not_quantized_are_an_error(monkeypatch):
    monkeypatch.setattr(imap.config.weights, "find_spec", lambda name: True)
    model, pipe = settings(quantization="torchao_int8"), tiny.build("wan")
    with pytest.raises(ImapError, match="quantization=torchao_int8 has not changed the transformer; set"):
        check_quantized(pipe, model)
    check_quantized(pipe, settings())
    monkeypatch.setitem(imap.runs.quantization.TORCHAO_CLASSES, "torchao_int8", ("none", "NoSuchConfig"))
    with pytest.raises(ImapError, match="quantization=torchao_int8 does not work here: .*; set backbone.quantization="):
        read_checkpoint(model)


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_loras_are_added_with_their_weights(name, tmp_path):
    """W + 0.8 B1 A1 - 0.5 B2 A2 is a model without adapters."""
    files = [lora_file(tmp_path / f"{seed}.safetensors", name, seed) for seed in (1, 2)]
    pipe = loaded(settings(name, lora=f"[{files[0]},{files[1]}]", lora_weights="[0.8,-0.5]"))
    plain = latents(pipe, name)
    found, maps = traced(pipe, name)
    assert torch.equal(found, plain)
    exact = tiny.build(name)
    for path, weight in zip(files, (0.8, -0.5), strict=True):
        parts = load_file(path)
        for key, down in parts.items():
            if key.endswith("lora_A.weight"):
                up, target = parts[key.replace("lora_A", "lora_B")], key.removesuffix(".lora_A.weight")
                module = exact.transformer.get_submodule(target.removeprefix("transformer."))
                module.weight.data += weight * (up @ down)
    own_latents, own = traced(exact, name)
    assert (own_latents - plain).norm() < 1e-4 * plain.norm()
    for key in ("cross_attention_maps", "imap"):
        assert np.abs(maps[key] - own[key]).max() < 1e-2 * np.abs(own[key]).max()
    assert (latents(tiny.build(name), name) - plain).norm() > 1e-2 * plain.norm()


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_concept_tokens_pass_the_layers_of_a_lora(name, tmp_path):
    targets = {"hunyuanvideo": "add_k_proj"}.get(name, "to_k")
    pipe, tokens = loaded(settings(name, lora=lora_file(tmp_path / "a.safetensors", name, targets=[targets]))), []
    backbone = backbone_of(pipe)
    module = getattr(backbone.attention(backbone.blocks[0]), targets).lora_A["lora_0"]
    seen = module.register_forward_hook(lambda module, args, output: tokens.append(args[0].shape[-2]))
    with imap.trace(pipe, PROMPT, **WORDS), seen:
        latents(pipe, name)
    assert min(tokens) == 4  # three words and the zero padding, beside the calls of the pipeline
    assert len(tokens) > tokens.count(4) > 0


@pytest.mark.slow
def test_loras_of_two_transformers(tmp_path):
    one, two = (lora_file(tmp_path / f"{x}.safetensors", seed=x) for x in (1, 2))
    pipe = loaded(of_family("wan2_2", lora=str(one), lora_2=str(two), lora_2_weights=0.25))
    for part, path, weight in (("transformer", one, 1.0), ("transformer_2", two, 0.25)):
        module = getattr(pipe, part).blocks[1].attn2.to_k
        (adapter,) = module.active_adapters
        expected = load_file(path)["transformer.blocks.1.attn2.to_k.lora_A.weight"]
        assert torch.equal(module.lora_A[adapter].weight, expected) and module.scaling[adapter] == weight


def test_a_lora_of_another_model_is_refused(tmp_path):
    path = lora_file(tmp_path / "a.safetensors")
    weights = load_file(path)
    save_file({key.replace("blocks.3", "blocks.7"): x for key, x in weights.items()}, tmp_path / "b.safetensors")
    with pytest.raises(ImapError, match="does not fit WanPipeline"):
        loaded(settings(lora=tmp_path / "b.safetensors"))
    save_file({key.replace("transformer.", "unet."): x for key, x in weights.items()}, tmp_path / "c.safetensors")
    with pytest.raises(ImapError, match="does not fit WanPipeline"):
        loaded(settings(lora=tmp_path / "c.safetensors"))


def test_a_file_of_another_model_is_refused(tmp_path):
    weights = other_transformer("wan", tmp_path / "a.safetensors")
    missing = sorted(weights)[3]
    save_file({key: x for key, x in weights.items() if key != missing}, tmp_path / "b.safetensors")
    with pytest.raises(ImapError, match="does not fit the WanTransformer3DModel of .*; use a file of this model"):
        loaded(settings(transformer=tmp_path / "b.safetensors"))
    with pytest.raises(ImapError, match="does not fit the CogVideoX.*tensors are missing and .* are not known"):
        read_checkpoint(settings("cogvideox", transformer=tmp_path / "a.safetensors"))


@pytest.fixture
def no_weights(monkeypatch):
    """Loading of weights fails."""

    def fail(*_, **__):
        raise AssertionError("weights are loaded")

    for name in ("WanPipeline", "CogVideoXPipeline", "AllegroPipeline"):
        monkeypatch.setattr(getattr(diffusers, name), "from_pretrained", fail)
    monkeypatch.setattr(diffusers.WanTransformer3DModel, "from_single_file", fail)


@pytest.fixture
def files(tmp_path):
    """Files of the wrong kinds, and a LoRA."""
    lora_file(tmp_path / "lora.safetensors")
    (tmp_path / "a.bin").write_bytes(b"1")
    (tmp_path / "text.safetensors").write_text("this is a text, and it is longer than eight bytes")
    (tmp_path / "list.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    whole = (tmp_path / "lora.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    save_file({"x.weight": torch.zeros(2)}, tmp_path / "no_lora.safetensors")
    save_file({"x.weight": torch.zeros(2), "x.scale_weight": torch.ones(1)}, tmp_path / "scaled.safetensors")
    (tmp_path / "two").mkdir()
    for name in "ab":
        shutil.copy(tmp_path / "lora.safetensors", tmp_path / "two" / f"{name}.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"transformer": "none.safetensors"}, "backbone.transformer: there is no file .*none.safetensors"),
        ({"transformer": "a.bin"}, "is neither a .safetensors nor a .gguf file"),
        ({"transformer": "text.safetensors"}, "cannot read .*text.safetensors: it is no safetensors file"),
        ({"transformer": "list.safetensors"}, "cannot read .*list.safetensors: it is no safetensors file"),
        ({"transformer": "cut.safetensors"}, "cannot read .*it is cut off"),
        (
            {"transformer": "scaled.safetensors"},
            "weights in 8 bits with scales .*x.scale_weight.*use a file in 16 bits",
        ),
        ({"transformer_2": "no_lora.safetensors"}, "backbone=tiny_wan has one transformer; leave it null"),
        ({"transformer": 3}, "neither a .safetensors nor"),
        ({"quantization": "int8"}, "backbone.quantization='int8' is not known; it can be null, bitsandbytes_8bit"),
        ({"quantization": 8}, "backbone.quantization=8 is not known"),
        ({"quantize_text": True}, "needs a backbone.quantization"),
        ({"quantize_text": "yes"}, "backbone.quantize_text='yes' is neither true nor false"),
        ({"lora": "none.safetensors"}, "backbone.lora: there is no file .*none.safetensors; set a .safetensors file"),
        ({"lora": "a.bin"}, "a.bin is no .safetensors file"),
        ({"lora": "two"}, "two holds 2 .safetensors files; set one of them"),
        ({"lora": "no_lora.safetensors"}, "holds no LoRA"),
        ({"lora": "cut.safetensors"}, "cannot read .*it is cut off"),
        ({"lora": ["lora.safetensors"] * 2}, "backbone.lora names a LoRA twice"),
        ({"lora": ["lora.safetensors"], "lora_weights": [1, 2]}, "has 2 numbers for 1 LoRAs; set one for each"),
        ({"lora": ["lora.safetensors", "two/a.safetensors"], "lora_weights": 0.5}, "has 1 numbers for 2 LoRAs"),
        ({"lora": "lora.safetensors", "lora_weights": float("nan")}, "backbone.lora_weights: nan is not a number from"),
        ({"lora": "lora.safetensors", "lora_weights": [float("inf")]}, "inf is not a number from"),
        ({"lora": "lora.safetensors", "lora_weights": "strong"}, "'strong' is not a number from"),
        ({"lora": "lora.safetensors", "lora_weights": [True]}, "True is not a number from"),
        ({"lora_weights": [1.0]}, "backbone.lora_weights=.* without backbone.lora"),
        ({"lora_2": "lora.safetensors"}, "backbone.lora_2=.* has one transformer; leave it null"),
    ],
)
def test_bad_values_are_errors_before_weights_are_loaded(changed, message, files, no_weights):
    def placed(x):
        return [placed(y) for y in x] if isinstance(x, list) else str(files / x) if str(x)[-1:] in "sno" else x

    changed = {
        key: placed(x) if key in ("transformer", "transformer_2", "lora", "lora_2") else x for key, x in changed.items()
    }
    with pytest.raises(ImapError, match=message) as error:
        loaded(of_family("wan", **changed))
    assert "\n" not in str(error.value)


def test_a_family_without_loras_or_gguf_says_so(files, no_weights, monkeypatch):
    with pytest.raises(ImapError, match="a AllegroPipeline of diffusers takes no LoRA"):
        loaded(of_family("allegro", lora=str(files / "lora.safetensors")))
    monkeypatch.setattr(imap.config.weights, "find_spec", lambda name: True)
    (files / "a.gguf").write_bytes(b"GGUFabc")
    with pytest.raises(ImapError, match="diffusers reads no GGUF file of a CogVideoXTransformer3DModel"):
        loaded(of_family("cogvideox", transformer=str(files / "a.gguf")))
    (files / "b.gguf").write_bytes(b"GG")
    with pytest.raises(ImapError, match="b.gguf is not a GGUF file"):
        loaded(of_family("wan", transformer=str(files / "b.gguf")))
    with pytest.raises(ImapError, match="quantization=torchao_int8 is for a checkpoint's own transformer"):
        of_family("wan", transformer=str(files / "a.gguf"), quantization="torchao_int8")
    for changed in ({"offload": "group"}, {"offload": "sequential"}, {"device_map": "balanced"}):
        config = {"offload": "auto", "device_map": None} | changed | {"quantization": "torchao_int8"}
        with pytest.raises(ImapError, match="quantized weights move as whole models only; set backbone.offload=model"):
            imap.config.weights.other_weights(config, torch.device("cuda"))
    with pytest.raises(ImapError, match="quantization=bitsandbytes_4bit needs a GPU, and the device is cpu"):
        of_family("wan", quantization="bitsandbytes_4bit")


@pytest.mark.parametrize(
    ("changed", "package"),
    [
        ({"transformer": "a.gguf"}, "gguf"),
        ({"quantization": "bitsandbytes_8bit"}, "bitsandbytes"),
        ({"quantization": "torchao_int8"}, "torchao"),
        ({"lora": "owner/name"}, "peft"),
    ],
)
def test_a_missing_package_is_named(changed, package, tmp_path, monkeypatch):
    monkeypatch.setattr(imap.config.weights, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ImapError, match=f"needs the package {package}; install it: pip install {package}"):
        of_family("wan", **changed)


def test_hub_ids_and_folders_of_loras(tmp_path):
    lora_file(tmp_path / "pytorch_lora_weights.safetensors")
    shutil.copy(tmp_path / "pytorch_lora_weights.safetensors", tmp_path / "other.safetensors")
    model = of_family(
        "wan", lora=["owner/name", "owner/name:sub/file.safetensors", str(tmp_path)], lora_weights=[1, 0, 2]
    )
    found = [(one.source, one.file, one.weight) for one in model.weights.loras]
    assert found[:2] == [("owner/name", None, 1.0), ("owner/name", "sub/file.safetensors", 0.0)]
    assert found[2] == (str(tmp_path / "pytorch_lora_weights.safetensors"), None, 2.0)
    recorded = model.recorded()["lora"]
    assert recorded[:2] == [
        {"id": "owner/name", "weight": 1.0},
        {"id": "owner/name", "file": "sub/file.safetensors", "weight": 0.0},
    ]
    assert set(recorded[2]) == {"file", "sha256", "weight"}


@pytest.mark.slow
def test_what_changes_results_is_recorded_and_nothing_else(tmp_path, monkeypatch):
    plain = settings()
    assert plain.weights == NOTHING and set(plain.recorded()) == {
        *("name", "family", "source", "attention_backend", "vae_tiling", "flow_shift", "dtype", "vae_dtype")
    }
    monkeypatch.setattr(imap.config.weights, "find_spec", lambda name: True)
    one, two = (lora_file(tmp_path / f"{x}.safetensors", seed=x) for x in (1, 2))
    other_transformer("wan", tmp_path / "t.safetensors")
    different = [
        plain,
        settings(lora=one),
        settings(lora=two),
        settings(lora=one, lora_weights=0.5),
        settings(lora=f"[{one},{two}]"),
        settings(transformer=tmp_path / "t.safetensors"),
        settings(quantization="torchao_int8"),
        settings(quantization="torchao_float8"),
        settings(quantization="torchao_int8", quantize_text="true"),
    ]
    texts = [json.dumps(model.recorded(), sort_keys=True) for model in different]
    assert len(set(texts)) == len(texts)
    before = settings(lora=one).recorded()
    shutil.copy(two, one)  # the same name, another LoRA
    assert settings(lora=one).recorded() != before


@pytest.mark.slow
def test_a_run_with_another_lora_does_not_reuse_results(command, tmp_path):  # noqa: F811
    one, two = (lora_file(tmp_path / f"{x}.safetensors", seed=x) for x in (1, 2))
    words = ["backbone=tiny_wan", "prompt=A red ball rolls", "concepts=ball", "motions=rolls", "num_inference_steps=1"]
    words += [f"{key}={value}" for key, value in SIZES.items()]
    counts = []
    for lora in (f"backbone.lora={one}", f"backbone.lora={one}", f"backbone.lora={two}", "backbone.lora=null"):
        status, said = command("sampling", *words, lora, "pictures=false")
        assert status == 0, said
        counts.append(len(list((tmp_path / "out").glob("*/meta.json"))))
        (record,) = [json.loads(x.read_text()) for x in (tmp_path / "out").glob("*/meta.json")]
        assert ("lora" in record["request"]["settings"]["model"]) == ("null" not in lora)
        assert ("1 done" in said) != (len(counts) == 2), said


def test_memory_is_said_before_weights_are_loaded(tmp_path, caplog, monkeypatch):
    line = memory_line(settings(), str(tiny.folder("wan")))
    sizes = weights_of(settings(), str(tiny.folder("wan")))
    assert f"transformer {sizes['transformer'] / 1e9:.2g} GB" in line and "are free on cpu" in line
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    big = model_settings(composed("sampling", "backbone=wan2_1_14b", "backbone.device=cpu").backbone)
    assert memory_line(big, "nobody/has-this").startswith("weights: 40.2 GB in bfloat16 as published; ")
    unknown = settings()
    assert memory_line(unknown, "nobody/has-this").startswith("weights: not known before they are loaded; ")
    caplog.set_level("INFO", "imap")
    with pytest.raises(ImapError, match="cannot load the weights"):
        load(settings(), str(tmp_path / "none"))
    assert "are free on cpu" in caplog.text


def test_the_weights_of_published_models_are_those_of_their_configurations():
    """Transformer of the class's defaults, UMT5-XXL and the VAE, counted without values."""
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        text = UMT5Config(
            d_model=4096, d_ff=10240, num_heads=64, num_layers=24, vocab_size=256384, feed_forward_proj="gated-gelu"
        )
        parts = [diffusers.WanTransformer3DModel(), UMT5EncoderModel(text), diffusers.AutoencoderKLWan()]
    counted = 2e-9 * sum(p.numel() for part in parts for p in part.parameters())
    assert presets()["wan2_1_14b"].weights_gb == pytest.approx(counted, abs=0.05)
    for preset in presets().values():
        assert (
            preset.weights_gb is None if not preset.is_published else preset.weights_gb is None or preset.weights_gb > 5
        )
    assert family("wan").transformer_class == "WanTransformer3DModel"
