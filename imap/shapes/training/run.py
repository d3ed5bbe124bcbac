"""Stages of training: the VAE, the latents, the transformer, and the pipeline folder with its card."""

import json
import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from omegaconf import OmegaConf
from torch import Tensor

from imap.backbones import backbone_of
from imap.backbones.weights_hash import weights_hash
from imap.config.model import device_of
from imap.shapes.models import Recipe, recipe_for
from imap.shapes.training import sample_grid
from imap.shapes.training.autoencoder import Autoencoding, fit_autoencoder, quality
from imap.shapes.training.caption_fidelity import shares
from imap.shapes.training.caption_sensitivity import caption_sensitivity, verb_sensitivity
from imap.shapes.training.card import card, sensitivity_table
from imap.shapes.training.checks import check_settings
from imap.shapes.training.denoiser import Denoising, averaged_pipeline, fit_denoiser
from imap.shapes.training.fit import Fit
from imap.shapes.training.latent_cache import latent_cache
from imap.shapes.training.start import start_from
from imap.shapes.world.drawing import draw, to_video
from imap.shapes.world.scenes import VERSION, scenes

log = logging.getLogger("imap")
HELD_OUT = 99_000  # seed of the latent cache of clips that no model is trained on
STATISTICS = 40_000_000  # seed of the clips for the mean and deviation of the VAE's latents


def train(config: Any) -> None:
    """Train a small pipeline from a Hydra configuration; earlier stages in the output folder are reused.

    Args:
        config: Configuration shapes_train.

    Raises:
        ImapError: A setting is wrong, or the output folder belongs to other settings.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    settings: Any = OmegaConf.to_container(config, resolve=True)
    recipe = recipe_for(settings["backbone"]["name"])
    check_settings(settings)
    backbone_settings, out = settings.pop("backbone"), Path(settings["output_dir"])
    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    device = device_of(str(settings["device"]), "device")
    paper, seed = backbone_settings["paper"], settings["seed"]
    clip = (paper["num_frames"], paper["height"], paper["width"])
    pipe = recipe.build(seed)
    vae_facts, transformer_facts = start_from(pipe, settings["vae"], settings["transformer"])
    if transformer_facts and settings["autoencoder"]["steps"]:
        log.warning("the VAE is also trained, so the transformer's latents change; autoencoder.steps=0 keeps the VAE")
    data = {"world": VERSION, "family": recipe.family, "clip": list(clip), **vae_facts}
    out.mkdir(parents=True, exist_ok=True)

    autoencoding = Autoencoding(**settings["autoencoder"])
    pipe, vae_fit, psnr = _train_vae(recipe, pipe.to(device), out / "autoencoder.pt", autoencoding, clip, seed, data)

    backbone, data = backbone_of(pipe), {**data, "vae": weights_hash({"vae": pipe.vae})}
    cache = latent_cache(backbone, out / "clips", settings["clips"], clip, seed, data, device)
    held_out = latent_cache(backbone, out / "held_out", settings["held_out"], clip, HELD_OUT, data, device)

    def report(current: Any, step: int) -> str:
        sensitivity = caption_sensitivity(recipe, current, held_out)
        shown = sample_grid.captions_to_sample(8)
        videos = sample_grid.sample_videos(current, shown, clip, seed)
        sample_grid.write_grid(videos, out / f"samples-{step:06}.png")
        rise = verb_sensitivity(sensitivity)
        with (out / "gap.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": step, "verb_gap": rise, "gap": sensitivity}) + "\n")
        table = sensitivity_table(sensitivity)
        return f"step {step}: wrong verbs raise the loss by {rise:+.3f} at t = 800 to 900\n{table}"

    denoising = Denoising(**settings["denoiser"])
    data = {**data, **transformer_facts, "clips": settings["clips"]}
    path = out / "denoiser.pt"
    fit = fit_denoiser(recipe, pipe, cache, path, denoising, seed, data, settings["report_every"], report)

    finished = averaged_pipeline(pipe, fit)
    sensitivity = caption_sensitivity(recipe, finished, held_out)
    shown = sample_grid.captions_to_sample(settings["asked"])
    videos = sample_grid.sample_videos(finished, shown, clip, seed)
    sample_grid.write_grid(videos, out / "samples.png")
    fidelity = shares(sample_grid.judge_videos(videos, shown))
    facts = _facts(finished, vae_fit, fit, psnr, clip, settings, device)
    export(finished, out / "pipeline", card(facts, sensitivity, fidelity))
    log.info("%s\n%s\n%s", sensitivity_table(sensitivity), fidelity, out / "pipeline")


def _train_vae(
    recipe: Recipe,
    pipe: Any,
    path: Path,
    settings: Autoencoding,
    clip: tuple[int, int, int],
    seed: int,
    data: Mapping[str, Any],
) -> tuple[Any, Fit, tuple[float, float]]:
    """The pipeline with its trained VAE, the VAE's training, and its quality in dB."""
    fit = fit_autoencoder(pipe.vae, path, settings, clip, seed, data)
    vae: Any = fit.mean.module
    pipe.vae = vae.eval().requires_grad_(False)
    set_statistics(recipe, pipe, clip)
    pipe = type(pipe)(**pipe.components)  # pipelines read the statistics at construction
    device = next(vae.parameters()).device
    psnr = quality(vae, draw(list(scenes(STATISTICS + 1, 32)), *clip, device))
    log.info("VAE: PSNR %.1f dB over all pixels, %.1f dB over object pixels", *psnr)
    return pipe, fit, psnr


