"""Every family against its stock pipeline and a float64 reference of its maps, without a line for the family here."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.families import checks
from benchmarks.families.__main__ import cells, checked, table
from benchmarks.families.checks import BOUNDS, Renoising, check_maps, error, measure, untied
from tests.shared import EVERY_FAMILY, NOT_RENOISED


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_bits_maps_and_noise_are_right(pipes, family):
    row = measure(pipes(family))
    assert row.faults == []
    assert isinstance(row.renoising, Renoising) == (family not in NOT_RENOISED)


@pytest.mark.slow
def test_another_slot_layer_step_or_video_is_found(pipes):
    pipe = pipes("cogvideox")
    seed, run = untied(pipe)
    wrong = {
        "slot": replace(run, spans=[[slot + 1 for slot in span] for span in run.spans]),
        "layer": replace(run, layers=[layers[::-1] for layers in run.layers]),
        "step": replace(run, layers=run.layers[::-1]),
    }
    for name, other in wrong.items():
        found = check_maps(pipe, other, seed, "prompt")
        keys = ("imap", "video_col") if name == "slot" else found.errors
        assert found.same_bits and all(found.errors[key] > 5 * BOUNDS[key] for key in keys), name
    assert not check_maps(pipe, replace(run, latents=run.latents + 1e-6), seed, "concepts").same_bits
    with pytest.raises(ValueError, match=r"\(step, layer\) read"):
        check_maps(pipe, replace(run, layers=[layers[:-1] for layers in run.layers]), seed, "concepts")


def test_faults_name_what_is_wrong():
    maps = checks.Maps(True, dict.fromkeys(BOUNDS, 0.0))
    row = checks.Row("mochi", 37, True, {"prompt": maps, "concepts": maps}, Renoising(0.0, 1e-7), 1.0)
    assert row.faults == []
    assert replace(row, renoising=Renoising(1.0, float("nan"))).faults == [
        "renoising: timestep off by 1.0",
        "renoising: latents off by nan",
    ]
    wrong = checks.Maps(False, {**maps.errors, "imap": float("nan")})
    assert replace(row, maps={"prompt": maps, "concepts": wrong}).faults == [
        "other latents with target concepts",
        "target concepts: imap is off by nan deviations",
    ]
    fewer = checks.Maps(True, {"imap": 0.0})
    assert "target prompt: maps ['imap'], expected" in replace(row, maps={"prompt": fewer}).faults[0]


def test_an_error_is_measured_in_deviations_of_each_word():
    expected = np.stack([np.arange(6.0), 10 * np.arange(6.0)]).reshape(2, 2, 3)
    got = expected + np.array([0.0, 1.0])[:, None, None]
    assert error(got, expected) == pytest.approx(1 / (10 * np.arange(6.0).std()))
    assert error(np.zeros((1, 2, 3)), np.zeros((1, 2, 3))) == 0
    assert error(np.ones((1, 2, 3)), np.zeros((1, 2, 3))) == np.inf
    assert np.isnan(error(np.full((1, 2, 3), np.nan), expected[:1]))


@pytest.mark.slow
def test_a_family_without_an_independent_concept_stream_says_so(pipes, monkeypatch):
    monkeypatch.setattr(checks, "BY_HAND", frozenset({"mochi"}))
    row = measure(pipes("mochi"))
    assert row.faults == [] and set(row.maps["prompt"].errors) == {"imap", "video_col"}
    assert cells(row)["cross attention"] == "by hand in tests"
    assert cells(row)["GramCol"].endswith(" / by hand in tests")


def test_a_broken_family_is_a_row_with_its_error(monkeypatch):
    monkeypatch.setattr("benchmarks.families.__main__.measure", lambda pipe: torch.ones(2).view(3))
    found, faults = checked("wan")
    assert found == {"family": "wan"} and faults[0].startswith("RuntimeError: shape '[3]' is invalid")
    assert table([found, {"family": "ltx", "lines": "44"}]).splitlines()[2:] == ["| wan | - |", "| ltx | 44 |"]
