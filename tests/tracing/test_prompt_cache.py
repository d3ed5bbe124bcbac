"""Words that come again are encoded once, to the same bits, and only the latest are kept."""

import pytest
import torch

import imap
import imap.tracing.prompt_cache
from imap.backbones import backbone_of
from imap.tracing.prompt_cache import PromptCache
from tests.shared import FAMILIES, PROMPT, SIZES


@pytest.fixture
def counted(pipes):
    """A pipeline by family, and a list that grows with every call of its text encoder."""
    handles = []

    def get(family):
        calls = []
        hook = pipes(family).text_encoder.register_forward_hook(lambda *_: calls.append(1))
        handles.append(hook)
        return pipes(family), calls

    yield get
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_what_the_pipeline_makes_of_it_in_both_halves(family, counted):
    pipe, calls = counted(family)
    with torch.no_grad():
        expected = backbone_of(pipe).encode_prompt(PROMPT, "blurry")
    prompt_cache = PromptCache(backbone_of(pipe))
    calls.clear()
    for _ in range(2):
        got = prompt_cache.prompt(PROMPT, "blurry").tensors
        assert set(got) == set(expected) and all(torch.equal(got[name], expected[name]) for name in expected)
    assert len(calls) == (1 if family == "hunyuanvideo" else 2)
    assert "negative_prompt_embeds" not in prompt_cache.prompt(PROMPT, None).tensors


@pytest.mark.parametrize("family", FAMILIES)
def test_concepts_are_told_apart_by_words_and_by_the_token_that_stands_for_them(family, counted):
    pipe, calls = counted(family)
    prompt_cache = PromptCache(backbone_of(pipe))
    asked = [(("ball", "small kangaroo"), "first"), (("ball", "small kangaroo"), "mean"), (("ball",), "first")]
    for words, token in asked * 2:
        with torch.no_grad():
            expected = backbone_of(pipe).encode_concepts(words, token)
        assert torch.equal(prompt_cache.concepts(words, token), expected)
    assert len(calls) == 2 * len(asked) + len(asked)  # every expected one, and ours once


def test_only_the_latest_are_kept(counted):
    pipe, calls = counted("wan")
    prompt_cache = PromptCache(backbone_of(pipe))
    words = [f"thing {n}" for n in range(imap.tracing.prompt_cache.KEPT + 1)]
    for word in (*words, words[-1], words[1]):
        prompt_cache.prompt(word, None)
    assert len(calls) == len(words)
    prompt_cache.prompt(words[0], None)  # pushed out
    assert len(calls) == len(words) + 1


def test_encodings_of_another_pipeline_are_refused(pipes):
    other = PromptCache(backbone_of(pipes("cogvideox")))
    with pytest.raises(imap.ImapError, match="traced WanPipeline, .* another pipeline, a CogVideoXPipeline; leave"):
        imap.trace(pipes("wan"), concepts=["ball"], prompt_cache=other)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoding_that_is_used_again_still_tells_a_prompt_that_is_another(family, pipes):
    """The second trace's text encoder sees only the negative prompt, or nothing: the first one's ids must count."""
    pipe = pipes(family)
    prompt_cache, target = PromptCache(backbone_of(pipe)), {"imap_qk_matching_target": "prompt"}
    arguments = {**SIZES, "num_inference_steps": 1, "output_type": "latent"}
    for negative in ("", "blurry", "blurry"):
        with imap.trace(pipe, PROMPT, ["ball"], prompt_cache=prompt_cache, **target) as trace:
            pipe(**arguments, **trace.encode_prompt(PROMPT, negative))
    prompt_cache.prompt("a green kite", None)
    with (
        pytest.raises(imap.ImapError, match="another prompt"),
        imap.trace(pipe, PROMPT, ["ball"], prompt_cache=prompt_cache, **target) as trace,
    ):
        pipe(**arguments, **trace.encode_prompt("a green kite", "blurry"))


def test_large_encodings_are_kept_up_to_a_number_of_bytes(pipes, monkeypatch):
    cache = PromptCache(backbone_of(pipes("wan")))
    for i in range(4):
        cache.prompt(f"prompt {i}", None)
    size = cache._bytes() // 4
    assert len(cache._kept) == 4 and size > 512 * 32 * 4
    monkeypatch.setattr("imap.tracing.prompt_cache.KEPT_BYTES", 3 * size)
    cache.prompt("prompt 4", None)
    assert [key[1] for key in cache._kept] == ["prompt 2", "prompt 3", "prompt 4"]
    monkeypatch.setattr("imap.tracing.prompt_cache.KEPT_BYTES", 1)
    cache.prompt("prompt 5", None)
    assert [key[1] for key in cache._kept] == ["prompt 4", "prompt 5"]
