"""VAE encodings on disk: equal results with and without them, one encoding per clip, damage made good."""

# ruff: noqa: F401, F811  (fixtures of another module)

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import imap.jobs.posterior_cache
from imap import ImapError
from imap.backbones import backbone_of
from imap.config.scale import LATENTS
from imap.jobs.posterior_cache import PosteriorCache, check_cache
from imap.testing import tiny
from tests.runs.test_runner import FOLDER, SAMPLE, arrays, command, listed, loads, moving_square, no_load
from tests.shared import FAMILIES

CLIP = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)


@pytest.fixture
def encoded(pipes, monkeypatch) -> list[int]:
    """Grows with each clip that a VAE encodes."""
    made = []
    posterior = imap.backbones.base.Backbone.posterior

    def counted(self, video):
        made.append(1)
        return posterior(self, video)

    monkeypatch.setattr(imap.backbones.base.Backbone, "posterior", counted)
    return made


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sample_of_a_kept_encoding_is_that_of_a_new_one(family: str, pipes, encoded, tmp_path):
    backbone = backbone_of(pipes(family))
    cache, generators = PosteriorCache(tmp_path, backbone), [torch.Generator().manual_seed(3) for _ in range(3)]
    with torch.no_grad():
        plain = backbone.posterior(imap.jobs.posterior_cache.to_tensor(CLIP)).sample(generators[0])
        first = cache.posterior(backbone, CLIP).sample(generators[1])
        again = cache.posterior(backbone, CLIP).sample(generators[2])
    assert torch.equal(plain, first) and torch.equal(plain, again) and plain.dtype == again.dtype
    assert plain.stride() == again.stride() and plain.std() > 0
    states = [x.get_state() for x in generators]
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])
    assert len(encoded) == 2 and (cache.read, cache.made) == (1, 1) and len(files(tmp_path)) == 1


def test_half_precision_is_kept_as_it_is(tmp_path):
    backbone = backbone_of(tiny.build("wan"))
    backbone.pipe.vae.to(torch.bfloat16)
    cache = PosteriorCache(tmp_path, backbone)
    with torch.no_grad():
        one, other = (cache.posterior(backbone, CLIP).parameters for _ in range(2))
    assert one.dtype == other.dtype == torch.bfloat16 and torch.equal(one, other) and cache.read == 1


def test_what_an_encoding_depends_on_makes_another_file(tmp_path, monkeypatch):
    backbone = backbone_of(tiny.build("wan"))
    vae = backbone.pipe.vae

    def names(clip: np.ndarray = CLIP) -> str:
        return PosteriorCache(tmp_path, backbone)._key(clip)

    keys = [names(), names(CLIP[:, ::-1]), names(CLIP.reshape(9, 48, 32, 3))]
    vae.enable_tiling()
    keys.append(names())
    with torch.no_grad():
        next(iter(vae.encoder.parameters()))[0] += 1e-3
    keys.append(names())
    monkeypatch.setattr(torch, "__version__", "9.0")
    keys.append(names())
    vae.to(torch.bfloat16)
    keys.append(names())
    assert len(set(keys)) == len(keys) and names() == names()


@pytest.mark.parametrize("damage", ["cut off", "a changed byte", "empty", "another file", "a scalar"])
def test_a_damaged_file_is_named_and_made_again(damage: str, pipes, tmp_path, caplog):
    backbone = backbone_of(pipes("wan"))
    cache = PosteriorCache(tmp_path, backbone)
    with torch.no_grad():
        expected = cache.posterior(backbone, CLIP).parameters
        (path,) = files(tmp_path)
        whole = path.read_bytes()
        changed = whole[:-1] + bytes([whole[-1] ^ 1])
        path.write_bytes({"cut off": whole[:-9], "a changed byte": changed, "empty": b""}.get(damage, b"x" * 999))
        if damage == "a scalar":
            save_file({"parameters": torch.tensor(1.0)}, path, {"sha256": "x"})
        assert torch.equal(cache.posterior(backbone, CLIP).parameters, expected)
    assert f"cache_latents: {path} is damaged" in caplog.text and "made again" in caplog.text
    assert path.read_bytes() == whole and cache.made == 2


def test_a_file_that_cannot_be_written_stops_nothing(pipes, tmp_path, monkeypatch, caplog):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(imap.jobs.posterior_cache, "save_file", full)
    backbone = backbone_of(pipes("wan"))
    with torch.no_grad():
        PosteriorCache(tmp_path, backbone).posterior(backbone, CLIP)
    assert "cannot be written ([Errno 28] No space left on device); the run goes on" in caplog.text
    assert files(tmp_path) == []


def test_what_a_killed_process_left_is_removed(pipes, tmp_path, dead):
    backbone = backbone_of(pipes("wan"))
    cache = PosteriorCache(tmp_path, backbone)
    left = tmp_path / f".{cache._key(CLIP)}.safetensors.partial-{dead}-{imap.atomic.HOST}"
    left.write_bytes(b"half")
    with torch.no_grad():
        cache.posterior(backbone, CLIP)
    assert [path.name for path in files(tmp_path)] == [f"{cache._key(CLIP)}.safetensors"]


