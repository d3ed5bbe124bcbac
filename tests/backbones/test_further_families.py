"""Families beside the three main ones: told apart, read at the right noise, and refused where they cannot be read."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from omegaconf import OmegaConf
from PIL import Image

import imap
from imap.backbones import backbone_of
from imap.backbones.features import call_arguments
from imap.config.model import model_settings
from imap.config.presets import presets
from imap.config.run import run_settings
from imap.config.samples import Sample
from imap.jobs.reading import READING
from imap.jobs.sampling import sample_video
from imap.runs.checkpoint import read_checkpoint
from imap.runs.plan import check_model
from imap.testing import tiny
from imap.view.lengths import lengths
from imap.view.upsampling import latent_frame
from tests.shared import FAMILIES, NOT_RENOISED, PROMPT, composed, pictures_for, sizes_of
from tests.tracing.test_trace import WORDS, call

SLOW = pytest.mark.slow
RNG = np.random.default_rng(0)
# which without a negative prompt run no guidance, or another, or fail
WITH_NEGATIVE = ("allegro", "cosmos2_5", "hunyuan_skyreels_i2v", "easyanimate", "sana_video", "kandinsky5")
RENOISED = [family for family in (*tiny.FURTHER, *tiny.NOT_SAVED) if family not in NOT_RENOISED]

# latent frames, or latent columns, as many as channels
AS_MANY = [("anyflow", {"num_frames": 61}), ("kandinsky5", {"num_frames": 61}), ("kandinsky5", {"width": 128})]


@pytest.mark.slow
def test_a_pipeline_is_of_its_own_family():
    for family in (*FAMILIES, *tiny.FURTHER):
        assert backbone_of(tiny.build(family)).family == family


def test_a_checkpoint_of_another_family_of_the_same_classes_is_refused():
    config = composed("sampling", "backbone=cogvideox_5b", f"backbone.path={tiny.folder('cogvideox1_5')}")
    with pytest.raises(
        imap.ImapError,
        match="of the family cogvideox1_5, but backbone=cogvideox_5b is of cogvideox; choose .*: cogvideox1_5_5b$",
    ):
        read_checkpoint(model_settings(OmegaConf.to_container(config.backbone, resolve=True)))
    config = composed("sampling", "backbone=wan2_1_14b", f"backbone.path={tiny.folder('wan2_2')}")
    with pytest.raises(
        imap.ImapError,
        match="of the family wan2_2, but backbone=wan2_1_14b is of wan; choose a backbone of its family: wan2_2_a14b$",
    ):
        read_checkpoint(model_settings(OmegaConf.to_container(config.backbone, resolve=True)))


@pytest.mark.parametrize(
    ("command", "setting", "start"), [("renoising", "seed=1", "imap renoise"), ("sampling", "read=after", "read=after")]
)
def test_what_cannot_be_renoised_is_refused_before_weights_are_loaded(command, setting, start):
    config = composed(command, "backbone=ltx2", f"backbone.path={tiny.folder('ltx2')}", setting)
    config = OmegaConf.to_container(config, resolve=True)
    model, run = model_settings(config["backbone"]), run_settings(config, command == "renoising")
    with pytest.raises(imap.ImapError, match=f"^{start} cannot give noised latents to backbone=ltx2: its transformer"):
        check_model(config, model, run, command == "renoising")


def test_a_pipeline_of_an_older_diffusers_is_refused(monkeypatch):
    config = composed("sampling", "backbone=wan2_1_vace_1_3b", f"backbone.path={tiny.folder('wan_vace')}")
    model = model_settings(OmegaConf.to_container(config.backbone, resolve=True))
    monkeypatch.setattr(diffusers, "__version__", "0.36.0")
    assert read_checkpoint(model).adapter.family == "wan_vace"
    monkeypatch.setattr(diffusers, "__version__", "0.35.2")
    with pytest.raises(imap.ImapError, match=r"needs a WanVACEPipeline of a newer diffusers than 0.35.2; install one"):
        read_checkpoint(model)


@pytest.mark.slow
def test_layers_of_cogvideox_5b_do_not_apply_to_1_5_of_the_same_size():
    pipe = tiny.build("cogvideox1_5")
    own = {key: x for key, x in pipe.transformer.config.items() if not key.startswith("_")}
    size = {"num_layers": 42, "num_attention_heads": 48}
    with torch.device("meta"):
        pipe.transformer = CogVideoXTransformer3DModel(**own | size)
    with pytest.raises(imap.ImapError, match="nobody has tuned layers for this model"):
        imap.trace(pipe, PROMPT, **WORDS)
    assert imap.trace(pipe, PROMPT, **WORDS, imap_layer=[3]).method.imap_layer == (3,)
    with torch.device("meta"):
        pipe.transformer = CogVideoXTransformer3DModel(**own | size | {"patch_size_t": None, "patch_bias": True})
    assert len(imap.trace(pipe, PROMPT, **WORDS).method.imap_layer) == 21


@SLOW
@pytest.mark.parametrize("family", RENOISED)
def test_a_clip_is_given_to_the_transformer_with_the_noise_of_its_step(pipes, family):
    """Noise, timestep and sigma of each index are those of a stock call of all steps."""
    pipe, size = pipes(family), sizes_of(family)
    steps, seen = 4, []

    def keep(module, args, kwargs):
        given = call_arguments(module, args, kwargs)
        seen.append((given["hidden_states"][-1].clone(), given["timestep"][-1].max().item()))

    backbone = backbone_of(pipe)
    handles = [x.transformer.register_forward_pre_hook(keep, with_kwargs=True) for x in backbone.parts]
    call(pipe, steps=steps, guidance_scale=1.0, **size)
    stock = [timestep for _, timestep in seen]
    scheduler, of_alphas = pipe.scheduler, family.startswith(("cogvideox", "allegro"))
    levels = (1 - scheduler.alphas_cumprod[[int(t) for t in stock]]).sqrt() if of_alphas else scheduler.sigmas
    levels = 1 - levels if family == "mochi" else levels  # a sigma of Mochi is the share of the clip
    keeps = (1 - levels.square()).sqrt() if of_alphas else 1 - levels
    seen.clear()
    shape = backbone.latent_shape(size["num_frames"], size["height"], size["width"])
    clean, noise = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    chosen = {"num_inference_steps": steps, "renoise_timestep": [1, 3]}
    pictures, grid = pictures_for(pipe), backbone.grid_of(size["num_frames"], size["height"], size["width"])
    imap.renoise(pipe, latents=clean, noise=noise, prompt=PROMPT, **WORDS, **chosen, **pictures)
    for handle in handles:
        handle.remove()
    assert [timestep for _, timestep in seen] == [stock[1], stock[3]]
    for (given, _), index in zip(seen, (1, 3), strict=True):
        expected = (keeps[index] * clean + levels[index] * noise)[0]
        given = backbone.from_pipeline(given.unsqueeze(0), grid)[0][: backbone.channels]  # a picture's follow
        if family in ("wan2_2_ti2v_i2v", "ltx_i2v", "hunyuanvideo_i2v"):  # the picture is the first latent frame
            given, expected = given[:, 1:], expected[:, 1:]
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)


@SLOW
@pytest.mark.parametrize("family", RENOISED)
def test_a_clip_of_pixels_is_read_and_denoised_to_its_length(pipes, family):
    size = sizes_of(family)
    clip = RNG.integers(0, 255, (size["num_frames"], size["height"], size["width"], 3), dtype=np.uint8)
    chosen = {"prompt": PROMPT, "num_inference_steps": 4, "renoise_timestep": [2]}
    maps = imap.renoise(pipes(family), clip, **WORDS, **chosen).maps
    assert all(x.shape == (3, 3, 2, 3) and x.std() > 0 for x in maps.values())
    assert size["num_frames"] in lengths(maps)
    denoised = imap.renoise(pipes(family), clip, **WORDS, **chosen, test_full_denoise=True)
    made = len(denoised.frames)
    assert made in lengths(denoised.maps) and (made == size["num_frames"] or family.startswith("cogvideox1_5"))


@SLOW
@pytest.mark.parametrize(
    ("family", "more"),
    [*((family, {}) for family in RENOISED), *(x for x in AS_MANY if x[0] in RENOISED)],
)
def test_a_sample_is_read_during_its_steps_and_after(pipes, family, more, tmp_path):
    size = sizes_of(family) | more
    preset = next(x.name for x in presets().values() if x.family == family and x.is_published)
    chosen = ["imap_layer=[0,1]", "imap_sep_topk=2", "num_inference_steps=4", "output_dir=out", "effect=true"]
    config = composed("sampling", f"backbone={preset}", *(f"{name}={value}" for name, value in size.items()), *chosen)
    run = run_settings(OmegaConf.to_container(config, resolve=True), False)
    run = replace(run, read="both", renoise_timestep=(1, 2))
    pipe, pictures = pipes(family), {}
    for name, picture in pictures_for(pipe).items():
        pictures[name] = tmp_path / f"{name}.png"
        picture.resize((size["width"], size["height"])).save(pictures[name])
    sample = Sample(PROMPT, ("ball", "small dog"), ("rolling",), **pictures)
    maps = sample_video(pipe, sample, run).maps
    assert {"imap", "imap_after", "effect"} <= set(maps) and all(x.std() > 0 for x in maps.values())
    schedule = {"num_inference_steps": 4, "renoise_timestep": [1, 2], "seed": run.seed + READING}
    layers = {"imap_layer": [0, 1], "imap_sep_topk": 2}
    chosen = {**WORDS, **schedule, **layers, **pictures}
    read = imap.renoise(pipe, latents=_finished(pipe, run, pictures), prompt=PROMPT, **chosen).maps
    np.testing.assert_allclose(maps["imap_after"], read["imap"], rtol=1e-3, atol=1e-3 * read["imap"].std())


@SLOW
def test_packed_latents_of_a_traced_sampling_are_read_after_it(pipes):
    pipe, size = pipes("ltx"), sizes_of("ltx")
    schedule = {"num_inference_steps": 4, "renoise_timestep": [2]}
    unread = imap.trace(pipe, PROMPT, **WORDS)
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        packed = call(pipe, steps=4, **size)
    assert packed.ndim == 3
    maps = imap.read_after(trace, packed, **schedule)
    latents = backbone_of(pipe).from_pipeline(packed, trace.grid)
    expected = imap.renoise(pipe, latents=latents, prompt=PROMPT, seed=0, **WORDS, **schedule).maps
    assert all(np.array_equal(maps[key], expected[key]) for key in expected)
    with pytest.raises(imap.ImapError, match="are packed to tokens, and their grid is not known"):
        imap.read_after(unread, packed, **schedule)


def _finished(pipe, run, pictures):
    """Latents of the sample, (1, channels, frames, height, width)."""
    backbone, size = backbone_of(pipe), {"height": run.height, "width": run.width, "num_frames": run.num_frames}
    settings = {"num_inference_steps": 4, "output_type": "latent"}
    settings |= {"negative_prompt": run.negative_prompt} if backbone.family in WITH_NEGATIVE else {}
    settings |= {name: Image.open(path) for name, path in pictures.items()}
    with backbone.guidance(run.guidance_scale, conditional_only=False) as guidance:
        settings = guidance | settings | backbone.size_arguments(**size)
        latents = pipe(prompt=PROMPT, **settings, generator=torch.Generator().manual_seed(run.seed)).frames
    return (
        latents
        if latents.ndim == 5
        else backbone.from_pipeline(latents, backbone.grid_of(*(run.num_frames, run.height, run.width)))
    )


@SLOW
def test_each_transformer_of_wan2_2_reads_its_own_steps():
    pipe, used = tiny.build("wan2_2"), []
    for name in ("transformer", "transformer_2"):
        getattr(pipe, name).register_forward_pre_hook(lambda *_, name=name: used.append(name))
    with imap.trace(pipe, PROMPT, **WORDS) as trace:
        call(pipe, steps=4, guidance_scale=1.0)
    by_name = {name: [i for i, x in enumerate(used) if x == name] for name in dict.fromkeys(used)}
    assert len(by_name) == 2 and trace.maps().facts["transformers"] == by_name
    assert trace.maps().facts["steps"] == [0, 1, 2, 3]


def test_a_clip_for_allegro_without_tiles_is_refused():
    pipe = tiny.build("allegro")
    pipe.vae.disable_tiling()
    with pytest.raises(imap.ImapError, match=r"in tiles only; call pipe\.vae\.enable_tiling\(\) first"):
        imap.renoise(pipe, np.zeros((12, 32, 48, 3), np.uint8), prompt=PROMPT, **WORDS)
    with pytest.raises(imap.ImapError, match=r"num_frames=13 is not 4k, .*\(4, 8, 12 \.\.\.\); set num_frames=12"):
        imap.renoise(pipe, np.zeros((13, 32, 48, 3), np.uint8), prompt=PROMPT, **WORDS)


@pytest.mark.parametrize(
    ("frames", "latents", "factor"), [(13, 3, 6), (25, 5, 6), (163, 28, 6), (17, 3, 8), (161, 21, 8)]
)
def test_a_video_frame_is_of_its_latent_frame_for_other_factors_of_time(frames, latents, factor):
    found = [latent_frame(frame, latents, frames) for frame in range(frames)]
    assert found == [0, *(1 + i // factor for i in range(frames - 1))]
