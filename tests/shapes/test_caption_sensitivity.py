"""Caption sensitivity: altered captions change only what they should, and a model without words has none."""

import pytest

from imap.backbones import backbone_of
from imap.shapes.models import RECIPES
from imap.shapes.training import caption_sensitivity as caption_sensitivity_module
from imap.shapes.training import latent_cache as latent_cache_module
from imap.shapes.training.caption_sensitivity import (
    VERB_LEVELS,
    altered_captions,
    caption_sensitivity,
    verb_sensitivity,
)
from imap.shapes.training.latent_cache import latent_cache
from imap.shapes.world.scenes import scenes

CLIP = (9, 32, 32)
SLOWER = [family for family in RECIPES if family != "cogvideox"]


LEVELS = (0.3, *VERB_LEVELS)


@pytest.fixture(autouse=True)
def _small_sizes(monkeypatch):
    monkeypatch.setattr(latent_cache_module, "SHARD", 3)
    monkeypatch.setattr(caption_sensitivity_module, "LEVELS", LEVELS)


def test_altered_captions_change_only_what_their_names_say():
    for scene in scenes(0, 60):
        texts = altered_captions(scene)
        split = {kind: [part.split() for part in text.split(" while ")] for kind, text in texts.items() if text}
        true, nouns, verbs = split["true"], split["wrong nouns"], split["wrong verbs"]
        assert texts["true"] == scene.caption and texts["empty"] == ""
        assert [x[2] for x in nouns] == [x[2] for x in true] and not {x[1] for x in nouns} & {x[1] for x in true}
        assert [x[1] for x in verbs] == [x[1] for x in true] and not {x[2] for x in verbs} & {x[2] for x in true}
        assert [x[2] for x in split["exchanged verbs"]] == [x[2] for x in true][::-1]
        assert (true[0][1] == true[1][1]) == (nouns[0][1] == nouns[1][1])  # twins stay twins


@pytest.mark.parametrize("family", ["cogvideox", *(pytest.param(x, marks=pytest.mark.slow) for x in SLOWER)])
def test_a_model_that_reads_no_word_has_no_caption_sensitivity(family, tmp_path):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    held_out = latent_cache(backbone_of(pipe), tmp_path, 3, CLIP, 0, {}, "cpu")
    pipe.text_encoder.get_input_embeddings().weight.data[:] = 1.0
    rises = caption_sensitivity(recipe, pipe, held_out)
    assert list(rises["true"]) == list(LEVELS) and min(rises["true"].values()) > 0.1
    assert verb_sensitivity(rises) == pytest.approx(0, abs=1e-6)
    assert rises["wrong nouns"][0.8] == pytest.approx(0, abs=1e-6)
    pipe = recipe.build(0)
    assert caption_sensitivity(recipe, pipe, held_out)["wrong verbs"][0.9] != 0
