"""Maps of a user's own: computed on the device, averaged, saved and loaded like the registered ones."""

import numpy as np
import pytest
import torch

import imap
from imap.methods.registry import MAPS, check_maps, default_key, labels
from tests.shared import FAMILIES, PROMPT, SIZES


def mean_logits(heads, rows):
    return rows(heads.logits).sum(dim=0) / heads.count


def doubled_gramcol(heads, rows):
    return 2 * heads.columns.sum(dim=0)


LOGITS = imap.SaliencyMap("mean_logits", "mean logits", mean_logits, slots="baseline")
DOUBLED = imap.SaliencyMap("doubled", "GramCol, doubled", doubled_gramcol)


def traced(pipe, maps, **settings):
    with imap.trace(pipe, PROMPT, ["ball", "dog"], ["rolling"], maps=maps, **settings) as trace:
        pipe(prompt=PROMPT, num_inference_steps=2, **SIZES, generator=torch.Generator().manual_seed(0))
    return trace.maps()


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_users_map_is_accumulated_like_the_registered_ones(pipes, family, softmax):
    maps = traced(pipes(family), [LOGITS, DOUBLED], softmax=softmax)
    assert set(maps) >= {"doubled", "doubled_layers", "mean_logits", "mean_logits_layers"}
    if not softmax:
        np.testing.assert_allclose(maps["doubled_layers"], 2 * maps["imap_layers"], rtol=1e-5)
    if family != "wan" and not softmax:  # whose cross attention is the mean of plain logits
        np.testing.assert_allclose(maps["mean_logits"], maps["cross_attention_maps"], rtol=1e-5, atol=1e-6)
    assert maps["doubled"].dtype == np.float32 and maps["doubled"].shape == maps["imap"].shape
    assert maps.labels["doubled_layers"] == "GramCol, doubled"


def test_without_maps_of_the_users_own_no_label_is_recorded(pipes):
    assert traced(pipes("wan"), []).labels == {}


def test_a_renoised_clip_takes_a_users_map(pipes):
    clip = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
    call = {"prompt": PROMPT, "concepts": ["ball", "dog"], "num_inference_steps": 4, "renoise_timestep": 2}
    maps = imap.renoise(pipes("wan"), clip, **call, maps=[DOUBLED]).maps
    np.testing.assert_allclose(maps["doubled"], 2 * maps["imap"], rtol=1e-5)


def test_a_users_map_is_saved_and_loaded_with_its_label(pipes, tmp_path):
    maps = traced(pipes("wan"), [DOUBLED])
    loaded = imap.Maps.load(maps.save(tmp_path / "maps"))
    np.testing.assert_array_equal(loaded["doubled_layers"], maps["doubled_layers"])
    assert loaded.labels == maps.labels and (tmp_path / "maps/npy/doubled.npy").is_file()


def test_a_map_of_concept_slots_is_left_out_where_text_has_no_head_output(pipes):
    own = imap.SaliencyMap("own", "own", lambda heads, rows: rows(heads.concepts @ heads.o.mT).sum(0), slots="concepts")
    with pytest.raises(imap.ImapError, match="returned"):  # (h, f, ...) and not (f, rows, patches)
        traced(pipes("cogvideox"), [imap.SaliencyMap("bad", "bad", lambda heads, rows: heads.logits)])
    assert "own" not in traced(pipes("wan"), [own])


def test_after_a_map_function_that_fails_nothing_is_left_on_the_pipeline(pipes):
    pipe = pipes("wan")

    def fails(heads, rows):
        raise RuntimeError("a slip")

    with pytest.raises(RuntimeError, match="a slip"):
        traced(pipe, [imap.SaliencyMap("bad", "bad", fails)])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipe.transformer.modules())
    assert set(traced(pipe, [])) == {key for key in labels() if not key.startswith(("concept_attention", "effect"))}


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([imap.SaliencyMap("imap", "mine", mean_logits)], "the key 'imap' of maps= is taken"),
        ([LOGITS, LOGITS], "'mean_logits' of maps= is taken"),
        ([mean_logits], "takes imap.SaliencyMap objects"),
    ],
)
def test_maps_that_cannot_be_told_apart_are_refused_before_anything_runs(pipes, maps, message):
    with pytest.raises(imap.ImapError, match=message):
        imap.trace(pipes("wan"), concepts=["ball", "dog"], maps=maps)


