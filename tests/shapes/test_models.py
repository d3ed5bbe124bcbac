"""The small models: words keep to their tokens, which know their half of the caption; sizes are the configured ones."""

import pytest
import torch

from imap.backbones import backbone_of
from imap.presets import presets
from imap.shapes.models import RECIPES
from imap.shapes.models.base import WORDS

CAPTION = "a ball rises while a box falls"


@pytest.fixture(scope="module", params=RECIPES)
def pipe(request):
    return RECIPES[request.param].build(0)


def encoded(pipe, caption):
    """One row per word of the caption."""
    text = RECIPES[backbone_of(pipe).family].text(pipe, [caption])
    return text["encoder_hidden_states"][0, : len(caption.split())].detach()


def apart(a, b):
    """Numbers of the words whose rows differ."""
    return [i for i, x in enumerate(((a - b).norm(dim=1) / a.norm(dim=1)).tolist()) if x > 1e-4]


@pytest.mark.parametrize(
    ("caption", "changed"),
    [
        ("a kite rises while a box falls", [1]),
        ("a ball rises while a box stays", [6]),
        ("a box falls while a ball rises", [1, 2, 5, 6]),
    ],
)
def test_a_word_acts_on_its_own_token_alone(pipe, caption, changed):
    assert apart(encoded(pipe, CAPTION), encoded(pipe, caption)) == changed


def test_a_token_carries_the_half_of_the_caption_that_it_stands_in(pipe):
    def half(noun, verb, caption):
        words = caption.split()
        return [encoded(pipe, caption)[words.index(word)] for word in (noun, verb)]

    first, second = half("ball", "rises", CAPTION), half("ball", "rises", "a box falls while a ball rises")
    marks = [a - b for a, b in zip(first, second, strict=True)]
    assert torch.cosine_similarity(*marks, dim=0) > 0.99  # the same mark on a noun and on its verb
    assert all(0.4 < mark.norm() / word.norm() < 1 for mark, word in zip(marks, first, strict=True))
    both = half("ball", "rises", "a kite blinks while a ball rises")
    assert all(torch.equal(a, b) for a, b in zip(second, both, strict=True))  # and nothing else


def test_a_word_alone_is_unmarked(pipe):
    torch.testing.assert_close(encoded(pipe, "ball")[0], encoded(pipe, "ball rises")[0], atol=1e-5, rtol=1e-5)


def test_nothing_is_trained_in_the_text_encoder(pipe):
    assert not any(x.requires_grad for x in pipe.text_encoder.parameters())


def test_every_word_of_a_caption_is_one_token(pipe):
    tokenized = backbone_of(pipe).tokenize(" ".join(WORDS.split()[:12]))
    assert [piece.strip("▁Ġ") for piece in tokenized.pieces[:12]] == WORDS.split()[:12]


def test_the_configuration_tells_the_models_size(pipe):
    own = backbone_of(pipe)
    preset = presets()[f"shapes_{own.family}"]
    assert (preset.family, preset.num_layers, preset.num_heads) == (own.family, own.num_layers, own.num_heads)
    assert preset.is_trained and preset.paper["imap_sep_topk"] <= own.num_heads
    assert own.spatial_factor == 8 and own.temporal_factor == 4


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    for family, recipe in RECIPES.items():
        first, again, other = (recipe.build(seed).transformer.state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[name], again[name]) for name in first), family
        assert not all(torch.equal(first[name], other[name]) for name in first), family
