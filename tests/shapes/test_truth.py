"""Scores of a map show what it contains: the place, the time, both, or neither."""

import numpy as np
import pytest

from imap.errors import ImapError
from imap.shapes.world.drawing import draw
from imap.shapes.world.render import render
from imap.shapes.world.scenes import Conditions, Scene, Thing, scenes
from imap.shapes.world.truth import NounTruth, Things, VerbTruth, frame_difference, truths

GRID = (16, 16)


def clip(verb, noun="ball", other_noun="box", frames=25):
    things = (
        Thing(noun, verb, 0.25, 0.3, 0.7),
        Thing(other_noun, "stays", 0.75, 0.2, 0.6),
    )
    scene = Scene(things, (30, 30, 30))
    return scene, draw([scene], frames, 128, 128)


def of(scene, drawn, word):
    return next(truth for truth in truths(scene, drawn, 0, GRID) if truth.word == word)


def test_each_noun_and_each_moving_verb_has_a_truth():
    scene, drawn = clip("jumps")
    words = truths(scene, drawn, 0, GRID)
    assert [(type(x), x.word) for x in words] == [(NounTruth, "ball"), (NounTruth, "box"), (VerbTruth, "jumps")]
    assert all(x.own.shape == (7, *GRID) for x in words[:2])


def test_a_map_of_the_object_scores_for_its_noun_and_not_for_the_other():
    scene, drawn = clip("jumps")
    ball = of(scene, drawn, "ball")
    assert ball.scores(ball.own.astype(float)) == pytest.approx({"ap": 1, "auc": 1, "iou": 1, "own_other": 1})
    other = ball.scores(ball.other.astype(float))
    assert other["own_other"] == 0 and other["ap"] < 0.1
    both = ball.scores((ball.own | ball.other).astype(float))
    assert both["own_other"] == 0.5 and 0.3 < both["ap"] < 0.7


def test_cells_on_an_objects_edge_do_not_count():
    scene, drawn = clip("stays")
    ball = of(scene, drawn, "ball")
    edge = ~(ball.own | ball.none)
    assert edge.any() and not (ball.own & ball.none).any()
    assert ball.scores(ball.own + 2.0 * edge)["ap"] == 1


@pytest.mark.parametrize("verb", ["jumps", "dips", "grows", "flashes"])
def test_a_map_of_the_event_has_place_and_time_and_a_map_of_the_object_only_place(verb):
    scene, drawn = clip(verb)
    truth = of(scene, drawn, verb)
    event = truth.scores(truth.event.astype(float))
    assert event["ap"] == 1 and event["in_object"] == 1 and event["own_other"] == 1 and event["correlation"] > 0.7
    always = truth.scores(truth.own.astype(float))
    assert always["in_object"] == 0.5 and 0.3 < always["ap"] < 0.8
    still = truth.scores((truth.own & truth.still[:, None, None]).astype(float))
    assert still["in_object"] == 0 and still["correlation"] < -0.6


def test_latent_frames_at_the_start_and_end_of_a_verb_do_not_count():
    scene, drawn = clip("jumps")  # frames 8 to 16; latent frames 2 to 4 have frames 5-8, 9-12, 13-16
    truth = of(scene, drawn, "jumps")
    assert truth.moving.tolist() == [False, False, False, True, True, False, False]
    assert truth.still.tolist() == [True, True, False, False, False, True, True]
    noisy = truth.event + 2.0 * (~truth.moving & ~truth.still)[:, None, None]
    assert truth.scores(noisy) == truth.scores(truth.event.astype(float))


def test_twins_share_a_noun_and_differ_in_the_verb():
    scene, drawn = clip("jumps", other_noun="ball")
    words = truths(scene, drawn, 0, GRID)
    assert [x.word for x in words] == ["ball", "jumps"]
    assert not words[0].other.any() and np.isnan(words[0].scores(words[0].own.astype(float))["own_other"])
    assert words[1].other.any() and not (words[1].other & words[1].own).any()


def test_frame_difference_shows_changes():
    scene, drawn = clip("jumps")
    change = frame_difference(drawn.frames[0], GRID)
    assert change.shape == (7, *GRID) and (change[0] == 0).all()
    truth = of(scene, drawn, "jumps")
    still = truth.still
    still[1:] &= truth.still[:-1]
    assert (change[still] == 0).all()
    assert truth.scores(change)["correlation"] > 0.7


def test_rendered_truth_equals_the_scenes_truth(tmp_path):
    path = render(tmp_path, 1, (9, 64, 64), 8, 3, Conditions())
    scene = next(iter(scenes(3, 1, Conditions())))
    things = Things.load(next(tmp_path.glob("truth-*.npz")))
    expected = truths(scene, draw([scene], 9, 64, 64), 0, (8, 8))
    for one, other in zip(things.truths((8, 8)), expected, strict=True):
        assert type(one) is type(other) and one.word == other.word
        for name, value in vars(one).items():
            assert np.array_equal(value, getattr(other, name)), name
    with pytest.raises(ImapError, match=r"clips.json is not a truth file; it needs masks"):
        Things.load(path)
