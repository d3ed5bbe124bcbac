"""All maps of a layer against loops in float64, with every slot repeated as often as its weight says."""

import numpy as np
import pytest
import torch
from sklearn.metrics import calinski_harabasz_score

from imap.methods import chunking
from imap.methods.layer_maps import LayerActivations, MapConfig, SlotWeights, layer_maps
from imap.methods.motion_heads import SCORES, Score
from imap.methods.random_heads import random_heads_maps, random_order
from imap.methods.registry import MAPS

HEADS, FRAMES, PATCHES, WIDTH = 5, 3, 6, 4
CHI = SCORES["CHI"]
DRAWS = (1, 2, 3)
RULE = MapConfig(CHI, topk=2, standardize=True, softmax=False)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(slots, concepts=None):
    q = randn(HEADS, FRAMES, PATCHES, WIDTH)
    o = randn(HEADS, FRAMES, PATCHES, WIDTH, seed=1) + randn(HEADS, FRAMES, 1, WIDTH, seed=2)
    c = None if concepts is None else randn(HEADS, concepts, WIDTH, seed=4)
    return LayerActivations(q, o, randn(HEADS, slots, WIDTH, seed=3), c)


CONCEPT_WEIGHTS, CONCEPT_ROWS = torch.tensor([1.0, 1, 1, 9]), torch.eye(3, 4)  # three concepts, then padding
CONCEPT_TEXTS = SlotWeights(CONCEPT_WEIGHTS, CONCEPT_ROWS, CONCEPT_WEIGHTS, CONCEPT_ROWS)
# five prompt slots, the last of multiplicity 4; rows: the mean of two of them, one alone, a concept that is in none
PROMPT_WEIGHTS = torch.tensor([1.0, 1, 1, 1, 4, 0, 0, 0, 0])
PROMPT_ROWS = torch.zeros(3, 9)
PROMPT_ROWS[0, 1:3], PROMPT_ROWS[1, 3], PROMPT_ROWS[2, 7] = 0.5, 1, 1
BASELINE_WEIGHTS = torch.tensor([0.0, 0, 0, 0, 0, 1, 1, 1, 6])
BASELINE_ROWS = torch.cat([torch.zeros(3, 5), torch.eye(3, 4)], dim=1)
PROMPT_TEXTS = SlotWeights(PROMPT_WEIGHTS, PROMPT_ROWS, BASELINE_WEIGHTS, BASELINE_ROWS)
FIRST_TEXTS = SlotWeights(PROMPT_WEIGHTS, PROMPT_ROWS, BASELINE_WEIGHTS, BASELINE_ROWS, prompt=5)
CASES = {
    "concepts": (layer(4, 4), CONCEPT_TEXTS),
    "prompt": (layer(9, 4), PROMPT_TEXTS),
    "prompt-first": (layer(9, 4), FIRST_TEXTS),
    "cross": (layer(4), CONCEPT_TEXTS),
}


def repeated(weights):
    """The counted slots, each as often as its weight says."""
    return [t for t, weight in enumerate(weights.tolist()) for _ in range(int(weight))]


def softmax_over_texts(x, weights, axis):
    """A slot that is not counted gets what it would have as one text more."""
    total = np.exp(x.take(repeated(weights), axis=axis)).sum(axis=axis, keepdims=True)
    one_more = np.expand_dims(weights.numpy() == 0, tuple(a for a in range(x.ndim) if a != axis))
    return np.exp(x) / (total + one_more * np.exp(x))


