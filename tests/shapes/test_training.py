"""Training goes on where it stopped, its figures of merit tell right from wrong, and its end is a pipeline to load."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from torch import nn

from imap.backbones import backbone_of
from imap.config.model import model_settings
from imap.config.presets import config_folder
from imap.errors import ImapError
from imap.runs.checkpoint import read_checkpoint
from imap.runs.loading import load
from imap.shapes.models import RECIPES
from imap.shapes.training import autoencoder as autoencoder_module
from imap.shapes.training import fit as fit_module
from imap.shapes.training import latent_cache as bank_module
from imap.shapes.training import sample_grid
from imap.shapes.training.autoencoder import anchors, kl
from imap.shapes.training.caption_fidelity import shares
from imap.shapes.training.caption_sensitivity import LEVELS, caption_gap, captions, verb_gap
from imap.shapes.training.checks import AUTOENCODER_SEEDS
from imap.shapes.training.denoiser import optimizers
from imap.shapes.training.fit import Fit, adamw
from imap.shapes.training.latent_cache import bank
from imap.shapes.training.muon import Muon, orthogonal
from imap.shapes.training.run import HELD_OUT, STATISTICS, set_statistics, train
from imap.shapes.training.start import take_text_encoders, take_weights
from imap.shapes.world.drawing import draw, to_video
from imap.shapes.world.scenes import MOVING, NOUNS, VERBS, VERSION, Conditions, Scene, Thing, scenes
from imap.shapes.world.split import SPLITS

CLIP = (9, 32, 32)
SHARD = 8


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(bank_module, "SHARD", SHARD)
    monkeypatch.setattr(sample_grid, "STEPS", 2)


def fitted(path, steps, stop=None, lr=0.2):
    """Fit of a line, that may be interrupted after some steps."""
    torch.manual_seed(0)
    line = nn.Linear(3, 1)
    trained = [Muon([line.weight], lr), adamw([line.bias], 0.1)]
    fit = Fit(line, path, steps, trained, {"steps": steps, "lr": lr}, ema=0.9, anneal=0.5)

    def loss_of(step):
        if step == stop:
            raise KeyboardInterrupt
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        return (fit.module(x) - x.sum(dim=1, keepdim=True)).square().mean()

    try:
        fit.run(loss_of)
    except KeyboardInterrupt:
        fit.save()
    return fit


def test_a_run_that_was_stopped_gives_the_weights_of_one_that_was_not(tmp_path):
    whole = fitted(tmp_path / "whole.pt", 40)
    assert fitted(tmp_path / "stopped.pt", 40, stop=17).step == 17
    resumed = fitted(tmp_path / "stopped.pt", 40)
    assert resumed.step == 40 and len(resumed.losses) == 40
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.mean.parameters(), resumed.mean.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.stack(resumed.losses[-5:]).mean() < 0.3 * torch.stack(resumed.losses[:5]).mean()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_a_run_goes_on_with_more_steps_and_not_with_other_settings(tmp_path):
    fitted(tmp_path / "line.pt", 10)
    assert fitted(tmp_path / "line.pt", 20).step == 20
    with pytest.raises(ImapError, match=r"was trained with .*0\.2.* and .*0\.3.* set another output_dir"):
        fitted(tmp_path / "line.pt", 20, lr=0.3)
    with pytest.raises(ImapError, match="has had 20 steps, more than the 15 that are asked for"):
        fitted(tmp_path / "line.pt", 15)


def test_a_finished_run_that_goes_on_has_the_rates_of_the_longer_one(tmp_path):
    fitted(tmp_path / "line.pt", 10)
    longer = fitted(tmp_path / "line.pt", 40, stop=10)
    rates = [group["lr"] for x in longer.optimizers for group in x.param_groups]
    assert rates == pytest.approx([0.2 * 11 / 40, 0.1 * 11 / 40])


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (12, 12)])
def test_muon_keeps_the_directions_of_a_matrix_and_evens_out_their_lengths(shape):
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    lengths = torch.linspace(1, 0.1, 12, dtype=torch.float64)
    factors = u.mT @ orthogonal(7 * u @ lengths.diag() @ v) @ v.mT
    assert torch.allclose(factors, factors.diagonal().diag(), atol=1e-9)
    assert factors.diagonal().min() > 0.65 and factors.diagonal().max() < 1.25


def test_muon_is_torchs_but_for_its_rounding():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(20, 5)) for _ in range(2))
    mine = Muon([ours], lr=0.1, weight_decay=0.2)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(20, 5)
        mine.step()
        reference.step()
    assert (ours - theirs).abs().max() < 0.01 < (ours - 1).abs().mean()


@pytest.mark.parametrize("family", RECIPES)
def test_matrices_of_the_blocks_are_trained_with_muon_and_all_else_with_adamw(family):
    transformer = RECIPES[family].build(0).transformer
    names = {id(weight): name for name, weight in transformer.named_parameters()}
    muon, other = (
        {names[id(weight)] for group in optimizer.param_groups for weight in group["params"]}
        for optimizer in optimizers(transformer, 1.0, 1.0)
    )
    assert any("to_q" in name for name in muon) and any("ff" in name for name in muon)
    assert not any("norm" in name or "embed" in name for name in muon)
    trained = {name for name, x in transformer.named_parameters() if x.requires_grad}
    assert "proj_out.weight" in other and not muon & other and muon | other == trained


def test_altered_captions_alter_what_they_say_and_nothing_else():
    for scene in scenes(0, 60):
        found = captions(scene)
        split = {kind: [part.split() for part in text.split(" while ")] for kind, text in found.items() if text}
        true, nouns, verbs = split["true"], split["wrong nouns"], split["wrong verbs"]
        assert found["true"] == scene.caption and found["empty"] == ""
        assert [x[2] for x in nouns] == [x[2] for x in true] and not {x[1] for x in nouns} & {x[1] for x in true}
        assert [x[1] for x in verbs] == [x[1] for x in true] and not {x[2] for x in verbs} & {x[2] for x in true}
        assert [x[2] for x in split["exchanged verbs"]] == [x[2] for x in true][::-1]
        assert (true[0][1] == true[1][1]) == (nouns[0][1] == nouns[1][1])  # twins stay twins


@pytest.fixture(scope="module")
def asked():
    return sample_grid.captions_to_sample(20)


@pytest.fixture(scope="module")
def videos(asked):
    return draw(asked, 25, 64, 64).frames.numpy()


def test_true_videos_obey_their_captions_with_and_without_noise(videos, asked):
    noise = np.random.default_rng(0).normal(0, 15, videos.shape)
    for shown in (videos, np.clip(videos + noise, 0, 255).astype(np.uint8)):
        assert set(shares(sample_grid.judged(shown, asked)).values()) == {1.0}


def test_videos_that_stand_still_are_upside_down_or_show_others_do_not(videos, asked):
    still = shares(sample_grid.judged(np.repeat(videos[:, :1], 25, axis=1), asked))
    assert still["present"] == 1 and still["obeys, stays"] == 1
    assert all(still[f"obeys, {verb}"] == 0 for verb in MOVING)
    turned = shares(sample_grid.judged(videos[:, :, ::-1], asked))
    assert turned["obeys, jumps"] == turned["obeys, dips"] == 0
    assert turned["obeys, flashes"] == turned["obeys, grows"] == turned["obeys, stays"] == 1
    others = sample_grid.judged(np.roll(videos, 1, axis=0), asked)
    assert shares(others)["obeys"] < 0.25
    assert shares(sample_grid.judged(np.zeros_like(videos), asked)) == pytest.approx(
        {"present": 0, "obeys": 0, "obeys and does nothing else": 0, **{f"obeys, {verb}": 0 for verb in VERBS}}
    )


def test_what_does_two_things_obeys_either_but_not_alone():
    video = np.full((25, 64, 64, 3), 40, np.uint8)
    video[:, 28:36, 8:16] = NOUNS["ball"]
    video[6:19, 28:36, 8:16] = 40
    video[6:19, 4:18, 5:19] = NOUNS["ball"]  # goes up, and is larger there
    video[:, 28:36, 44:52] = NOUNS["box"]
    for verb in ("jumps", "grows"):
        scene = Scene((Thing("ball", verb, 0.2, 0.2, 0.7), Thing("box", "stays", 0.7, 0.2, 0.7)), (40, 40, 40))
        ball, box = sample_grid.judged(video[None], [scene])
        assert ball.obeys and not ball.alone and box.obeys and box.alone
        found = shares([ball, box])
        assert (found["obeys"], found["obeys and does nothing else"]) == (1, 0.5)


def test_kl_is_torchs():
    mean, logvar = torch.randn(50), torch.randn(50)
    own = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    expected = torch.distributions.kl_divergence(own, torch.distributions.Normal(torch.zeros(50), torch.ones(50)))
    assert kl(mean, logvar) == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize("family", RECIPES)
def test_latents_reach_the_transformer_with_deviation_one(family, monkeypatch):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    set_statistics(recipe, pipe, CLIP)
    pipe = type(pipe)(**pipe.components)
    video = to_video(draw(list(scenes(1, 32)), *CLIP).frames)
    posterior = type(pipe.vae.encode(video[:1]).latent_dist)
    monkeypatch.setattr(posterior, "sample", lambda self, generator=None: self.mode())  # untrained: mostly noise
    latents = backbone_of(pipe).encode_clip(video, torch.Generator())
    channels = latents.transpose(0, backbone_of(pipe).channel_axis).flatten(1)
    if family == "wan":  # a mean and a deviation for each channel
        assert channels.mean(dim=1).abs().max() < 0.3
        assert channels.std(dim=1).tolist() == pytest.approx([1.0] * 8, rel=0.3)
    else:
        assert channels.var(dim=1).mean().sqrt().item() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("family", RECIPES)
def test_noise_levels_run_from_the_clip_to_noise(family):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    clean, noise = torch.randn(
        2, 4, *backbone_of(pipe).latent_shape(*CLIP)[1:], generator=torch.Generator().manual_seed(0)
    )
    levels = torch.tensor([0.0, 0.3, 0.7, 0.999])
    noisy, timesteps, target = recipe.noised(pipe, clean, noise, levels)
    assert noisy.shape == target.shape == clean.shape
    assert timesteps.tolist() == pytest.approx([0, 300, 700, 999])
    assert (noisy[0] - clean[0]).std() < 0.05 and (noisy[3] - noise[3]).std() < 0.05
    apart = [(noisy[i] - clean[i]).std().item() for i in range(4)]
    assert apart == sorted(apart)
    # what is predicted gives back the clip
    if family == "cogvideox":
        alphas = pipe.scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
        recovered = (alphas.sqrt() * noisy - (1 - alphas).sqrt() * target).float()
    else:
        recovered = noisy - levels.view(-1, 1, 1, 1, 1) * target
    torch.testing.assert_close(recovered, clean, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", RECIPES)
def test_a_model_that_knows_no_word_has_no_caption_gap(family, tmp_path):
    recipe = RECIPES[family]
    pipe = recipe.build(0)
    held_out = bank(backbone_of(pipe), tmp_path, 3, CLIP, 0, {}, "cpu")
    pipe.text_encoder.get_input_embeddings().weight.data[:] = 1.0
    gap = caption_gap(recipe, pipe, held_out)
    assert list(gap["true"]) == list(LEVELS) and min(gap["true"].values()) > 0.1
    assert verb_gap(gap) == pytest.approx(0, abs=1e-6)
    assert gap["wrong nouns"][0.8] == pytest.approx(0, abs=1e-6)
    pipe = recipe.build(0)
    assert caption_gap(recipe, pipe, held_out)["wrong verbs"][0.9] != 0


def test_a_bank_is_encoded_once_and_knows_its_scenes(tmp_path):
    own = backbone_of(RECIPES["cogvideox"].build(0))
    first = bank(own, tmp_path, SHARD + 5, CLIP, 0, {"vae": "a"}, "cpu")
    assert first.latents.shape == (SHARD + 5, 3, 8, 4, 4) and first.cover.shape == (SHARD + 5, 3, 4, 4)
    assert len(first.scenes) == SHARD + 5 and 0 < first.cover.mean() < 0.5
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = bank(own, tmp_path, SHARD, CLIP, 0, {"vae": "a"}, "cpu")
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert torch.equal(again.latents, first.latents[:SHARD]) and again.scenes == first.scenes[:SHARD]
    other = bank(own, tmp_path / "other", 5, CLIP, 1, {"vae": "a"}, "cpu")
    assert other.scenes != first.scenes[:5]
    bank(own, tmp_path, SHARD, CLIP, 0, {"vae": "b"}, "cpu")
    changed = {path.name for path in tmp_path.iterdir() if times.get(path.name) != path.stat().st_mtime_ns}
    assert changed == {"00000.safetensors", "other"}  # the second shard was not asked for


def short(family, out, *more):
    """Configuration of a run of a few steps."""
    asked = [
        f"backbone=shapes_{family}",
        f"output_dir={out}",
        "clips=4",
        "held_out=3",
        "asked=2",
        "report_every=1",
        "autoencoder.steps=2",
        "autoencoder.batch=1",
        "denoiser.steps=2",
        "denoiser.batch=2",
        *(
            f"backbone.paper.{name}={value}"
            for name, value in zip(("num_frames", "height", "width"), CLIP, strict=True)
        ),
        *more,
    ]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("shapes_train", asked)


def exported(out):
    """All weights of the pipeline that a run has left, by file."""
    return {str(path.relative_to(out)): load_file(path) for path in sorted((out / "pipeline").rglob("*.safetensors"))}


def test_training_that_was_stopped_in_any_stage_ends_in_the_same_pipeline(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0)
    train(short("wan", tmp_path / "whole"))
    clip, calls = nn.utils.clip_grad_norm_, []

    def stopped(*args):
        calls.append(1)
        if len(calls) in (2, 4):  # in the second step of the VAE; then in that of the transformer
            raise KeyboardInterrupt
        return clip(*args)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(short("wan", tmp_path / "stopped"))
    train(short("wan", tmp_path / "stopped"))
    assert len(calls) == 6
    whole, resumed = exported(tmp_path / "whole"), exported(tmp_path / "stopped")
    assert list(whole) == list(resumed) and len(whole) == 3
    assert all(torch.equal(x, resumed[path][name]) for path, own in whole.items() for name, x in own.items())


def test_a_transformer_is_not_kept_for_other_latents_than_it_was_trained_on(tmp_path):
    train(short("wan", tmp_path))
    with pytest.raises(ImapError, match="denoiser.pt was trained with"):
        train(short("wan", tmp_path, "autoencoder.steps=3"))
    train(short("wan", tmp_path / "b", "clips=4"))
    with pytest.raises(ImapError, match="denoiser.pt was trained with .*'clips': 4"):
        train(short("wan", tmp_path / "b", "clips=6"))
    with pytest.raises(ImapError, match=r"autoencoder.pt was trained with .*'clip': \[9, 32, 32\]"):
        train(short("wan", tmp_path, "backbone.paper.num_frames=17"))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("denoiser.dropout=5", "denoiser.dropout=5 is a share, and at most 1"),
        ("denoiser.one_word=-1", "denoiser.one_word=-1 is not a number of at least 0"),
        ("clips=0", "clips=0"),
        ("seed=100", "seed=100 is not a whole number from 0 to 99"),
        ("autoencoder.window=8", r"autoencoder.window=8 is not 4k\+1 frames of the clip's 9"),
        ("autoencoder.window=13", r"autoencoder.window=13 is not 4k\+1 frames of the clip's 9"),
        ("vae=nowhere", "nowhere is not a pipeline folder"),
        ("transformer=nowhere", "set vae= to the same folder"),
        ("autoencoder.steps=0", "autoencoder.steps=0 takes a VAE as it is; name its pipeline folder in vae="),
        ("autoencoder.steps=false", "autoencoder.steps=False is not a whole number of at least 1"),
        ("autoencoder.steps=10000001", "would draw clips that nothing may be trained on"),
    ],
)
def test_settings_that_training_cannot_start_with_are_refused(setting, told, tmp_path):
    with pytest.raises(ImapError, match=told):
        train(short("wan", tmp_path / "run", setting))
    assert not (tmp_path / "run").exists()


def test_training_draws_no_scene_that_is_scored_or_held_out():
    """For the largest seed, number of steps and number of clips that are taken."""
    shards = 10_000_000 // 200
    trained = [
        range(autoencoder_module.SEEDS, autoencoder_module.SEEDS + AUTOENCODER_SEEDS),
        range(bank_module.SEEDS, bank_module.SEEDS + 99 * 100_000 + shards),
    ]
    held_out = bank_module.SEEDS + HELD_OUT * 100_000
    apart = [
        sample_grid.SEEDS,
        *range(STATISTICS, STATISTICS + 100),
        held_out,
        *(split.seed for split in SPLITS.values()),
    ]
    assert not any(seed in own for own in trained for seed in apart)
    assert not set(trained[0]) & {trained[1].start, trained[1].stop - 1}


@pytest.mark.parametrize("family", RECIPES)
def test_training_ends_in_a_pipeline_that_the_real_loading_code_loads(family, tmp_path):
    out = tmp_path / "run"
    train(short(family, out))
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        for name in ("autoencoder.pt", "denoiser.pt", "gap.jsonl", "samples.png", "samples-000001.png"):
            assert (out / name).is_file(), name
        card = (out / "pipeline/README.md").read_text()
        assert "wrong verbs" in card and f"world version {VERSION}" in card and "transformer 2 steps" in card
        chosen = compose("sampling", [f"backbone=shapes_{family}", f"backbone.path={out / 'pipeline'}"])
    model = model_settings({**chosen.backbone, "device": "cpu"})
    pipe = load(model, read_checkpoint(model).source)
    assert pipe.transformer.dtype == torch.float32
    weights = sum(path.stat().st_size for path in (out / "pipeline").rglob("*.safetensors"))
    assert weights < 20e6


@pytest.mark.parametrize("family", RECIPES)
def test_a_pipeline_can_be_trained_further(family, tmp_path, capsys):
    """With a VAE taken as it is, and no rate to learn at, another seed's training gives the same pipeline back."""
    train(short(family, tmp_path / "first"))
    first, second = tmp_path / "first/pipeline", tmp_path / "second"
    still = ("denoiser.lr=0", "denoiser.matrix_lr=0", "autoencoder.steps=0", "seed=7")
    train(short(family, second, f"vae={first}", f"transformer={first}", *still))
    assert "latents change" not in capsys.readouterr().err
    before, after = (DiffusionPipeline.from_pretrained(x) for x in (first, second / "pipeline"))
    for name, part in before.components.items():
        if isinstance(part, torch.nn.Module):
            after_part = after.components[name].state_dict()
            assert all(torch.equal(x, after_part[key]) for key, x in part.state_dict().items()), name
    measured = [name for name in ("scaling_factor", "latents_mean", "latents_std") if before.vae.config.get(name)]
    for name in measured:  # again, on weights that float16 has rounded
        assert after.vae.config[name] == pytest.approx(before.vae.config[name], rel=1e-2, abs=1e-2)
    assert "from an earlier pipeline" in (second / "pipeline/README.md").read_text()
    with pytest.raises(ImapError, match=r"denoiser.pt was trained with .*'transformer'"):
        train(short(family, second, f"vae={first}", *still))
    with pytest.raises(ImapError, match=r"autoencoder.pt was trained with"):  # the first run's, which began anew
        train(short(family, tmp_path / "first", f"vae={first}", f"transformer={first}"))
    assert "latents change" in capsys.readouterr().err


