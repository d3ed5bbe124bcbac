"""lambda_2 of a pipeline's layers is that of its own attention matrices; layers are chosen by it."""

import numpy as np
import pytest
import torch

import imap
from imap.backbones import backbone_of
from imap.errors import ImapError
from imap.layers import LayerChoice, Spectrum, choose_once
from tests.conftest import FAMILIES, PROMPT
from tests.test_tracing import call, state_of


def dense(query, key, mask):
    """|lambda_2| of each head of full attention matrices, in float64."""
    logits = (query.double() @ key.double().mT) * query.shape[-1] ** -0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    values = np.linalg.eigvals(logits.softmax(dim=-1).numpy())
    return np.sort(np.abs(values), axis=-1)[:, -2]


@pytest.mark.parametrize("family", FAMILIES)
def test_lambda_2_is_that_of_the_models_own_attention(pipes, family, monkeypatch):
    pipe = pipes(family)
    backbone = backbone_of(pipe)
    seen, inside, plain = {}, [], torch.nn.functional.scaled_dot_product_attention

    def recorded(query, key, value, attn_mask=None, **more):
        if inside and query.shape[-2] == key.shape[-2]:
            mask = None if attn_mask is None else attn_mask[-1]
            seen.setdefault(inside[0], []).append((query[-1], key[-1], mask))
        return plain(query, key, value, attn_mask=attn_mask, **more)

    handles = []
    for layer, block in enumerate(backbone.blocks):
        handles.append(block.register_forward_pre_hook(lambda *_, layer=layer: inside.append(layer)))
        handles.append(block.register_forward_hook(lambda *_: inside.clear()))
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    with Spectrum(backbone, 1) as spectrum:
        call(pipe, steps=3)
    monkeypatch.undo()
    for handle in handles:
        handle.remove()

    found, calls = spectrum.choice(), 2 if family == "wan" else 1  # Wan's guidance is a second call
    assert sorted(found.lambda_2) == sorted(seen) == list(range(backbone.num_layers))
    for layer, attentions in seen.items():
        assert len(attentions) <= 2 * calls  # the third step was not run
        expected = dense(*attentions[calls])
        np.testing.assert_allclose(found.lambda_2[layer], expected, atol=1e-3, err_msg=f"layer {layer}")


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_behind_and_the_next_video_is_the_same(pipes, family):
    pipe = pipes(family)
    plain = call(pipe)
    before = state_of(pipe.transformer)
    with Spectrum(backbone_of(pipe), 0), imap.trace(pipe, PROMPT, ["ball", "dog"]):
        call(pipe)
    with pytest.raises(RuntimeError, match="on purpose"), Spectrum(backbone_of(pipe), 1):
        call(pipe, callback_on_step_end=failing)
    assert state_of(pipe.transformer) == before
    assert torch.equal(plain, call(pipe))


def failing(*_):
    raise RuntimeError("on purpose")


def test_layers_above_the_threshold_are_chosen_else_the_better_half():
    values = {0: [0.9, 0.7], 1: [0.5, 0.6], 2: [0.71, 0.71]}
    assert LayerChoice(values, 0.7, 3).layers == [0, 2]
    assert "above 0.7" in str(LayerChoice(values, 0.7, 3)) and "0: 0.80, 1: 0.55" in str(LayerChoice(values, 0.7, 3))
    assert LayerChoice(values, 0.95, 3).layers == [0, 2]  # two of three
    assert "none is above 0.95" in str(LayerChoice(values, 0.95, 3))


def test_a_choice_is_measured_once(tmp_path):
    choice = LayerChoice({0: [0.25, 0.5], 1: [0.75, 1.0]}, 0.7, 2)
    assert choose_once(tmp_path / "layers.json", lambda: choice) == choice
    again = choose_once(tmp_path / "layers.json", lambda: pytest.fail("measured again"))
    assert again == choice and again.layers == [1]


def test_a_step_that_does_not_come_is_an_error(pipes):
    pipe = pipes("cogvideox")
    with pytest.raises(ImapError, match="names step 5"), Spectrum(backbone_of(pipe), 5):
        call(pipe)
    with Spectrum(backbone_of(pipe), 1) as spectrum:
        pass
    with pytest.raises(ImapError, match="was not read at step 1"):
        spectrum.choice()
