"""lambda_2 of a pipeline's layers is that of its own attention matrices; layers are chosen by it."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.attention import SDPBackend, sdpa_kernel

import imap
from imap.backbones import backbone_of
from imap.config.model import model_settings
from imap.config.run import run_settings
from imap.errors import ImapError
from imap.runs.plan import check_model
from imap.testing import tiny
from imap.tracing.layer_choice import Lambda2Probe, LayerChoice, _of_attention, choose_once
from tests.shared import EVERY_FAMILY, FAMILIES, PROMPT, TWO_CALLS, composed, sizes_of
from tests.tracing.test_trace import call, state_of


def dense(query, key, mask):
    """|lambda_2| of each head of full attention matrices, in float64."""
    logits = (query.double() @ key.double().mT) * query.shape[-1] ** -0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    # a row of padded text that sees nothing is zero, and so is its eigenvalue
    values = np.linalg.eigvals(logits.softmax(dim=-1).nan_to_num(0).numpy())
    return np.sort(np.abs(values), axis=-1)[:, -2]


LINEAR = "sana_video"  # whose attention over the video has no matrix
WITH_LAMBDA_2 = [x for x in EVERY_FAMILY if LINEAR not in (x if isinstance(x, str) else x.values)]


@pytest.mark.skipif(LINEAR not in tiny.FURTHER, reason="this diffusers has no Sana-Video")
def test_layers_of_linear_attention_cannot_be_chosen(pipes):
    config = composed("sampling", "backbone=sana_video_2b", f"backbone.path={tiny.folder(LINEAR)}")
    config = OmegaConf.to_container(config, resolve=True)
    config["backbone"]["paper"] |= {"imap_layer": [0, 1], "imap_sep_topk": 2}  # of the tiny model
    config["imap_layer"] = "auto"
    run = run_settings(config, False)
    with pytest.raises(ImapError, match="list its layers in imap_layer instead of imap_layer=auto"):
        check_model(config, model_settings(config["backbone"]), run, False)
    with pytest.raises(ImapError, match="that of sana_video is linear"):
        Lambda2Probe(backbone_of(pipes(LINEAR)), 1)


@pytest.mark.parametrize("family", WITH_LAMBDA_2)
def test_lambda_2_is_that_of_the_models_own_attention(pipes, family, monkeypatch):
    pipe = pipes(family)
    backbone = backbone_of(pipe)
    seen, inside, plain = {}, [], torch.nn.functional.scaled_dot_product_attention

    def recorded(query, key, value, attn_mask=None, **more):
        if inside and query.shape[-2] == key.shape[-2] >= 18:  # of the video; LTX-2 has sound beside
            mask = None if attn_mask is None else attn_mask[-1]
            seen.setdefault(inside[0], []).append((query[-1], key[-1], mask))
        return plain(query, key, value, attn_mask=attn_mask, **more)

    handles = []
    for part in backbone.parts:
        for layer, block in enumerate(part.blocks):
            handles.append(block.register_forward_pre_hook(lambda *_, layer=layer: inside.append(layer)))
            handles.append(block.register_forward_hook(lambda *_: inside.clear()))
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    with Lambda2Probe(backbone, 1) as spectrum:
        call(pipe, steps=3, **sizes_of(family))
    monkeypatch.undo()
    for handle in handles:
        handle.remove()

    found, calls = spectrum.choice(), 1
    if (family.startswith(TWO_CALLS) or family == "mochi") and family != "hunyuan_skyreels_i2v":  # unguided as called
        calls = 2
    calls = 3 if family.startswith("ltx2") else calls
    assert sorted(found.lambda_2) == sorted(seen) == list(range(backbone.num_layers))
    for layer, attentions in seen.items():
        assert len(attentions) <= 2 * calls  # the third step was not run
        expected = dense(*attentions[calls + (family == "mochi")])  # whose conditional row comes second
        np.testing.assert_allclose(found.lambda_2[layer], expected, atol=1e-3, err_msg=f"layer {layer}")


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_behind_and_the_next_video_is_the_same(pipes, family):
    pipe = pipes(family)
    plain = call(pipe)
    before = state_of(pipe.transformer)
    with Lambda2Probe(backbone_of(pipe), 0), imap.trace(pipe, PROMPT, ["ball", "dog"]):
        call(pipe)
    with pytest.raises(RuntimeError, match="on purpose"), Lambda2Probe(backbone_of(pipe), 1):
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


def test_a_choice_is_measured_once_for_a_model_and_its_settings(tmp_path):
    path = tmp_path / "layers.json"
    choice, other = LayerChoice({0: [0.25, 0.5], 1: [0.75, 1.0]}, 0.7, 2), LayerChoice({0: [0.9]}, 0.7, 2)
    assert choose_once(path, {"model": "a"}, lambda: choice) == choice
    again = choose_once(path, {"model": "a"}, lambda: pytest.fail("measured again"))
    assert again == choice and again.layers == [1]
    assert choose_once(path, {"model": "b"}, lambda: other) == other
    assert choose_once(path, {"model": "b"}, lambda: pytest.fail("measured again")) == other


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"lambda_2": 3, "of": {}}'])
def test_another_file_in_its_place_is_told(tmp_path, text):
    (tmp_path / "layers.json").write_text(text)
    with pytest.raises(ImapError, match=r"layers.json is not what imap_layer=auto has written"):
        choose_once(tmp_path / "layers.json", {}, lambda: pytest.fail("measured"))


@pytest.mark.slow
def test_wans_attention_to_as_many_text_slots_as_there_are_patches_is_no_part_of_it(pipes, monkeypatch):
    pipe = pipes("wan")
    size = {"height": 128, "width": 128, "num_frames": 29}  # 8 latent frames of 8x8 patches: 512, as the text slots
    with Lambda2Probe(backbone_of(pipe), 0) as spectrum:
        call(pipe, steps=1, guidance_scale=1.0, **size)
    seen, plain = [], torch.nn.functional.scaled_dot_product_attention

    def recorded(query, key, value, **more):
        seen.append((query[-1], key[-1], None))
        return plain(query, key, value, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    call(pipe, steps=1, guidance_scale=1.0, **size)
    own = [x for x in seen if x[0].shape[1] == x[1].shape[1] == 512][-2 * backbone_of(pipe).num_layers :]
    assert len(own) == 2 * backbone_of(pipe).num_layers
    np.testing.assert_allclose(spectrum.choice().lambda_2[0], dense(*own[0]), atol=1e-3)
    assert np.abs(dense(*own[0]) - dense(*own[1])).max() > 1e-2


def test_statistics_are_float32_whatever_the_model_runs_in(pipes):
    pipe = pipes("cogvideox")
    with Lambda2Probe(backbone_of(pipe), 0) as plain:
        call(pipe, steps=1)
    with torch.autocast("cpu", dtype=torch.bfloat16), Lambda2Probe(backbone_of(pipe), 0) as mixed:
        call(pipe, steps=1)
    for layer, values in plain.choice().lambda_2.items():
        np.testing.assert_allclose(mixed.choice().lambda_2[layer], values, atol=0.02)
    q, k = (torch.randn(2, 90, 16, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        inside = _of_attention(q, k, None)
    torch.testing.assert_close(inside, _of_attention(q, k, None), atol=1e-5, rtol=0)


def test_a_step_that_does_not_come_is_an_error(pipes):
    pipe = pipes("cogvideox")
    with pytest.raises(ImapError, match="names step 5"), Lambda2Probe(backbone_of(pipe), 5):
        call(pipe)
    with Lambda2Probe(backbone_of(pipe), 1) as spectrum:
        pass
    with pytest.raises(ImapError, match="was not read at step 1"):
        spectrum.choice()


def test_a_probe_that_cannot_start_leaves_no_hook(pipes, monkeypatch):
    backbone = backbone_of(pipes("wan"))

    def fails(*_, **__):
        raise RuntimeError("no hook")

    probe = Lambda2Probe(backbone, 0)
    monkeypatch.setattr(backbone.blocks[-1], "register_forward_hook", fails)
    with pytest.raises(RuntimeError, match="no hook"), probe:
        pass
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.transformer.modules())
