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


T5, LLAMA, CLIP = "hf-internal-testing/tiny-random-t5", "finetrainers/dummy-hunyaunvideo", "tiny-random-clip"
QWEN = "hf-internal-testing/tiny-random-Qwen2VLForConditionalGeneration"
MADE: dict[tuple[str, str], Callable[[], Any]] = {
    ("AutoTokenizer", T5): tokenizers.sentencepiece,
    ("T5Tokenizer", T5): tokenizers.sentencepiece,
    ("AutoConfig", T5): t5_config,
    ("T5EncoderModel", T5): t5_model,
    ("LlamaTokenizer", LLAMA): llama,
    ("LlamaTokenizerFast", LLAMA): llama,
    ("CLIPTokenizer", f"hf-internal-testing/{CLIP}"): lambda: tokenizers.clip(WORDS),
    ("Qwen2Tokenizer", QWEN): llama,
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