def test_weights_of_another_class_and_no_weights_are_refused(tmp_path):
    RECIPES["cogvideox"].build(3).save_pretrained(tmp_path / "first")
    other = RECIPES["wan"].build(0)
    for name in ("vae", "transformer"):
        part = other.components[name]
        told = rf"first is not a pipeline folder whose {name} is of class {type(part).__name__} and .*: Error.* Missing"
        with pytest.raises(ImapError, match=told):
            take_weights(part, tmp_path / "first", name)
    with pytest.raises(ImapError, match=r"nowhere is not a pipeline folder: there is no such folder"):
        take_weights(other.vae, tmp_path / "nowhere", "vae")
    with pytest.raises(ImapError, match=r"first is not a pipeline folder whose tokenizer is"):
        shutil.rmtree(tmp_path / "first/tokenizer")
        take_text_encoders(RECIPES["cogvideox"].build(3), tmp_path / "first")


def test_text_encoders_of_other_words_are_refused(tmp_path):
    pipe = RECIPES["cogvideox"].build(3)
    pipe.save_pretrained(tmp_path)
    for path in (tmp_path / "tokenizer").glob("*.json"):
        path.write_text(path.read_text().replace("jumps", "rises"))
    with pytest.raises(ImapError, match=r"other words than this world has \(.*jumps, .*rises\)"):
        take_text_encoders(RECIPES["cogvideox"].build(4), tmp_path)


