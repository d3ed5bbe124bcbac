"""Caption fidelity: true videos follow their captions, and altered videos do not."""

import numpy as np
import pytest

from imap.shapes.training import sample_grid
from imap.shapes.training.caption_fidelity import shares
from imap.shapes.world.drawing import draw
from imap.shapes.world.scenes import MOVING, NOUNS, VERBS, Conditions, Scene, Thing, scenes


@pytest.fixture(scope="module")
def shown():
    return sample_grid.captions_to_sample(20)


@pytest.fixture(scope="module")
def videos(shown):
    return draw(shown, 25, 40, 40).frames.numpy()


@pytest.mark.slow
def test_true_videos_follow_their_captions_with_and_without_noise(videos, shown):
    noise = np.random.default_rng(0).normal(0, 15, videos.shape)
    for frames in (videos, np.clip(videos + noise, 0, 255).astype(np.uint8)):
        assert set(shares(sample_grid.judge_videos(frames, shown)).values()) == {1.0}


@pytest.mark.slow
def test_still_upside_down_and_exchanged_videos_do_not_follow_their_captions(videos, shown):
    still = shares(sample_grid.judge_videos(np.repeat(videos[:, :1], 25, axis=1), shown))
    assert still["present"] == 1 and still["follows the caption, stays"] == 1
    assert all(still[f"follows the caption, {verb}"] == 0 for verb in MOVING)
    turned = shares(sample_grid.judge_videos(videos[:, :, ::-1], shown))
    assert turned["follows the caption, jumps"] == turned["follows the caption, dips"] == 0
    assert all(turned[f"follows the caption, {verb}"] == 1 for verb in ("flashes", "grows", "stays"))
    others = sample_grid.judge_videos(np.roll(videos, 1, axis=0), shown)
    assert shares(others)["follows the caption"] < 0.25
    empty = shares(sample_grid.judge_videos(np.zeros_like(videos), shown))
    overall = ("present", "follows the caption", "follows the caption and does nothing else")
    assert empty == dict.fromkeys((*overall, *(f"follows the caption, {verb}" for verb in VERBS)), 0)


def test_an_object_with_two_actions_follows_either_caption_but_not_only_it():
    video = np.full((25, 64, 64, 3), 40, np.uint8)
    video[:, 28:36, 8:16] = NOUNS["ball"]
    video[6:19, 28:36, 8:16] = 40
    video[6:19, 4:18, 5:19] = NOUNS["ball"]  # jumps and grows
    video[:, 28:36, 44:52] = NOUNS["box"]
    for verb in ("jumps", "grows"):
        scene = Scene((Thing("ball", verb, 0.2, 0.2, 0.7), Thing("box", "stays", 0.7, 0.2, 0.7)), (40, 40, 40))
        ball, box = sample_grid.judge_videos(video[None], [scene])
        assert ball.follows and not ball.follows_only and box.follows and box.follows_only
        fidelity = shares([ball, box])
        assert (fidelity["follows the caption"], fidelity["follows the caption and does nothing else"]) == (1, 0.5)


def test_captions_to_sample_name_two_nouns():
    assert all(len(scene.concepts) == 2 for scene in sample_grid.captions_to_sample(30))
    assert sample_grid.captions_to_sample(5) != list(scenes(0, 5, Conditions(twins=0.0)))
