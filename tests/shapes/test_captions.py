"""Training captions say nothing false, are drawn in the shares that they should be, and fit the text slots."""

from collections import Counter

import numpy as np

from imap.backbones import backbone_of
from imap.shapes.models import RECIPES
from imap.shapes.models.base import TEXT_SLOTS, WORDS
from imap.shapes.training.captions import Shares, apart, draw_caption
from imap.shapes.world import scenes


def kind_of(text, scene):
    if not text:
        return "empty"
    if text == scene.caption:
        return "full"
    return "word" if " " not in text else "apart"


def test_captions_are_drawn_in_their_shares_and_from_the_generator_alone():
    shares = Shares(empty=0.1, one_word=0.1, apart=0.45)
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    drawn = [(scene, draw_caption(scene, rng, shares)) for scene in scenes(0, 2000)]
    assert [text for _, text in drawn] == [draw_caption(scene, again, shares) for scene in scenes(0, 2000)]
    share = Counter(kind_of(text, scene) for scene, text in drawn)
    expected = {"empty": 0.1, "word": 0.09, "apart": 0.9 * 0.45, "full": 0.9 * 0.45}
    assert all(abs(share[kind] / 2000 - value) < 0.04 for kind, value in expected.items()), share
    assert all(text in (*scene.concepts, *scene.motions) for scene, text in drawn if kind_of(text, scene) == "word")


def test_apart_names_every_noun_and_verb_and_not_who_does_what():
    rng = np.random.default_rng(1)
    orders = set()
    for scene in scenes(1, 60):
        nouns, verbs = apart(scene, rng).split(" while ")
        named = [part.split()[1] for part in nouns.split(" and ")]
        done = [part.removeprefix("something ") for part in verbs.split(" and ")]
        assert sorted(named) == sorted(thing.noun for thing in scene.things)
        assert sorted(done) == sorted(thing.verb for thing in scene.things)
        orders.add((named == [t.noun for t in scene.things], done == [t.verb for t in scene.things]))
    assert len(orders) == 4


def test_every_caption_is_made_of_known_words_and_fits_with_its_end_token():
    tokenizer = backbone_of(RECIPES["cogvideox"].build(0))
    for scene in scenes(2, 20):
        for text in (scene.caption, apart(scene, np.random.default_rng(0))):
            assert set(text.split()) <= set(WORDS.split())
            assert len(tokenizer.tokenize(text).pieces) <= TEXT_SLOTS
