"""Captions, masks and moving flags agree with the pixels; scenes are counter-balanced."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import imap.shapes
from imap.media.clips import read_clip
from imap.shapes.world.drawing import draw, to_grid, to_latent_frames
from imap.shapes.world.render import SEED
from imap.shapes.world.scenes import MOVING, NOUNS, VERBS, Conditions, Scene, Thing, scenes
from imap.shapes.world.truth import Things

PLAIN = Conditions(twins=0.0)
CLIPS = Path(imap.shapes.__file__).with_name("clips")


def one(verb, noun="ball", x=0.5, onset=0.25, offset=0.75, other=None):
    still = other or Thing("box", "stays", 1.2, 0.2, 0.6)
    return Scene((Thing(noun, verb, x, onset, offset), still), (30, 30, 30))


def centre(mask):
    rows, columns = np.nonzero(mask)
    return rows.mean() / mask.shape[0], columns.mean() / mask.shape[0]


def test_a_seed_determines_the_clips():
    first, again, other = (list(scenes(seed, 12)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert torch.equal(draw(first, 9, 32, 32).frames, draw(again, 9, 32, 32).frames)


def test_more_scenes_begin_with_the_same_scenes():
    assert list(scenes(0, 50))[:20] == list(scenes(0, 20))


def test_verbs_and_nouns_are_counter_balanced():
    drawn = list(scenes(0, 400, PLAIN))
    assert set(Counter(tuple(t.verb for t in s.things) for s in drawn).values()) == {400 // 20}
    together = Counter((t.noun, t.verb) for s in drawn for t in s.things)
    assert len(together) == len(NOUNS) * len(VERBS)
    assert min(together.values()) > 0.5 * 800 / len(together)
    left = Counter(s.things[0].x < s.things[1].x for s in drawn)
    assert 0.4 < left[True] / 400 < 0.6


def test_twins_share_a_noun_and_differ_in_the_verb():
    for scene in scenes(0, 40, Conditions(twins=1.0)):
        assert len(scene.concepts) == 1
        assert len(scene.motions) == 2


@pytest.mark.parametrize(("verb", "height"), [("jumps", 0.2), ("dips", 0.8), ("stays", 0.5), ("grows", 0.5)])
def test_an_object_moves_as_its_verb_says_and_returns(verb, height):
    masks = draw([one(verb)], 25, 96, 144).masks[0, 0].numpy()
    assert centre(masks[12]) == pytest.approx((height, 0.5), abs=0.02)
    assert centre(masks[0]) == centre(masks[-1]) == pytest.approx((0.5, 0.5), abs=0.02)


def test_a_growing_object_covers_more_and_a_flashing_one_is_nearly_white():
    grown = draw([one("grows")], 25, 96, 144).masks[0, 0].sum(dim=(1, 2))
    assert grown[12] > 2.5 * grown[0] and grown[-1] == grown[0]
    flashing = draw([one("flashes")], 25, 96, 144)
    colours = [flashing.frames[0, f, 48, 48].tolist() for f in (0, 12, 24)]
    assert colours == [[214, 48, 49], [237, 179, 180], [214, 48, 49]]


def test_at_rest_all_verbs_look_the_same():
    first, last = (draw([one(verb) for verb in VERBS], 25, 64, 64).frames[:, f] for f in (0, -1))
    assert (first == first[:1]).all() and (last == first).all()


@pytest.mark.parametrize("verb", MOVING)
def test_pixels_change_only_in_moving_frames(verb):
    clip = draw([one(verb)], 25, 96, 144)
    change = (clip.frames[0, 1:].int() - clip.frames[0, :-1].int()).abs().sum(dim=(1, 2, 3)) > 0
    moving = clip.moving[0, 0]
    # the verb happens in at least one of the two frames of a change
    assert not (change & ~moving[1:] & ~moving[:-1]).any()
    assert change.any()
    assert clip.moving[0, 1].sum() == 0


def test_colours_lie_where_the_masks_are():
    scene = next(iter(scenes(5, 1, PLAIN)))
    clip = draw([scene], 9, 64, 64)
    for k, thing in enumerate(scene.things):
        inside = clip.frames[0, 0][clip.masks[0, k, 0]].float()  # in the first frame nothing flashes
        assert (inside - torch.tensor(NOUNS[thing.noun]).float()).abs().mean() < 20


def test_the_later_object_hides_the_earlier_one():
    scene = one("stays", other=Thing("kite", "stays", 0.5, 0.2, 0.6))
    masks = draw([scene], 5, 96, 144).masks[0]
    assert not (masks[0] & masks[1]).any()
    assert masks[1].sum() > masks[0].sum()


def test_any_size_shows_the_same_scene():
    scene = [one("jumps")]
    small, large = (draw(scene, 25, height, height).masks[0, 0] for height in (64, 192))
    assert torch.allclose(to_grid(small, 8, 8), to_grid(large, 8, 8), atol=0.12)
    assert torch.equal(draw(scene, 25, 64, 64).moving, draw(scene, 25, 192, 192).moving)


def test_camera_pan_moves_everything_the_same_way():
    scene = one("stays")
    panned = Scene(scene.things, scene.background, pan=0.3)
    masks = draw([panned], 9, 96, 192).masks[0].numpy()
    shift = [centre(mask[-1])[1] - centre(mask[0])[1] for mask in masks]
    assert shift == pytest.approx([-0.3, -0.3], abs=0.02)


def test_the_texture_moves_only_with_a_pan():
    for pan, moves in ((0.0, False), (0.3, True)):
        scene = Scene(one("stays").things, (40, 40, 40), texture_seed=1, pan=pan)
        corner = draw([scene], 5, 64, 96).frames[0, :, :12, :20].float()
        assert bool((corner[0] != corner[-1]).float().mean() > 0.5) == moves
        assert corner[0].std() > 1


def test_latent_frames_average_one_frame_and_then_four():
    masks = torch.zeros(1, 9, 16, 16, dtype=torch.bool)
    masks[0, 0, :8, :8] = True
    masks[0, 5, 8:, 8:] = True
    cells = to_grid(masks, 2, 2)
    assert cells.shape == (1, 3, 2, 2)
    assert cells[0, 0].tolist() == [[1, 0], [0, 0]]
    assert cells[0, 1].sum() == 0
    assert cells[0, 2].tolist() == [[0, 0], [0, 0.25]]
    moving = torch.tensor([False] * 5 + [True] + [False] * 3)
    assert to_latent_frames(moving).tolist() == [0, 0, 0.25]


def test_captions_name_the_objects_and_verbs():
    scene = one("jumps", other=Thing("ring", "flashes", 1.2, 0.2, 0.6))
    assert scene.caption == "a ball jumps while a ring flashes"
    assert (scene.concepts, scene.motions) == (("ball", "ring"), ("jumps", "flashes"))


@pytest.mark.parametrize(
    "name", ["", "49_frames", *(pytest.param(x, marks=pytest.mark.slow) for x in ("paper_size", "paper_size_wan"))]
)
@pytest.mark.slow
def test_the_shipped_clips_are_drawn_again(name):
    """A version of the world never changes its pictures: hashes of splits cover only the scenes' numbers."""
    videos = sorted((CLIPS / name).glob("*.mp4"))
    assert videos
    for scene, video in zip(scenes(SEED, len(videos)), videos, strict=True):
        clip, truth = read_clip(video), Things.load(video.with_name(f"truth-{video.stem}.npz"))
        drawn = draw([scene], *clip.shape[:3])
        assert video.stem.endswith(scene.caption.replace(" ", "-"))
        assert torch.equal(truth.masks, drawn.masks[0]) and torch.equal(truth.moving, drawn.moving[0])
        # the video is lossy; without the background's slope the difference would be 12
        assert np.abs(clip.astype(float) - drawn.frames[0].numpy()).mean() < 5
