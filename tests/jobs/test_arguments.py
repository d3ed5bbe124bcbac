"""What imap.renoise and imap.trace are handed: refused in one line, or taken as what it plainly is."""

import numpy as np
import pytest
import torch
from PIL import Image

import imap
from imap.media.clip_file import open_clip
from imap.media.video_io import write_video
from tests.shared import PROMPT

CLIP = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
LATENTS = torch.zeros(1, 16, 3, 4, 6)
HOLED = np.where(np.arange(9)[:, None, None, None] == 3, np.nan, CLIP / 255.0)


def renoised(pipe, **given):
    base = {"clip": CLIP, "prompt": PROMPT, "concepts": ["ball"], "motions": ["rolls"]}
    base |= {"num_inference_steps": 4, "renoise_timestep": [2]}
    if "latents" in given:
        del base["clip"]
    return imap.renoise(pipe, **{**base, **given}).maps


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        *(("prompt", value, "is not a text") for value in (None, ["a ball"], b"a ball", 3)),
        *(("negative_prompt", value, "is not a text") for value in (None, 3)),
        *(("seed", value, "whole number in torch's range") for value in (None, "42", 4.2, 2**64, True)),
        *(("num_inference_steps", value, "whole number of at least 1") for value in ("4", [4], 0, 4.0)),
        *(("num_inference_steps", value, "training steps of the models") for value in (1001, 10**6)),
        *(("guidance_scale", value, "number of at least 1") for value in ("6", float("nan"), -1, [6], 10**400)),
        *(("test_full_denoise", value, "neither true nor false") for value in ("false", "no", 0, None)),
        *(("renoise_timestep", value, "list of step indices") for value in ("2", 2.0, [[2]], [True], np.array([2.5]))),
        ("observe", 3, "cannot be called"),
        ("prompt_cache", {}, "is not an imap"),
        ("attention", "no", "neither true nor false"),
        *(("maps_layers", value, "list of whole numbers") for value in (0.0, False, b"ab")),
        *(("maps_layers", value, "is not a range") for value in ([], 0)),
        *(("height", value, "whole number of at least 1") for value in ("32", 32.0, 0, np.zeros((300, 300)))),
        pytest.param("num_frames", 10**5000, "is more than 1000000", id="huge num_frames"),
        pytest.param("imap_layer", 10**5000, "names layer a int that is too long to show", id="huge layer"),
        ("resize", np.array(["crop", "none"]), "video.resize=.* is not known"),
        ("maps", (x for x in ()), "takes imap.SaliencyMap objects"),
        ("maps", np.array([1, 2]), "takes imap.SaliencyMap objects"),
        ("show", 5, "show=5 is not known"),
        ("concepts", b"", "expected words, got b''"),
        ("clip", "x" * 300, "too long for a path"),
        ("clip", [[[1]], [[1, 2]]], "frames of several shapes"),
        ("clip", [[1, [2]]], "make no array"),
        ("clip", [], "no frames"),
        ("clip", 3, "a clip that is a int"),
        ("clip", [Image.fromarray(CLIP[0]), Image.new("RGB", (10, 10))], "frames of several shapes"),
        ("clip", np.full(CLIP.shape, np.nan), "without NaN"),
        ("clip", HOLED, "without NaN"),
        *(("latents", value, "must be a tensor") for value in (3, "x")),
        ("latents", CLIP, "dense tensor of floats"),
        ("latents", np.array(["a", "b"]), "must be a tensor"),
        ("latents", LATENTS.to_sparse(), "dense tensor of floats"),
        ("latents", LATENTS.long(), "dense tensor of floats"),
        ("latents", LATENTS + float("nan"), "not finite"),
        ("latents", torch.zeros(1, 16, 3, 5, 7), "latents of 5x7 cells"),
        ("noise", 3, "must be a tensor"),
        ("noise", LATENTS + float("inf"), "not finite"),
    ],
)
def test_wrong_arguments_get_one_line(pipes, name, value, reason):
    with pytest.raises(imap.ImapError, match=reason) as error:
        renoised(pipes("wan"), **{name: value})
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_clips_times_follow_its_maps_into_pictures_and_files(pipes, tmp_path):
    write_video(tmp_path / "clip.mp4", CLIP, [0, 1, 2, 3, 4, 4.5, 5, 5.5, 6, 7])
    clip = {"clip": tmp_path / "clip.mp4", "seconds": (2, 6.5), "num_frames": 5, "frames": "uniform"}
    base = {"prompt": PROMPT, "concepts": ["ball"], "num_inference_steps": 4, "renoise_timestep": [2]}
    read = imap.renoise(pipes("wan"), **base, **clip)
    assert read.times == pytest.approx((2, 3, 4, 5, 6, 6.5)) and read.maps.facts["clip"]["taken"] == [2, 3, 4, 6, 8]
    folder = read.maps.save(tmp_path / "saved", video=read.frames)
    assert open_clip(folder / "output.mp4").times == pytest.approx((0, 1, 2, 3, 4, 4.5))
    again = imap.Maps.load(folder)
    figure = again.plot(read.frames)
    labels = [x.get_text() for axes in figure.axes for x in axes.texts]
    assert {"2.0 s", "5.0 s"} <= set(labels)
    path = again.show("ball", read.frames, path=tmp_path / "a.gif")
    with Image.open(path) as gif:
        lasts = [gif.seek(i) or gif.info["duration"] for i in range(gif.n_frames)]
    assert sum(lasts) == 4500 and "8.0 s" not in labels


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("seed", np.int64(42), 42),
        ("num_inference_steps", np.int32(4), 4),
        ("renoise_timestep", np.int64(2), 2),
        ("renoise_timestep", np.array([2]), [2]),
        ("renoise_timestep", [np.int64(2)], [2]),
        ("guidance_scale", np.float32(6), 6),
        ("latents", LATENTS.numpy(), LATENTS),
        ("noise", LATENTS.numpy(), LATENTS),
        ("clip", CLIP[:, ::-1], CLIP[:, ::-1].copy()),
        ("clip", list(CLIP), CLIP),
    ],
)
def test_numpy_values_and_views_are_taken_as_the_plain_ones(pipes, name, value, plain):
    one, other = (renoised(pipes("wan"), **{name: x}) for x in (value, plain))
    assert np.array_equal(one["imap"], other["imap"])