@pytest.mark.parametrize("key", ["", "a b", "x_layers", "../x"])
def test_a_key_that_is_no_file_name_is_refused(key):
    with pytest.raises(imap.ImapError, match="must be letters"):
        imap.SaliencyMap(key, "mine", mean_logits)


def test_unknown_slots_are_refused():
    with pytest.raises(imap.ImapError, match="slots='all' .* texts, words, baseline, concepts"):
        imap.SaliencyMap("mine", "mine", mean_logits, slots="all")


def test_every_registered_map_has_a_label_and_a_function():
    assert default_key("motions") == "sel_imap_layers" and default_key("things") == "imap_layers"
    assert next(iter(labels())) == "sel_imap_layers" and labels()["imap"] == "GramCol, all layers"
    assert all(callable(entry.resolve()) for entry in MAPS) and check_maps([]) == MAPS


@pytest.mark.parametrize("family", FAMILIES)
def test_a_map_that_writes_into_its_inputs_changes_no_video_and_no_other_map(pipes, family):
    def writes(heads, rows):
        for x in (heads.q, heads.o, heads.keys, heads.weights, heads.baseline_weights, heads.motion_share):
            x.mul_(0)
        return rows(heads.logits).sum(dim=0)

    def video(maps):
        generator = torch.Generator().manual_seed(0)
        call = {"num_inference_steps": 2, **SIZES, "output_type": "latent", "generator": generator}
        with imap.trace(pipes(family), PROMPT, ["ball", "dog"], maps=maps) as trace:
            frames = pipes(family)(prompt=PROMPT, **call).frames
        return frames, trace.maps()

    frames, maps = video([])
    again, others = video([imap.SaliencyMap("writes", "writes", writes, slots="baseline")])
    assert torch.equal(frames, again)
    assert all(np.array_equal(maps[key], others[key]) for key in maps)


@pytest.mark.parametrize(
    ("key", "label"), [("gramcol", "mine"), ("IMAP", "mine"), ("mine", "IMAP"), ("cross", "Cross Attention")]
)
def test_a_name_of_a_registered_map_is_refused(pipes, key, label):
    with pytest.raises(imap.ImapError, match="has the name of a registered map"):
        imap.trace(pipes("wan"), concepts=["ball", "dog"], maps=[imap.SaliencyMap(key, label, mean_logits)])


@pytest.mark.parametrize(
    ("maps", "reason"),
    [
        (7, "takes imap.SaliencyMap objects"),
        ([imap.SaliencyMap("a", "same", mean_logits), imap.SaliencyMap("b", "Same", mean_logits)], "the same label"),
        ([imap.SaliencyMap("a", "a", "no_such_module:f")], "is not a function"),
        ([imap.SaliencyMap("a", "a", "math:no_such_name")], "is not a function"),
        ([imap.SaliencyMap("a", "a", mean_logits, shows="motions")], "only registered maps"),
    ],
)
def test_maps_that_cannot_be_computed_are_refused_before_anything_runs(pipes, maps, reason):
    with pytest.raises(imap.ImapError, match=reason):
        imap.trace(pipes("wan"), concepts=["ball", "dog"], maps=maps)


def test_a_single_map_and_none_are_taken(pipes):
    assert check_maps(None) == MAPS and check_maps(LOGITS) == (*MAPS, LOGITS)


def test_not_finite_values_of_a_users_map_are_its_own_fault(pipes):
    bad = imap.SaliencyMap("bad", "bad", lambda heads, rows: rows(heads.logits).sum(dim=0) * float("nan"))
    with pytest.raises(imap.ImapError, match="bad, bad_layers are not finite: their own function"):
        traced(pipes("wan"), [bad])
