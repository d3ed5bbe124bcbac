"""The whole-video column in closed form: attention planted on an event, that of other words elsewhere."""

import pytest
import torch

from imap.evaluation import scores
from imap.methods.layer_maps import LayerActivations, MapConfig, SlotWeights, layer_maps
from imap.methods.motion_heads import SCORES
from imap.methods.video_col import centred_columns

HEADS, FRAMES, SIZE = 3, 6, 6
EVENT, THING, GROUND = 0, 1, 2  # a thing that moves in two frames and rests in the others, on a ground
MOVING = slice(2, 4)


def planted():
    """Head outputs are unit vectors of the region; each key matches the tokens of its region, and no other."""
    region = torch.full((FRAMES, SIZE, SIZE), GROUND)
    region[:, 4:6, 0:2] = THING
    region[MOVING, 4:6, 0:2] = GROUND
    region[MOVING, 0:2, 0:2] = EVENT
    one_hot = torch.nn.functional.one_hot(region.flatten(1), 3).float()
    o = one_hot.expand(HEADS, *one_hot.shape).contiguous()
    return region, LayerActivations(1000 * o, o, torch.eye(3).expand(HEADS, 3, 3).contiguous())


@pytest.mark.parametrize("rivals_are_words", [True, False])
def test_a_word_lights_up_on_its_event_and_only_then(rivals_are_words):
    region, layer = planted()
    texts = SlotWeights(torch.ones(3), torch.eye(3), torch.ones(3), torch.eye(3), words=3)
    config = MapConfig(SCORES["CHI"], 1, standardize=False, softmax=False, rivals_are_words=rivals_are_words)
    got = layer_maps(layer, texts, config).maps["video_col"].reshape(3, FRAMES, SIZE, SIZE)
    share = torch.stack([(region == i).float().mean() for i in range(3)])
    # s = e_t - m and X = e_r - m with the mean m = (shares of the regions): <s, X> = [t = r] - m_t - m_r + |m|^2
    columns = torch.eye(3) - share[:, None] - share[None, :] + share.square().sum()
    for text in range(3):
        expected = columns[text][region]
        torch.testing.assert_close(got[text], (expected - expected.median()).clamp(min=0))
    event = got[EVENT].numpy()
    moving = torch.zeros(FRAMES, dtype=torch.bool)
    moving[MOVING] = True
    assert scores.temporal_correlation(event, moving.numpy()) > 0.99
    assert scores.average_precision(event, (region == EVENT).numpy()) == 1


def test_over_texts_an_event_differs_from_the_mean_text_by_a_known_amount():
    region, layer = planted()
    texts = SlotWeights(torch.ones(3), torch.eye(3), torch.ones(3), torch.eye(3))
    config = MapConfig(SCORES["CHI"], 1, standardize=True, softmax=False, rivals_are_words=False)
    got = layer_maps(layer, texts, config).maps["video_col"].reshape(3, FRAMES, SIZE, SIZE)
    for text in range(3):  # a column is 1 on its region and 0 elsewhere: mean 1/3, unbiased deviation 1/sqrt(3)
        # the ground is most of the video: above its value, the other texts have 3/sqrt(3) on their region
        expected = torch.where(region == text, 3 / 3**0.5, 0.0) if text != GROUND else torch.zeros_like(got[text])
        torch.testing.assert_close(got[text], expected, rtol=1e-5, atol=1e-5)


def test_a_common_output_of_all_tokens_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    o = torch.randn(2, 40, 8, generator=generator)
    weights = torch.rand(3, 40, generator=generator)
    weights /= weights.sum(dim=1, keepdim=True)
    shifted = centred_columns(o + torch.randn(2, 1, 8, generator=generator), weights)
    torch.testing.assert_close(shifted, centred_columns(o, weights), rtol=1e-4, atol=1e-5)
    exact = o.double() - o.double().mean(dim=1, keepdim=True)
    torch.testing.assert_close(
        centred_columns(o, weights).double(), (weights.double() @ exact) @ exact.mT, rtol=1e-4, atol=1e-5
    )


def test_gramcol_has_a_column_of_full_height_in_frames_without_the_word():
    """Why GramCol does not know when: it picks a surrogate in every frame (docs/when.md)."""
    _, layer = planted()
    texts = SlotWeights(torch.ones(3), torch.eye(3), torch.ones(3), torch.eye(3))
    config = MapConfig(SCORES["CHI"], 1, standardize=False, softmax=False)
    got = layer_maps(layer, texts, config).maps
    heights = got["imap"][EVENT].amax(dim=1) / HEADS
    assert torch.equal(heights, torch.ones(FRAMES))
    moving = torch.zeros(FRAMES, dtype=torch.bool)
    moving[MOVING] = True
    highest = got["video_col"][EVENT].amax(dim=1)
    assert highest[moving].min() > 2 * highest[~moving].max()