def set_statistics(recipe: Recipe, pipe: Any, clip: tuple[int, int, int], count: int = 64) -> None:
    """Set the VAE's normalization so that latents have deviation 1, and mean 0 if the family subtracts a mean.

    Args:
        recipe: Recipe of the pipeline's family.
        pipe: The pipeline; its VAE's configuration changes.
        clip: Frames, height and width of a clip.
        count: Number of clips, a multiple of 16.
    """
    with torch.no_grad():
        device = next(pipe.vae.parameters()).device
        drawn = [draw(list(scenes(STATISTICS + i, 16)), *clip, device) for i in range(count // 16)]
        latents = torch.cat([pipe.vae.encode(to_video(x.frames)).latent_dist.mode() for x in drawn])
    channels: Tensor = rearrange(latents, "b c f h w -> c (b f h w)")
    recipe.set_statistics(pipe.vae, channels.mean(dim=1), channels.std(dim=1))


def export(pipe: Any, folder: Path, text: str) -> None:
    """Write a pipeline folder in float16, with its card as README.md.

    Args:
        pipe: The pipeline.
        folder: The folder; it replaces an existing one.
        text: Text of the card.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    modules = [x for x in pipe.components.values() if isinstance(x, torch.nn.Module)]
    for module in modules:
        module.half()
    pipe.save_pretrained(part)
    for module in modules:
        module.float()
    for path in part.rglob("*.json"):
        # transformers 4 knows only the older class name; 5 loads in the recorded dtype, which must fit the transformer
        written = path.read_text(encoding="utf-8").replace("TokenizersBackend", "PreTrainedTokenizerFast")
        path.write_text(written.replace('"dtype": "float16"', '"dtype": "float32"'), encoding="utf-8")
    (part / "README.md").write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _facts(
    pipe: Any,
    vae: Fit,
    fit: Fit,
    psnr: tuple[float, float],
    clip: tuple[int, int, int],
    settings: Mapping[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Facts for the card."""
    command = "python -m imap.shapes.train " + " ".join(sys.argv[1:])
    sizes = {name: x for name, x in pipe.components.items() if isinstance(x, torch.nn.Module)}
    return {
        "family": backbone_of(pipe).family,
        "start": "random weights" if settings["vae"] is settings["transformer"] is None else "an earlier pipeline",
        "pipeline": type(pipe).__name__,
        "clips": settings["clips"],
        "frames": clip[0],
        "height": clip[1],
        "width": clip[2],
        "parameters": ", ".join(f"{name} {sum(p.numel() for p in x.parameters()):,}" for name, x in sizes.items()),
        "seed": settings["seed"],
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads",
        "vae_seconds": vae.seconds,
        "vae_steps": vae.steps,
        "seconds": fit.seconds,
        "steps": fit.steps,
        "command": command.strip(),
        "psnr": psnr[0],
        "object_psnr": psnr[1],
        "held_out": settings["held_out"],
        "asked": settings["asked"],
        "sample_steps": sample_grid.STEPS,
        "guidance": sample_grid.GUIDANCE,
        "settings": settings,
    }
