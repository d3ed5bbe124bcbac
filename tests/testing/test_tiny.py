"""Tiny pipelines load from a folder and sample; their tokenizers accept any text."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, DiffusionPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from transformers import PreTrainedTokenizerFast

from imap.testing import tiny
from imap.testing.tiny import cogvideox, tokenizers
from imap.testing.tiny.folders import saved

PROMPT = "A red ball rolls past the kangaroo."
ODD_TEXTS = ["", " ", "🎈🏽 a “ball”", 'it\'s "quoted" {braces}', "\n\n\ttabs", "日本 ball é", "<pad> </s>", "\x00"]
TOKENIZERS = {"sentencepiece": tokenizers.sentencepiece, "llama": tokenizers.llama, "clip": tokenizers.clip}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def sample(pipeline: DiffusionPipeline, output_type: str, prompt: str = PROMPT, frames: int = 5):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    return pipeline(
        prompt,
        height=32,
        width=48,
        num_frames=frames,
        num_inference_steps=2,
        output_type=output_type,
        generator=generator,
    ).frames


def weights(pipeline: DiffusionPipeline) -> dict[str, torch.Tensor]:
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {f"{name}.{key}": value for name, part in modules.items() for key, value in part.state_dict().items()}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_seed_determines_the_weights_and_not_the_callers_random_numbers(family: str):
    before = torch.random.get_rng_state()
    start = time.perf_counter()
    first = weights(tiny.build(family, seed=1))
    assert time.perf_counter() - start < 10
    torch.rand(3)
    same, other = weights(tiny.build(family, seed=1)), weights(tiny.build(family, seed=2))
    torch.random.set_rng_state(before)
    tiny.build(family)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], same[key]) for key in first)
    # Biases and norms of text encoders and VAEs are constant at first. Every matrix of a transformer is random.
    matrices = [key for key in first if key.startswith("transformer.") and first[key].ndim > 1]
    assert matrices and not any(torch.equal(first[key], other[key]) for key in matrices if "pos_embed" not in key)
    assert {value.dtype for value in first.values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_saved_folder_samples_exactly_like_the_pipeline_in_memory(family: str, root: Path):
    loaded = DiffusionPipeline.from_pretrained(tiny.folder(family, root))
    built = tiny.build(family)
    assert type(loaded) is type(built)
    assert torch.equal(sample(loaded, "latent"), sample(built, "latent"))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_frames_are_finite_have_the_given_size_and_depend_on_the_prompt(family: str):
    pipeline = tiny.build(family)
    frames = sample(pipeline, "np", frames=9)
    assert frames.shape == (1, 9, 32, 48, 3)
    assert np.isfinite(frames).all() and frames.std() > 0.01
    assert not torch.equal(sample(pipeline, "latent"), sample(pipeline, "latent", prompt="A blue dog jumps."))


def test_the_projection_of_a_zero_text_vector_is_not_zero():
    zero = torch.zeros(1, 32)
    wan = tiny.build("wan").transformer.condition_embedder.text_embedder
    cog = tiny.build("cogvideox").transformer.patch_embed.text_proj
    refiner = tiny.build("hunyuanvideo").transformer.context_embedder.proj_in
    with torch.no_grad():
        assert all(projection(zero).abs().mean() > 0.01 for projection in (wan, cog, refiner))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_no_modulation_is_the_identity(family: str):
    biases = {key: value for key, value in weights(tiny.build(family)).items() if key.startswith("transformer.")}
    modulations = [value for key, value in biases.items() if ".linear.bias" in key or "scale_shift_table" in key]
    assert modulations and all(value.abs().mean() > 0.01 for value in modulations)


def test_cogvideox_in_the_2b_layout_adds_sin_cos_positions_and_samples():
    pipeline = cogvideox.build(rotary=False)
    assert not pipeline.transformer.config.use_rotary_positional_embeddings
    assert isinstance(pipeline.scheduler, CogVideoXDDIMScheduler)
    assert sample(pipeline, "latent").isfinite().all()


def test_a_folder_is_written_once_without_other_files(root: Path):
    first = tiny.folder("wan", root / "once")
    written = (first / "model_index.json").stat().st_mtime_ns
    assert tiny.folder("wan", root / "once") == first
    assert (first / "model_index.json").stat().st_mtime_ns == written
    assert [path.name for path in (root / "once").iterdir()] == [first.name]


def test_an_incomplete_folder_is_written_again(root: Path):
    folder = tiny.folder("cogvideox", root / "broken")
    lost = folder / "vae" / "config.json"
    lost.unlink()
    assert tiny.folder("cogvideox", root / "broken") == folder and lost.is_file()


def test_a_process_uses_the_complete_folder_of_another_process(root: Path):
    def build_while_another_process_finishes() -> DiffusionPipeline:
        saved("wan", lambda: tiny.build("wan", seed=1), root / "race")
        return tiny.build("wan", seed=2)

    folder = saved("wan", build_while_another_process_finishes, root / "race")
    kept, winner = weights(DiffusionPipeline.from_pretrained(folder)), weights(tiny.build("wan", seed=1))
    assert all(torch.equal(kept[key], winner[key]) for key in winner)
    assert [path.name for path in (root / "race").iterdir()] == [folder.name]


def test_the_temporary_folder_replaces_a_cache_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("a file where the cache folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert tiny.folder("cogvideox").parent == tmp_path / "temporary" / "imap"


def test_the_error_of_an_unknown_family_lists_the_known_ones():
    with pytest.raises(ValueError, match="cogvideox, wan, hunyuanvideo, .*, got 'sora'"):
        tiny.build("sora")


@pytest.mark.parametrize("prompt", [PROMPT, *ODD_TEXTS])
def test_hunyuanvideos_template_has_95_tokens_before_any_prompt(prompt: str):
    tokenizer = tokenizers.llama()
    template, crop = DEFAULT_PROMPT_TEMPLATE["template"], DEFAULT_PROMPT_TEMPLATE["crop_start"]
    assert crop == 95
    before = template.split("{}")[0]
    tokens = tokenizer(template.format(prompt), return_offsets_mapping=True)
    assert len(tokens.input_ids[:crop]) == crop and tokens.input_ids[:crop] == tokenizer(before).input_ids
    # The pipeline keeps the prompt's tokens and one <|eot_id|>.
    assert all(first >= len(before) for first, _ in tokens.offset_mapping[crop:])
    end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert tokens.input_ids[-1] == end and tokens.input_ids[crop:].count(end) == 1


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_any_text_has_tokens_with_offsets_and_pads_on_the_right(
    make: Callable[[], PreTrainedTokenizerFast], tmp_path: Path
):
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in [PROMPT, *ODD_TEXTS]:
        tokens = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_offsets_mapping=True)
        assert dict(tokens) == dict(
            loaded(text, padding="max_length", max_length=77, truncation=True, return_offsets_mapping=True)
        )
        assert len(tokens.input_ids) == 77 and tokens.input_ids[-1] == tokenizer.pad_token_id
        assert tokens.attention_mask == sorted(tokens.attention_mask, reverse=True)
        assert all(0 <= first <= last <= len(text) for first, last in tokens.offset_mapping)
    assert loaded.is_fast


def test_sentencepiece_ids_are_t5s():
    tokenizer = tokenizers.sentencepiece()
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "</s>", "<unk>"]
    assert tokenizer("").input_ids == [1]
    assert tokenizer.convert_ids_to_tokens(tokenizer("dog 日").input_ids) == ["▁dog", "▁", "<unk>", "</s>"]


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_common_words_are_one_token_and_rare_words_several(make: Callable[[], PreTrainedTokenizerFast]):
    tokenizer = make()
    for word in ["ball", "dog", "rolls"]:
        assert len(tokenizer.tokenize(f"the {word}")) == 2
    for word in ["balls", "kangaroo", "somersaults"]:
        offsets = tokenizer(f"the {word}", add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        assert len(offsets) > 2
        assert all(last <= first for (_, last), (first, _) in pairwise(offsets))


def test_clip_pools_at_the_end_token():
    pipeline = tiny.build("hunyuanvideo")
    tokens = pipeline.tokenizer_2(["a dog", PROMPT], padding="max_length", return_tensors="pt")
    with torch.no_grad():
        output = pipeline.text_encoder_2(tokens.input_ids)
    ends = (tokens.input_ids == pipeline.tokenizer_2.eos_token_id).int().argmax(dim=1)
    assert torch.equal(output.pooler_output, output.last_hidden_state[torch.arange(2), ends])
