"""Agreement of a map with an effect, against scikit-learn and by construction."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from imap.evaluation.faithfulness import TOP, TOP_FRAMES, faithfulness, faithfulness_by_text


@pytest.fixture
def effect():
    return np.random.default_rng(0).gamma(0.5, size=(7, 8, 8))


def test_an_increasing_function_of_the_effect_agrees_in_all(effect):
    cells = faithfulness(effect**3 + 2, effect)
    assert cells["rank"] == pytest.approx(1) and cells["ap"] == 1
    same = faithfulness(effect, effect)
    assert {round(x, 9) for x in same.values()} == {1.0}
    opposite = faithfulness(-effect, effect)
    assert [opposite[name] for name in ("rank", "rank_space", "rank_time")] == pytest.approx([-1] * 3)


def test_the_top_share_is_what_scikit_learn_scores(effect):
    x = np.random.default_rng(1).normal(size=effect.shape) + effect
    top = effect.ravel() >= np.sort(effect.ravel())[-round(TOP * effect.size)]
    assert faithfulness(x, effect)["ap"] == pytest.approx(average_precision_score(top, x.ravel()))
    places = effect.mean(axis=0).ravel()
    top = places >= np.sort(places)[-round(TOP * places.size)]
    assert faithfulness(x, effect)["ap_space"] == pytest.approx(average_precision_score(top, x.mean(axis=0).ravel()))
    frames, count = effect.mean(axis=(1, 2)), round(TOP_FRAMES * len(effect))
    top = frames >= np.sort(frames)[-count]
    assert count == 2
    assert faithfulness(-x, effect)["ap_time"] == pytest.approx(average_precision_score(top, -x.mean(axis=(1, 2))))


def test_where_and_when_are_scored_apart(effect):
    place, time = effect.mean(axis=0, keepdims=True), effect.mean(axis=(1, 2), keepdims=True)
    where, when = faithfulness(np.broadcast_to(place, effect.shape), effect), faithfulness(time + 0 * effect, effect)
    assert where["rank_space"] == pytest.approx(1) and np.isnan(where["rank_time"])
    assert when["rank_time"] == pytest.approx(1) and np.isnan(when["rank_space"])


def test_a_constant_map_has_no_score_and_is_recorded_as_none(effect):
    scores = faithfulness_by_text({"flat": np.ones((1, *effect.shape))}, effect[None], ["ball"])
    assert set(scores["ball"]["flat"].values()) == {None}