def oracle(case, texts, rule):
    q, o, keys = (x.double().numpy() for x in (case.q, case.o, case.keys))
    slots = keys.shape[1]
    labels = np.repeat(np.arange(FRAMES), PATCHES)
    chi = np.array([calinski_harabasz_score(head.reshape(-1, WIDTH), labels) for head in o])
    heads = chi.argsort()[::-1][: rule.topk] if rule.topk > 0 else np.flatnonzero(chi > rule.score.threshold)
    z, logits = np.zeros((2, HEADS, slots, FRAMES, PATCHES))
    logits[:] = np.einsum("htd,hfpd->htfp", keys, q)
    for h in range(HEADS):
        for f in range(FRAMES):
            pick = (logits.mean(axis=0) if rule.consensus else logits[h])[:, f].argmax(axis=1)
            g = (o[h, f] @ o[h, f].T)[:, pick].T
            counted = g[repeated(texts.weights)]
            if not rule.standardize:
                z[h, :, f] = g
            elif len(set(pick[repeated(texts.weights)])) > 1:
                z[h, :, f] = (g - counted.mean(axis=0)) / (counted.std(axis=0, ddof=1) + 1e-6)
    attention = softmax_over_texts(logits * WIDTH**-0.5, texts.weights, axis=1)
    if rule.cross_attention_scale is not None:
        logits = softmax_over_texts(logits * rule.cross_attention_scale, texts.baseline_weights, axis=1)
    maps = {
        "imap": (z.sum(axis=0), texts.weights, texts.rows),
        "sel_imap": (z[heads].sum(axis=0) / max(len(heads), 1), texts.weights, texts.rows),
        **{
            f"random_heads_{draw}": (z[some].sum(axis=0) / max(len(heads), 1), texts.weights, texts.rows)
            for draw in DRAWS[: len(rule.maps) - len(MAPS)]
            for some in [np.flatnonzero(np.random.default_rng(draw).permutation(HEADS) < len(heads))]
        },
        "text_attention": (attention.mean(axis=0), texts.weights, texts.rows),
        "cross_attention_maps": (logits.mean(axis=0), texts.baseline_weights, texts.baseline_rows),
    }
    if case.concepts is not None:
        c = case.concepts.double().numpy()
        attention = np.zeros((slots, FRAMES, PATCHES))
        for h in range(HEADS):
            for t in range(c.shape[1]):
                attention[slots - c.shape[1] + t] += o[h] @ c[h, t]
        maps["concept_attention_maps"] = (attention, texts.baseline_weights, texts.baseline_rows)
    if rule.softmax:
        maps = {key: (softmax_over_texts(x, weights, 0), weights, rows) for key, (x, weights, rows) in maps.items()}
    reduced = {key: np.tensordot(rows.double().numpy(), x, 1) for key, (x, _, rows) in maps.items()}
    return reduced | {"video_col": video_col(q, o, keys, texts, rule)}, chi, heads


