"""The truth that colours tell of a video, against the exact truth of rendered clips."""

import numpy as np
import pytest

from imap.shapes.world.drawing import draw
from imap.shapes.world.scenes import Conditions, Scene, Thing, scenes
from imap.shapes.world.seen import seen_things
from imap.shapes.world.truth import truths

SIZE = (25, 64, 64)


@pytest.fixture(scope="module")
def rendered():
    shown = list(scenes(7, 20, Conditions(twins=0.0)))
    return shown, draw(shown, *SIZE)


@pytest.mark.slow
def test_places_and_times_are_those_of_the_rendering(rendered):
    shown, drawn = rendered
    for i, scene in enumerate(shown):
        things = seen_things(drawn.frames[i].numpy(), scene)
        assert things is not None
        exact = {truth.word: truth for truth in truths(scene, drawn, i, (8, 8))}
        for truth in things.truths((8, 8)):
            known = exact[truth.word]
            assert (truth.own == known.own).mean() > 0.96
            if hasattr(truth, "moving"):  # a frame at the foot of a motion may be called still
                assert (truth.moving == known.moving).mean() > 0.7 and not (truth.moving & known.still).any()


@pytest.mark.slow
def test_a_thing_that_is_not_there_is_told(rendered):
    shown, drawn = rendered
    absent = Scene((Thing("ball", "jumps", 0.3, 0.2, 0.7), Thing("cross", "dips", 0.7, 0.2, 0.7)), (40, 40, 40))
    for i, scene in enumerate(shown):
        nouns = {thing.noun for thing in scene.things}
        assert (seen_things(drawn.frames[i].numpy(), absent) is None) == (nouns != {"ball", "cross"})


def test_noise_of_a_decoder_changes_little(rendered):
    shown, drawn = rendered
    noisy = drawn.frames[0].numpy() + np.random.default_rng(0).normal(0, 12, drawn.frames[0].shape)
    clean, seen = (seen_things(np.clip(x, 0, 255).astype(np.uint8), shown[0]) for x in (drawn.frames[0].numpy(), noisy))
    assert (clean.masks != seen.masks).float().mean() < 0.01 and (clean.moving == seen.moving).all()
