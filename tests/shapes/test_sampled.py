"""Scores on sampled videos, and whether a picture of a map is right."""

from dataclasses import replace

import numpy as np
import pytest

from imap.shapes.benchmark import sampled
from imap.shapes.benchmark.sampled import is_right, score_sampled
from imap.shapes.benchmark.scoring import Reading
from imap.shapes.benchmark.tables import counts
from imap.shapes.models import RECIPES
from imap.shapes.world.drawing import draw
from imap.shapes.world.scenes import scene_of
from imap.shapes.world.truth import NounTruth, truths

SCENE = scene_of("a ball jumps while a kite grows")
READING = Reading(
    (9, 64, 64), 2, {"num_inference_steps": 2, "renoise_timestep": [1], "imap_layer": [0, 1], "imap_sep_topk": 1}, 42
)


@pytest.fixture(scope="module")
def known():
    drawn = draw([SCENE], 25, 64, 64)
    return {truth.word: truth for truth in truths(SCENE, drawn, 0, (8, 8))}


def test_a_caption_gives_its_scene():
    assert SCENE.caption == "a ball jumps while a kite grows"
    assert SCENE.concepts == ("ball", "kite") and SCENE.motions == ("jumps", "grows")


def test_a_map_is_right_on_its_thing_and_only_while_it_happens(known):
    jumps, ball = known["jumps"], known["ball"]
    event, place = jumps.event.astype(float), ball.own.astype(float)
    assert is_right(event, jumps) and is_right(place, ball) and isinstance(ball, NounTruth)
    assert not is_right(place, jumps)  # on the thing, but at all times
    assert not is_right(known["grows"].event.astype(float), jumps)  # on the other thing
    assert not is_right(event + known["grows"].event, jumps)  # on both
    assert not is_right(np.zeros(event.shape), jumps) and not is_right(-event, jumps)
    ground = 0.3 + event  # a ground that is bright everywhere alike does not count
    assert is_right(ground, jumps)


@pytest.mark.slow
def test_readings_during_and_after_are_scored_on_videos_that_follow_their_caption(monkeypatch):
    pipe = RECIPES["cogvideox"].build(0)
    video = draw([SCENE], *READING.clip).frames[0].numpy()
    sample = sampled._sample

    def shows_the_scene(*arguments, seed):
        _, latents, during, trace = sample(*arguments, seed=seed)
        return (video if seed == 42 else 0 * video), latents, during, trace

    monkeypatch.setattr(sampled, "_sample", shows_the_scene)
    ((clip, records),) = score_sampled(pipe, [SCENE], READING, 2.0)
    rows = {record.row for record in records}
    assert clip == 0 and {"during: GramCol", "after: GramCol", "after: whole-video column", "after: effect"} <= rows
    assert {record.noise for record in records if record.row != "video"} == {42}
    assert "| follow their caption | .50 | 1 of 2 |" in counts(records)
    assert list(score_sampled(pipe, [SCENE], replace(READING, noises=1), 2.0, skip=[0])) == []
