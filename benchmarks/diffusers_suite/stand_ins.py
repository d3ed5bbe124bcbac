"""A pytest plugin: local tokenizers and encoders in place of the small hub folders that diffusers' tests name.

So the tests run without a network. Tests that compare stored numbers fail, traced or not: the stand-ins have other
tokens and weights.
"""

from collections.abc import Callable
from typing import Any

import torch
import transformers

from imap.testing.tiny import tokenizers

WORDS = "a the cat dog on grass running dance monkey robot negative jumping"


def t5_config() -> transformers.T5Config:
    """The configuration of the hub's tiny T5, with the vocabulary of the stand-in."""
    return transformers.T5Config(
        vocab_size=1103,
        d_model=32,
        d_ff=37,
        d_kv=8,
        num_layers=5,
        num_heads=4,
        relative_attention_num_buckets=8,
        feed_forward_proj="relu",
    )


def t5_model() -> transformers.T5EncoderModel:
    """A tiny T5 encoder. The global random state stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.T5EncoderModel(t5_config()).eval()


def llama() -> Any:
    """A tokenizer of LLaMA's kind."""
    return tokenizers.llama(WORDS)


def chat() -> Any:
    """A tokenizer of Qwen's kind, with a chat template."""
    made = tokenizers.llama(WORDS)
    made.chat_template = CHAT
    return made


def siglip() -> transformers.SiglipVisionModel:
    """A tiny image encoder. The global random state stays as it was."""
    size = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.SiglipVisionConfig(**size, image_size=IMAGE, patch_size=IMAGE // 2)
        return transformers.SiglipVisionModel(config).eval()


def siglip_processor() -> Any:
    """What makes its pictures."""
    return transformers.SiglipImageProcessor(size={"height": IMAGE, "width": IMAGE})


def gemma() -> transformers.Gemma3ForConditionalGeneration:
    """A tiny Gemma 3. The global random state stays as it was."""
    size = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = size | {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizers.llama(WORDS))}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.Gemma3Config(
            text_config=text, vision_config=size | {"image_size": 28, "patch_size": 14}, mm_tokens_per_image=4
        )
        return transformers.Gemma3ForConditionalGeneration(config).eval()


IMAGE = 30  # pixels of a side
CHAT = (
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>{{ m['content'] }}<|eot_id|>{% endfor %}"
)
T5, LLAMA, CLIP = "hf-internal-testing/tiny-random-t5", "finetrainers/dummy-hunyaunvideo", "tiny-random-clip"
QWEN = "hf-internal-testing/tiny-random-Qwen2VLForConditionalGeneration"
SIGLIP, GEMMA = "hf-internal-testing/tiny-random-SiglipVisionModel", "hf-internal-testing/tiny-gemma3"
MADE: dict[tuple[str, str], Callable[[], Any]] = {
    ("AutoTokenizer", T5): tokenizers.sentencepiece,
    ("T5Tokenizer", T5): tokenizers.sentencepiece,
    ("AutoConfig", T5): t5_config,
    ("T5EncoderModel", T5): t5_model,
    ("LlamaTokenizer", LLAMA): llama,
    ("LlamaTokenizerFast", LLAMA): llama,
    ("CLIPTokenizer", f"hf-internal-testing/{CLIP}"): lambda: tokenizers.clip(WORDS),
    ("Qwen2Tokenizer", QWEN): chat,
    ("SiglipVisionModel", SIGLIP): siglip,
    ("SiglipImageProcessor", SIGLIP): siglip_processor,
    ("AutoTokenizer", GEMMA): chat,
    ("Gemma3ForConditionalGeneration", GEMMA): gemma,
}


def _replace(name: str) -> None:
    owner = getattr(transformers, name)
    own = owner.from_pretrained.__func__

    def from_pretrained(cls: type, path: str, *args: Any, **kwargs: Any) -> Any:
        made = MADE.get((name, path))
        return made() if made else own(cls, path, *args, **kwargs)

    owner.from_pretrained = classmethod(from_pretrained)


def pytest_configure() -> None:
    """Put the stand-ins in place before any test module is imported."""
    torch.set_num_threads(1)
    for name in sorted({name for name, _ in MADE}):
        _replace(name)
