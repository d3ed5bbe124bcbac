"""The stages of training in order: VAE, latents, transformer, and the finished pipeline with its card."""

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
from imap.config.model import device_of
from imap.shapes.models import Recipe, recipe_for
from imap.shapes.training import sample_grid
from imap.shapes.training.autoencoder import Autoencoding, fit_autoencoder, quality
from imap.shapes.training.caption_fidelity import shares
from imap.shapes.training.caption_sensitivity import caption_gap, verb_gap
from imap.shapes.training.card import card, gap_table
from imap.shapes.training.checks import check
from imap.shapes.training.denoiser import Denoising, averaged, fit_denoiser
from imap.shapes.training.fit import Fit
from imap.shapes.training.latent_cache import bank
from imap.shapes.training.start import go_on_from
from imap.shapes.weights_hash import weights_hash
from imap.shapes.world.drawing import draw, to_video
from imap.shapes.world.scenes import VERSION, scenes

log = logging.getLogger("imap")
HELD_OUT = 99_000  # bank seed of clips that no model is trained on
STATISTICS = 40_000_000  # seed of the clips that the VAE's mean and deviation are taken over


def train(config: Any) -> None:
    """Train as configured, from whatever was done before in the output folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    told = OmegaConf.to_container(config, resolve=True)
    recipe = recipe_for(told["backbone"]["name"])
    check(told)
    backbone, out = told.pop("backbone"), Path(told["output_dir"])
    if told["threads"]:
        torch.set_num_threads(told["threads"])
    device = device_of(str(told["device"]), "device")
    paper = backbone["paper"]
    clip = (paper["num_frames"], paper["height"], paper["width"])
    seed = told["seed"]
    pipe = recipe.build(seed)
    data = {"world": VERSION, "family": recipe.family, "clip": list(clip)}
    of_vae, of_transformer = go_on_from(pipe, told["vae"], told["transformer"])
    if of_transformer and told["autoencoder"]["steps"]:
        log.warning("the VAE is trained further too, so the transformer's latents change; autoencoder.steps=0 keeps it")
    data |= of_vae
    out.mkdir(parents=True, exist_ok=True)
    pipe = pipe.to(device)

    how = Autoencoding(**told["autoencoder"])
    vae = fit_autoencoder(pipe.vae, out / "autoencoder.pt", how, clip, seed, data)
    pipe.vae = vae.mean.module.eval().requires_grad_(False)
    set_statistics(recipe, pipe, clip)
    pipe = type(pipe)(**pipe.components)  # pipelines read the statistics when they are made
    psnr = quality(pipe.vae, draw(list(scenes(STATISTICS + 1, 32)), *clip, device))
    log.info("VAE: %.1f dB over all pixels, %.1f dB over those of objects", *psnr)

    own, data = backbone_of(pipe), {**data, "vae": weights_hash({"vae": pipe.vae})}
    clips = bank(own, out / "clips", told["clips"], clip, seed, data, device)
    held_out = bank(own, out / "held_out", told["held_out"], clip, HELD_OUT, data, device)

    def report(learning: Any, step: int) -> str:
        gap = caption_gap(recipe, learning, held_out)
        asked = sample_grid.captions_to_sample(8)
        sample_grid.write_grid(sample_grid.sampled(learning, asked, clip, seed), out / f"samples-{step:06}.png")
        with (out / "gap.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": step, "verb_gap": verb_gap(gap), "gap": gap}) + "\n")
        return f"step {step}: wrong verbs cost {verb_gap(gap):+.3f} at t = 800 to 900\n{gap_table(gap)}"

    how, data = Denoising(**told["denoiser"]), {**data, **of_transformer, "clips": told["clips"]}
    fit = fit_denoiser(recipe, pipe, clips, out / "denoiser.pt", how, seed, data, told["report_every"], report)

    finished = averaged(pipe, fit)
    gap, asked = caption_gap(recipe, finished, held_out), sample_grid.captions_to_sample(told["asked"])
    videos = sample_grid.sampled(finished, asked, clip, seed)
    sample_grid.write_grid(videos, out / "samples.png")
    obedience = shares(sample_grid.judged(videos, asked))
    command = "python -m imap.shapes.train " + " ".join(sys.argv[1:])
    facts = _facts(finished, vae, fit, psnr, clip, told, device, command.strip())
    export(finished, out / "pipeline", card(facts, gap, obedience))
    log.info("%s\n%s", gap_table(gap), obedience)
    log.info("%s", out / "pipeline")


def set_statistics(recipe: Recipe, pipe: Any, clip: tuple[int, int, int], count: int = 64) -> None:
    """Let the VAE's configuration bring its latents to mean 0 (where it has a mean) and deviation 1."""
    with torch.no_grad():
        device = next(pipe.vae.parameters()).device
        drawn = [draw(list(scenes(STATISTICS + i, 16)), *clip, device) for i in range(count // 16)]
        latents = torch.cat([pipe.vae.encode(to_video(x.frames)).latent_dist.mode() for x in drawn])
    channels: Tensor = rearrange(latents, "b c f h w -> c (b f h w)")
    recipe.set_statistics(pipe.vae, channels.mean(dim=1), channels.std(dim=1))


def export(pipe: Any, folder: Path, text: str) -> None:
    """Write a pipeline folder in float16, with its card as README.md."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    modules = [x for x in pipe.components.values() if isinstance(x, torch.nn.Module)]
    for module in modules:
        module.half()
    pipe.save_pretrained(part)
    for module in modules:
        module.float()
    for path in part.rglob("*.json"):  # transformers 4 knows this class by its older name, which 5 still takes
        told = path.read_text(encoding="utf-8")
        path.write_text(told.replace("TokenizersBackend", "PreTrainedTokenizerFast"), encoding="utf-8")
    (part / "README.md").write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _facts(
    pipe: Any,
    vae: Fit,
    fit: Fit,
    psnr: tuple[float, float],
    clip: tuple[int, int, int],
    told: Mapping[str, Any],
    device: torch.device,
    command: str,
) -> dict[str, Any]:
    sizes = {name: x for name, x in pipe.components.items() if isinstance(x, torch.nn.Module)}
    return {
        "family": backbone_of(pipe).family,
        "start": "nothing" if told["vae"] is told["transformer"] is None else "an earlier pipeline",
        "pipeline": type(pipe).__name__,
        "clips": told["clips"],
        "frames": clip[0],
        "height": clip[1],
        "width": clip[2],
        "parameters": ", ".join(f"{name} {sum(p.numel() for p in x.parameters()):,}" for name, x in sizes.items()),
        "seed": told["seed"],
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads",
        "vae_seconds": vae.seconds,
        "vae_steps": vae.steps,
        "seconds": fit.seconds,
        "steps": fit.steps,
        "command": command,
        "psnr": psnr[0],
        "object_psnr": psnr[1],
        "held_out": told["held_out"],
        "asked": told["asked"],
        "sample_steps": sample_grid.STEPS,
        "guidance": sample_grid.GUIDANCE,
        "settings": told,
    }
