"""The small models: a word's token contains its noun and verb only; sizes agree with the configuration."""

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
    """Text states of the first block, one row per word of the caption."""
    family = backbone_of(pipe).family
    text = RECIPES[family].text(pipe, [caption])
    states = text["encoder_hidden_states"]
    if family == "hunyuanvideo":
        states = pipe.transformer.context_embedder(states, torch.tensor([500.0]), text["encoder_attention_mask"])
    return states[0, : len(caption.split())].detach()


def apart(a, b):
    """Relative difference of each word whose rows differ, by the word's number."""
    return {i: x for i, x in enumerate(((a - b).norm(dim=1) / a.norm(dim=1)).tolist()) if x > 1e-4}


def test_a_noun_changes_its_token_and_its_verbs_token(pipe):
    differences = apart(encoded(pipe, CAPTION), encoded(pipe, "a kite jumps while a box dips"))
    assert list(differences) == [1, 2]
    assert all(x > 0.4 for x in differences.values())


def test_a_verb_changes_its_token_and_its_nouns_token(pipe):
    differences = apart(encoded(pipe, CAPTION), encoded(pipe, "a ball jumps while a box stays"))
    assert list(differences) == [5, 6]
    assert all(x > 0.4 for x in differences.values())


def test_exchanged_verbs_change_the_text_states(pipe):
    """They change more than the order of the tokens."""
    a, b = encoded(pipe, CAPTION), encoded(pipe, "a ball dips while a box jumps")
    nearest = torch.cdist(a, b).min(dim=1).values / a.norm(dim=1)
    assert [i for i, x in enumerate(nearest.tolist()) if x > 0.3] == [1, 2, 5, 6]


def test_a_verb_alone_contains_no_noun(pipe):
    alone, in_caption = encoded(pipe, "jumps")[0], encoded(pipe, CAPTION)[2]
    assert torch.cosine_similarity(alone[VERB], in_caption[VERB], dim=0) > 0.999
    assert alone[ITS_NOUN].norm() < 1e-3 * in_caption[ITS_NOUN].norm()


def test_a_capital_does_not_change_a_word(pipe):
    verb, noun = encoded(pipe, "Jumps")[0], encoded(pipe, "Ball jumps while a box dips")[0]
    assert torch.equal(verb, encoded(pipe, "jumps")[0])
    assert torch.cosine_similarity(noun[NOUN], encoded(pipe, CAPTION)[1][NOUN], dim=0) > 0.999


def test_text_encoders_are_not_trained(pipe):
    encoders = [pipe.text_encoder]
    if backbone_of(pipe).family == "hunyuanvideo":
        encoders.append(pipe.transformer.context_embedder)
    assert not any(x.requires_grad for encoder in encoders for x in encoder.parameters())


@pytest.mark.parametrize("family", ["cogvideox", "hunyuanvideo"])
def test_training_does_not_change_the_text_states(family):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    blocks, calls = pipe.transformer.transformer_blocks, []
    for block in blocks:
        block.register_forward_hook(lambda _, args, kwargs, out: calls.append((args, kwargs, out)), with_kwargs=True)
    trained = optimizers(pipe.transformer, lr=0.1, matrix_lr=0.1)
    text = recipe.text(pipe, [CAPTION])
    shape = (1, 3, 8, 4, 4) if family == "cogvideox" else (1, 8, 3, 4, 4)
    before = [block.norm1.linear.bias.clone() for block in blocks]
    for _ in range(2):
        calls.clear()
        recipe.predict(pipe, torch.randn(shape), torch.tensor([500]), text).square().mean().backward()
        for optimizer in trained:
            optimizer.step()
    assert len(calls) == len(blocks)
    for args, kwargs, (video, words) in calls:
        inputs = dict(zip(("hidden_states", "encoder_hidden_states"), args, strict=False)) | kwargs
        assert torch.equal(words, inputs["encoder_hidden_states"]) and not torch.equal(video, inputs["hidden_states"])
    assert all((block.norm1.linear.bias != bias).any() for block, bias in zip(blocks, before, strict=True))


def test_every_word_of_a_caption_is_one_token(pipe):
    tokenized = backbone_of(pipe).tokenize(" ".join(WORDS.split()[:12]))
    assert [piece.strip("▁Ġ") for piece in tokenized.pieces[:12]] == WORDS.split()[:12]


def test_the_configuration_has_the_models_sizes(pipe):
    backbone = backbone_of(pipe)
    preset = presets()[f"shapes_{backbone.family}"]
    assert (preset.family, preset.num_layers, preset.num_heads) == (
        backbone.family,
        backbone.num_layers,
        backbone.num_heads,
    )
    assert preset.is_trained and preset.paper["imap_sep_topk"] <= backbone.num_heads
    assert backbone.spatial_factor == 8 and backbone.temporal_factor == 4


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    for family, recipe in RECIPES.items():
        first, again, other = (recipe.build(seed).transformer.state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[name], again[name]) for name in first), family
        assert not all(torch.equal(first[name], other[name]) for name in first), family


@pytest.mark.parametrize("family", RECIPES)
def test_noise_levels_range_from_the_clip_to_noise(family):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    clean, noise = torch.randn(
        2, 4, *backbone_of(pipe).latent_shape(9, 32, 32)[1:], generator=torch.Generator().manual_seed(0)
    )
    levels = torch.tensor([0.0, 0.3, 0.7, 0.999])
    noisy, timesteps, target = recipe.add_noise(pipe, clean, noise, levels)
    assert noisy.shape == target.shape == clean.shape
    assert timesteps.tolist() == pytest.approx([0, 300, 700, 999])
    assert (noisy[0] - clean[0]).std() < 0.05 and (noisy[3] - noise[3]).std() < 0.05
    apart = [(noisy[i] - clean[i]).std().item() for i in range(4)]
    assert apart == sorted(apart)
    # the target determines the clip
    if family == "cogvideox":
        alphas = pipe.scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
        recovered = (alphas.sqrt() * noisy - (1 - alphas).sqrt() * target).float()
    else:
        recovered = noisy - levels.view(-1, 1, 1, 1, 1) * target
    torch.testing.assert_close(recovered, clean, rtol=0, atol=1e-4)
