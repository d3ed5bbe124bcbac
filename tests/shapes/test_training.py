"""Training resumes after a stop, refuses wrong settings, and ends in a pipeline folder that loads."""

import pytest
import torch
from diffusers import DiffusionPipeline
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from torch import nn

from imap.config.model import model_settings
from imap.config.presets import config_folder
from imap.errors import ImapError
from imap.runs.checkpoint import read_checkpoint
from imap.runs.loading import load
from imap.shapes.models import RECIPES
from imap.shapes.training import autoencoder as autoencoder_module
from imap.shapes.training import caption_sensitivity, sample_grid
from imap.shapes.training import fit as fit_module
from imap.shapes.training import latent_cache as latent_cache_module
from imap.shapes.training.checks import AUTOENCODER_SEEDS
from imap.shapes.training.run import HELD_OUT, STATISTICS, train
from imap.shapes.world.scenes import VERSION
from imap.shapes.world.split import SPLITS

CLIP = (9, 32, 32)
SHARD = 8
SLOWER = [family for family in RECIPES if family != "cogvideox"]


@pytest.fixture(autouse=True)
def _small_training(monkeypatch):
    monkeypatch.setattr(latent_cache_module, "SHARD", SHARD)
    monkeypatch.setattr(sample_grid, "STEPS", 2)
    monkeypatch.setattr(caption_sensitivity, "LEVELS", caption_sensitivity.VERB_LEVELS)


def short(family, out, *extra):
    """Configuration of a training of a few steps."""
    overrides = [
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
        *extra,
    ]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("shapes_train", overrides)


def exported(out):
    """All weights of a training's pipeline folder, by file."""
    return {str(path.relative_to(out)): load_file(path) for path in sorted((out / "pipeline").rglob("*.safetensors"))}


@pytest.mark.slow
def test_training_interrupted_in_any_stage_ends_in_the_same_pipeline(tmp_path, monkeypatch):
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
    assert all(torch.equal(x, resumed[path][name]) for path, weights in whole.items() for name, x in weights.items())


@pytest.mark.slow
def test_a_transformer_is_refused_for_other_latents_than_those_of_its_training(tmp_path):
    train(short("wan", tmp_path))
    with pytest.raises(ImapError, match="denoiser.pt was trained with"):
        train(short("wan", tmp_path, "autoencoder.steps=3"))
    train(short("wan", tmp_path / "b", "clips=4"))
    with pytest.raises(ImapError, match="denoiser.pt was trained with .*'clips': 4"):
        train(short("wan", tmp_path / "b", "clips=6"))
    with pytest.raises(ImapError, match=r"autoencoder.pt was trained with .*'clip': \[9, 32, 32\]"):
        train(short("wan", tmp_path, "backbone.paper.num_frames=17"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("denoiser.dropout=5", "denoiser.dropout=5 is a share; it must be at most 1"),
        ("denoiser.one_word=-1", "denoiser.one_word=-1 is not a number of at least 0"),
        ("clips=0", "clips=0"),
        ("seed=100", "seed=100 is not a whole number from 0 to 99"),
        ("autoencoder.window=8", r"autoencoder.window=8 is not 4k\+1 frames of the clip's 9"),
        ("autoencoder.window=13", r"autoencoder.window=13 is not 4k\+1 frames of the clip's 9"),
        ("vae=nowhere", "nowhere is not a pipeline folder"),
        ("transformer=nowhere", "set vae= to the same folder"),
        ("autoencoder.steps=0", "autoencoder.steps=0 uses an existing VAE; name its pipeline folder in vae="),
        ("autoencoder.steps=false", "autoencoder.steps=False is not a whole number of at least 1"),
        ("autoencoder.steps=10000001", "would train on evaluation clips"),
    ],
)
def test_wrong_settings_are_refused_before_training(setting, message, tmp_path):
    with pytest.raises(ImapError, match=message):
        train(short("wan", tmp_path / "run", setting))
    assert not (tmp_path / "run").exists()


def test_training_clips_are_disjoint_from_evaluation_clips():
    """For the largest allowed seed, number of steps and number of clips."""
    shards = 10_000_000 // 200
    trained = [
        range(autoencoder_module.SEEDS, autoencoder_module.SEEDS + AUTOENCODER_SEEDS),
        range(latent_cache_module.SEEDS, latent_cache_module.SEEDS + 99 * 100_000 + shards),
    ]
    held_out = latent_cache_module.SEEDS + HELD_OUT * 100_000
    apart = [
        sample_grid.SEEDS,
        *range(STATISTICS, STATISTICS + 100),
        held_out,
        *(split.seed for split in SPLITS.values()),
    ]
    assert not any(seed in seeds for seeds in trained for seed in apart)
    assert trained[1].start not in trained[0] and trained[1].stop - 1 not in trained[0]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["cogvideox", *SLOWER])
def test_training_ends_in_a_pipeline_folder_that_loads(family, tmp_path):
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


@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_a_pipeline_can_be_trained_further(family, tmp_path, capsys):
    """With an unchanged VAE and learning rates of 0, training with another seed gives the same pipeline."""
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
    for name in measured:  # measured again, on weights rounded to float16
        assert after.vae.config[name] == pytest.approx(before.vae.config[name], rel=1e-2, abs=1e-2)
    assert "from an earlier pipeline" in (second / "pipeline/README.md").read_text()
    with pytest.raises(ImapError, match=r"denoiser.pt was trained with .*'transformer'"):
        train(short(family, second, f"vae={first}", *still))
    # the first training started from random weights
    with pytest.raises(ImapError, match=r"autoencoder.pt was trained with"):
        train(short(family, tmp_path / "first", f"vae={first}", f"transformer={first}"))
    assert "latents change" in capsys.readouterr().err