def test_many_writers_and_readers_of_one_clip_agree(pipes, tmp_path, caplog):
    """Threads take the place of processes: each has its own cache, and none is locked out."""
    backbone = backbone_of(pipes("wan"))
    with torch.no_grad():
        made = backbone.posterior(imap.jobs.posterior_cache.to_tensor(CLIP))
    backbone.posterior = lambda video: made  # one VAE cannot run in several threads

    def read(_: int) -> torch.Tensor:
        with torch.no_grad():
            return PosteriorCache(tmp_path, backbone).posterior(backbone, CLIP).parameters

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(read, range(24))
    assert all(torch.equal(first, x) for x in others) and len(files(tmp_path)) == 1 and "damaged" not in caplog.text


def test_a_vae_whose_weights_are_elsewhere_is_refused_and_a_folder_that_cannot_be(pipes, tmp_path):
    backbone = backbone_of(tiny.build("wan"))
    backbone.pipe.vae.to("meta")
    with pytest.raises(ImapError, match="cache_latents must hash the VAE's weights.*set another offload"):
        PosteriorCache(tmp_path, backbone)
    (tmp_path / "file").touch()
    with pytest.raises(ImapError, match="cache_latents: cannot make .*file/sub: Not a directory; name another"):
        PosteriorCache(tmp_path / "file" / "sub", backbone_of(pipes("wan")))


@pytest.mark.slow
def test_a_list_is_the_same_with_and_without_a_cache(command, loads, encoded, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clips = [moving_square(tmp_path / f"{n}.mp4", 9, 32, 48, level=100 + n) for n in (0, 1)]
    request = [listed(tmp_path, "a ball", "a dog", "a cat", clips=[*clips, clips[0]]), "renoise_timestep=1"]
    assert command("renoising", *request, f"output_dir={tmp_path / 'plain'}")[0] == 0 and len(encoded) == 3
    status, said = command("renoising", *request, "cache_latents=true")
    folder = tmp_path / "out" / LATENTS
    sizes = sum(path.stat().st_size for path in folder.iterdir())
    assert status == 0 and len(encoded) == 5 and len(files(folder)) == 2
    assert f"1 clips were not encoded again, 2 were encoded; {folder} holds 2 encodings, {sizes / 1e6:.1f} MB" in said
    for name in ("000-a-ball", "001-a-dog", "002-a-cat"):
        one, other = arrays(tmp_path / "out" / name), arrays(tmp_path / "plain" / name)
        assert len(one) > 8 and all(one[key].tobytes() == other[key].tobytes() for key in other)
    command("renoising", *request, f"output_dir={tmp_path / 'seed'}", "seed=7")
    status, said = command(
        "renoising", *request, f"output_dir={tmp_path / 'more'}", "seed=7", f"cache_latents={folder}"
    )
    assert "3 clips were not encoded again, 0 were encoded" in said and len(encoded) == 8
    for name in ("000-a-ball", "001-a-dog", "002-a-cat"):
        one, other = arrays(tmp_path / "more" / name), arrays(tmp_path / "seed" / name)
        assert all(one[key].tobytes() == other[key].tobytes() for key in other)
        assert not np.array_equal(one["imap"], arrays(tmp_path / "plain" / name)["imap"])


@pytest.mark.slow
def test_a_full_denoise_draws_the_same_numbers_with_a_cache(command, loads, tmp_path):
    clip = moving_square(tmp_path / "clip.mp4", 9, 32, 48)
    request = [*SAMPLE, f"video_path={clip}", "renoise_timestep=0", "test_full_denoise=true"]
    for name, setting in (("plain", "null"), ("first", tmp_path / "kept"), ("again", tmp_path / "kept")):
        assert command("renoising", *request, f"output_dir={tmp_path / name}", f"cache_latents={setting}")[0] == 0
    videos = [(tmp_path / name / FOLDER / "output.mp4").read_bytes() for name in ("plain", "first", "again")]
    assert videos[0] == videos[1] == videos[2]


def test_a_folder_that_cannot_hold_encodings_is_refused_before_a_model_is_loaded(command, no_load, tmp_path):
    (tmp_path / "file").write_text("")
    clip = moving_square(tmp_path / "clip.mp4", 5, 32, 48)
    request = ["prompt=a ball", "concepts=ball", f"video_path={clip}", "num_frames=5", "renoise_timestep=0"]
    for more in ([], ["dry_run=true"]):
        status, _ = command("renoising", *request, *more, f"cache_latents={tmp_path / 'file' / 'sub'}")
        assert f"cache_latents: cannot write to {tmp_path / 'file'}; name another folder" in str(status)
    with pytest.raises(ImapError, match="backbone.offload=sequential"):
        check_cache(tmp_path, "sequential")
    check_cache(tmp_path / "not" / "yet", "model")
