"""The method finds planted maps, scores and motion heads exactly."""

import pytest
import torch

from imap.methods.layer_maps import MapConfig, layer_maps
from imap.methods.motion_heads import SCORES
from imap.testing.planted import planted


@pytest.mark.parametrize("consensus", [False, True])
@pytest.mark.parametrize(("frames", "size", "heads", "motion"), [(5, 6, 4, 2), (3, 8, 7, 1), (13, 5, 3, 3)])
def test_planted_maps_scores_and_heads_are_found(frames, size, heads, motion, consensus):
    case = planted(frames, size, heads, motion)
    got = layer_maps(case.layer, case.texts, MapConfig(SCORES["CHI"], motion, True, False, consensus))
    torch.testing.assert_close(got.maps["imap"], case.gramcol, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got.maps["sel_imap"], case.imap, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got.scores, case.chi, rtol=1e-4, atol=1e-5)
    assert tuple(got.chosen.nonzero().flatten().tolist()) == case.motion_heads


def test_every_patch_belongs_to_one_text():
    case = planted()
    assert case.gramcol.max() == pytest.approx(4 * 2 / 3**0.5)
    assert case.gramcol.min() == pytest.approx(-4 / 3**0.5)
    assert ((case.gramcol > 0).sum(dim=0) == 1).all()
    assert (case.gramcol[0, 0] > 0).nonzero().flatten().tolist() == [0, 1, 6, 7]
