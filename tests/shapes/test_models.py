"""The small models: words keep to their tokens, verbs know their nouns, and sizes are those of the configurations."""

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


@pytest.mark.parametrize(
    ("caption", "changed"),
    [
        ("a kite rises while a box falls", [1, 2]),  # the noun, and the verb behind it
        ("a ball rises while a box stays", [6]),
        ("a box rises while a ball falls", [1, 2, 5, 6]),
        ("a ball falls while a box rises", [2, 3, 6]),
    ],
)
def test_a_word_acts_on_its_own_token_and_on_the_next_one(pipe, caption, changed):
    a, b = encoded(pipe, CAPTION), encoded(pipe, caption)
    apart = ((a - b).norm(dim=1) / a.norm(dim=1)).tolist()
    assert [i for i, x in enumerate(apart) if x > 0.2] == changed
    assert all(x < 1e-4 for i, x in enumerate(apart) if i not in changed)


def test_a_token_is_mostly_its_own_word(pipe):
    a = encoded(pipe, CAPTION)
    other_verb, other_noun = encoded(pipe, "a ball falls"), encoded(pipe, "a kite rises")
    assert (a[2] - other_verb[2]).norm() > (a[2] - other_noun[2]).norm() > 0.3 * (a[2] - other_verb[2]).norm()


def test_only_word_embeddings_are_trained_in_the_text_encoder(pipe):
    trained = [x for x in pipe.text_encoder.parameters() if x.requires_grad]
    assert len(trained) == 1 and trained[0] is pipe.text_encoder.get_input_embeddings().weight


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