def test_captions_to_sample_name_two_nouns():
    assert all(len(scene.concepts) == 2 for scene in sample_grid.captions_to_sample(30))
    assert sample_grid.captions_to_sample(5) != list(scenes(0, 5, Conditions(twins=0.0)))


def test_latents_are_anchored_to_a_linear_map_of_the_colours_that_they_stand_for():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(1, 3, 9, 16, 24, generator=generator) * 2 - 1 for _ in range(2))
    shape = (1, 8, 3, 2, 3)
    a, b = anchors(one, shape), anchors(other, shape)
    assert a.shape == shape
    torch.testing.assert_close(anchors((one + other) / 2, shape), (a + b) / 2, atol=1e-5, rtol=1e-5)
    later = one.clone()
    later[:, :, 1:5] = other[:, :, 1:5]  # the second latent frame, and the upper left cell
    later[:, :, 5:, :8, :8] = other[:, :, 5:, :8, :8]
    moved = (anchors(later, shape) - a).abs().amax(dim=1)[0] > 1e-4
    assert not moved[0].any() and moved[1].all()
    assert moved[2].tolist() == [[True, False, False], [False, False, False]]
    # a mean over time, and within a quarter of a cell
    swapped = one.clone()
    swapped[:, :, 1:5] = swapped[:, :, 1:5].flip(2)
    swapped[:, :, :, :4, :4] = swapped[:, :, :, :4, :4].flip(3, 4)
    torch.testing.assert_close(anchors(swapped, shape), a, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="at most 12 channels"):
        anchors(one, (1, 13, 3, 2, 3))