def video_col(q, o, keys, texts, rule):
    """Whole-video column, token by token and head by head."""
    rows, tokens = texts.rows.double().numpy(), FRAMES * PATCHES
    q, o = q.reshape(HEADS, tokens, WIDTH), o.reshape(HEADS, tokens, WIDTH)
    keys = np.einsum("rt,htd->hrd", rows, keys) if rule.rivals_are_words else keys
    weights = torch.ones(len(rows)) if rule.rivals_are_words else texts.weights
    logits = np.einsum("hkd,hnd->hkn", keys, q) / WIDTH**0.5
    among = softmax_over_texts(logits, weights, axis=1).mean(axis=0)
    inside = (np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)).mean(axis=0)
    share = (among * inside) ** 2
    share /= share.sum(axis=1, keepdims=True)
    total = np.zeros((len(rows), tokens))
    for h in range(HEADS):
        if rule.rivals_are_words or not rule.standardize:
            x = o[h] - o[h].mean(axis=0)
            columns = (share @ x) @ x.T
            total += columns if rule.rivals_are_words else rows @ columns
        else:
            columns = (share @ o[h]) @ o[h].T
            counted = columns[repeated(weights)]
            total += rows @ ((columns - counted.mean(axis=0)) / (counted.std(axis=0, ddof=1) + 1e-6))
    ground = np.sort(total, axis=1)[:, (tokens - 1) // 2, None]  # torch's median
    return np.maximum(total - ground, 0).reshape(len(rows), FRAMES, PATCHES) / HEADS


def assert_like_oracle(case, texts, rule):
    expected, chi, heads = oracle(case, texts, rule)
    got = layer_maps(case, texts, rule)
    np.testing.assert_allclose(got.scores.numpy(), chi, rtol=1e-5)
    assert got.chosen.nonzero().flatten().tolist() == sorted(heads)
    assert set(got.maps) == set(expected)
    for key, value in expected.items():
        assert got.maps[key].dtype == torch.float32 and got.maps[key].shape == value.shape
        np.testing.assert_allclose(got.maps[key].numpy(), value, rtol=1e-4, atol=1e-4 * value.std(), err_msg=key)


@pytest.fixture(params=[None, 1, 2], ids=["one-group", "head-by-head", "a-few-heads"])
def _groups(request, monkeypatch):
    if request.param:
        per_head = 4 * FRAMES * PATCHES * (2 * WIDTH + 3 * 9)
        monkeypatch.setattr(chunking, "working_set", lambda device: request.param * per_head)


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("softmax", [False, True], ids=["", "softmax"])
@pytest.mark.parametrize("standardize", [True, False], ids=["", "none"])
@pytest.mark.parametrize("consensus", [False, True], ids=["", "consensus"])
@pytest.mark.parametrize("rivals_are_words", [True, False], ids=["", "slots"])
@pytest.mark.parametrize("name", CASES)
def test_maps_of_a_layer_are_the_loops_whatever_the_head_groups(
    name, rivals_are_words, consensus, standardize, softmax
):
    scale = WIDTH**-0.5 if name == "cross" else None
    assert_like_oracle(*CASES[name], MapConfig(CHI, 2, standardize, softmax, consensus, scale, rivals_are_words))


@pytest.mark.usefixtures("_groups")
def test_a_threshold_keeps_the_heads_beyond_it():
    rule = MapConfig(Score(CHI.function, True, 3.0), -1, True, False)
    chosen = layer_maps(*CASES["concepts"], rule).chosen
    assert 0 < chosen.sum() < HEADS  # that is what this test is about
    assert_like_oracle(*CASES["concepts"], rule)


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("softmax", [False, True], ids=["", "softmax"])
@pytest.mark.parametrize(("score", "topk"), [(CHI, 2), (CHI, HEADS), (Score(CHI.function, True, 3.0), -1), (CHI, -1)])
def test_random_heads_are_as_many_as_motion_heads(score, topk, softmax):
    rule = MapConfig(score, topk, True, softmax, maps=(*MAPS, *random_heads_maps(len(DRAWS))))
    assert_like_oracle(*CASES["prompt"], rule)


def test_every_head_is_drawn_as_often_as_the_others():
    first = [int(random_order(12, draw, torch.device("cpu")).argmin()) for draw in range(1, 1201)]
    assert abs(np.bincount(first, minlength=12) - 100).max() < 40  # four standard deviations


def test_a_threshold_that_keeps_no_head_gives_a_zero_map_and_no_nan():
    got = layer_maps(*CASES["concepts"], MapConfig(CHI, -1, True, False))
    assert not got.chosen.any() and (got.maps["sel_imap"] == 0).all() and (got.maps["imap"] != 0).any()


def test_concepts_beside_a_prompt_move_no_row_of_the_prompt():
    case, texts = CASES["prompt"]
    keys = case.keys.clone()
    keys[:, 5:] = randn(HEADS, 4, WIDTH, seed=9)
    rule = MapConfig(CHI, 2, True, True)
    one, other = (
        layer_maps(case, texts, rule),
        layer_maps(LayerActivations(case.q, case.o, keys, case.concepts), texts, rule),
    )
    assert torch.equal(one.maps["imap"][:2], other.maps["imap"][:2])
    assert not torch.equal(one.maps["imap"][2], other.maps["imap"][2])


def test_half_precision_is_read_in_float32():
    case, texts = CASES["concepts"]
    half = LayerActivations(case.q.bfloat16(), case.o.bfloat16(), case.keys.bfloat16(), case.concepts)
    assert_like_oracle(half, texts, RULE)
