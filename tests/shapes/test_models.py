"""The small models: a word's token tells what belongs to it and no more; sizes are the configured ones."""

import pytest
import torch

from imap.backbones import backbone_of
from imap.config.presets import presets
from imap.shapes.models import RECIPES
from imap.shapes.models.base import WORDS
from imap.shapes.models.words import ITS_NOUN, NOUN, VERB
from imap.shapes.training.denoiser import optimizers

CAPTION = "a ball jumps while a box dips"


@pytest.fixture(scope="module", params=RECIPES)
def pipe(request):
    return RECIPES[request.param].build(0)


def encoded(pipe, caption):
    """One row per word of the caption, as the first block is given it."""
    family = backbone_of(pipe).family
    text = RECIPES[family].text(pipe, [caption])
    states = text["encoder_hidden_states"]
    if family == "hunyuanvideo":
        states = pipe.transformer.context_embedder(states, torch.tensor([500.0]), text["encoder_attention_mask"])
    return states[0, : len(caption.split())].detach()


def apart(a, b):
    """Numbers of the words whose rows differ, with how much."""
    return {i: x for i, x in enumerate(((a - b).norm(dim=1) / a.norm(dim=1)).tolist()) if x > 1e-4}


def test_a_noun_acts_on_its_own_token_and_its_verbs(pipe):
    found = apart(encoded(pipe, CAPTION), encoded(pipe, "a kite jumps while a box dips"))
    assert list(found) == [1, 2]
    assert all(x > 0.4 for x in found.values())


def test_a_verb_acts_on_its_own_token_and_its_nouns(pipe):
    found = apart(encoded(pipe, CAPTION), encoded(pipe, "a ball jumps while a box stays"))
    assert list(found) == [5, 6]
    assert all(x > 0.4 for x in found.values())


def test_who_does_what_can_be_told(pipe):
    """Exchanged verbs change more than the order of the tokens."""
    a, b = encoded(pipe, CAPTION), encoded(pipe, "a ball dips while a box jumps")
    nearest = torch.cdist(a, b).min(dim=1).values / a.norm(dim=1)
    assert [i for i, x in enumerate(nearest.tolist()) if x > 0.3] == [1, 2, 5, 6]


def test_a_verb_alone_is_told_no_noun(pipe):
    alone, told = encoded(pipe, "jumps")[0], encoded(pipe, CAPTION)[2]
    assert torch.cosine_similarity(alone[VERB], told[VERB], dim=0) > 0.999
    assert alone[ITS_NOUN].norm() < 1e-3 * told[ITS_NOUN].norm()


def test_a_sentences_first_word_is_that_word(pipe):
    verb, noun = encoded(pipe, "Jumps")[0], encoded(pipe, "Ball jumps while a box dips")[0]
    assert torch.equal(verb, encoded(pipe, "jumps")[0])
    assert torch.cosine_similarity(noun[NOUN], encoded(pipe, CAPTION)[1][NOUN], dim=0) > 0.999


def test_nothing_is_trained_in_what_encodes_text(pipe):
    encoders = [pipe.text_encoder]
    if backbone_of(pipe).family == "hunyuanvideo":
        encoders.append(pipe.transformer.context_embedder)
    assert not any(x.requires_grad for encoder in encoders for x in encoder.parameters())


@pytest.mark.parametrize("family", ["cogvideox", "hunyuanvideo"])
def test_training_leaves_text_as_the_encoder_said(family):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    blocks, seen = pipe.transformer.transformer_blocks, []
    for block in blocks:
        block.register_forward_hook(lambda _, given, named, found: seen.append((given, named, found)), with_kwargs=True)
    trained = optimizers(pipe.transformer, lr=0.1, matrix_lr=0.1)
    text = recipe.text(pipe, [CAPTION])
    shape = (1, 3, 8, 4, 4) if family == "cogvideox" else (1, 8, 3, 4, 4)
    before = [block.norm1.linear.bias.clone() for block in blocks]
    for _ in range(2):
        seen.clear()
        recipe.predict(pipe, torch.randn(shape), torch.tensor([500]), text).square().mean().backward()
        for optimizer in trained:
            optimizer.step()
    assert len(seen) == len(blocks)
    for given, named, (video, words) in seen:
        given = dict(zip(("hidden_states", "encoder_hidden_states"), given, strict=False)) | named
        assert torch.equal(words, given["encoder_hidden_states"]) and not torch.equal(video, given["hidden_states"])
    assert all((block.norm1.linear.bias != bias).any() for block, bias in zip(blocks, before, strict=True))


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
