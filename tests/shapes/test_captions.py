"""Training captions are true, have the configured shares, and fit into the text slots."""

from collections import Counter

import numpy as np

from imap.backbones import backbone_of
from imap.shapes.models import RECIPES
from imap.shapes.models.base import TEXT_SLOTS, WORDS
from imap.shapes.training.captions import draw_caption
from imap.shapes.world.scenes import scenes


def kind_of(text, scene):
    if text in ("", scene.caption):
        return "full" if text else "empty"
    assert text in (*scene.concepts, *scene.motions)
    return "word"


def test_captions_have_their_shares_and_depend_only_on_the_generator():
    shares = {"empty": 0.1, "one_word": 0.3}
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    drawn = [(scene, draw_caption(scene, rng, **shares)) for scene in scenes(0, 2000)]
    assert [text for _, text in drawn] == [draw_caption(scene, again, **shares) for scene in scenes(0, 2000)]
    share = Counter(kind_of(text, scene) for scene, text in drawn)
    expected = {"empty": 0.1, "word": 0.27, "full": 0.63}
    assert all(abs(share[kind] / 2000 - value) < 0.04 for kind, value in expected.items()), share


def test_every_caption_has_known_words_and_fits_with_its_end_token():
    tokenizer = backbone_of(RECIPES["cogvideox"].build(0))
    for scene in scenes(2, 20):
        assert set(scene.caption.split()) <= set(WORDS.split())
        assert len(tokenizer.tokenize(scene.caption).pieces) <= TEXT_SLOTS
