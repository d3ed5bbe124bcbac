"""Clips: geometry of resizing, which frames are kept, what is refused, and that a written video reads back."""

import gc
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from imap import ImapError
from imap.media.clips import (
    Clip,
    Fit,
    as_clip,
    check_clip,
    check_video_size,
    fit_clip,
    read_clip,
    to_pixels,
    to_tensor,
)
from imap.media.video_io import write_video


@pytest.fixture(scope="module", autouse=True)
def _fast_garbage_collection():
    """imageio collects garbage whenever it opens or closes a file, and diffusers' modules are much to walk over."""
    gc.freeze()
    yield
    gc.unfreeze()


def of_shape(*shape: int) -> Clip:
    return Clip(shape, None, lambda numbers: iter(()))


def fitted(frames: np.ndarray, fit: Fit) -> np.ndarray:
    return fit_clip(as_clip(frames), fit).frames


def ramp(frames: int, height: int, width: int) -> np.ndarray:
    """Red grows to the right and green downwards, from 0 at one edge to 1 at the other; blue counts frames."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip[..., 0] = ((np.arange(width) + 0.5) / width * 255).round()
    clip[..., 1] = ((np.arange(height) + 0.5) / height * 255).round()[:, None]
    clip[..., 2] = np.arange(frames)[:, None, None]
    return clip


def across(clip: np.ndarray) -> np.ndarray:
    return clip[0, clip.shape[1] // 2, :, 0] / 255


def down(clip: np.ndarray) -> np.ndarray:
    return clip[0, :, clip.shape[2] // 2, 1] / 255


def centres(start: float, stop: float, count: int) -> np.ndarray:
    return start + (np.arange(count) + 0.5) / count * (stop - start)


def test_stretch_keeps_the_whole_picture_and_its_edges():
    clip = fitted(ramp(3, 40, 60), Fit(32, 96, None, resize="stretch"))
    assert clip.shape == (3, 32, 96, 3) and clip.dtype == np.uint8
    # the outermost half pixel cannot be interpolated, so the ends may be off by it
    assert np.abs(across(clip) - centres(0, 1, 96)).max() < 0.012
    assert np.abs(down(clip) - centres(0, 1, 32)).max() < 0.02


@pytest.mark.parametrize(
    ("size", "columns", "rows"),
    [
        ((32, 48), (0, 1), (0, 1)),  # the same shape
        ((32, 32), (1 / 6, 5 / 6), (0, 1)),  # narrower: the sides go, half each
        ((32, 96), (0, 1), (0.25, 0.75)),  # wider: top and bottom go
        ((80, 60), (1 / 4, 3 / 4), (0, 1)),  # larger and narrower
    ],
)
def test_crop_cuts_the_middle_and_keeps_the_shape_of_things(size: tuple, columns: tuple, rows: tuple):
    clip = fitted(ramp(2, 40, 60), Fit(*size, None, resize="crop"))
    assert clip.shape == (2, *size, 3)
    assert np.abs(across(clip) - centres(*columns, size[1])).max() < 0.02
    assert np.abs(down(clip) - centres(*rows, size[0])).max() < 0.025


@pytest.mark.parametrize("resize", ["crop", "stretch"])
@pytest.mark.parametrize("size", [(33, 47), (41, 61), (40, 61), (17, 200), (333, 17)])
def test_odd_sizes_come_out_exactly(resize: str, size: tuple[int, int]):
    assert fitted(ramp(2, 41, 61), Fit(16, 48, None, resize)).shape == (2, 16, 48, 3)
    assert fitted(ramp(1, *size), Fit(48, 16, None, resize)).shape == (1, 48, 16, 3)


def test_a_circle_stays_round_when_cropped():
    y, x = np.mgrid[:90, :160]
    disc = (((y - 44.5) ** 2 + (x - 79.5) ** 2) < 30**2).astype(np.uint8) * 255
    clip = fitted(np.repeat(disc[None, ..., None], 3, axis=3), Fit(48, 64, None, resize="crop"))[0, ..., 0] > 127
    high, wide = np.ptp(np.where(clip.any(axis=1))[0]) + 1, np.ptp(np.where(clip.any(axis=0))[0]) + 1
    assert abs(int(high) - 32) <= 1 and abs(int(high) - int(wide)) <= 1


def test_shrinking_averages_and_does_not_pick_pixels():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::4] = 200
    small = fitted(stripes, Fit(16, 16, None, resize="stretch"))[:, :, 1:-1]
    assert np.abs(small.astype(int) - 50).max() < 8


def test_uniform_frames_are_spread_from_the_first_to_the_last():
    kept = fitted(ramp(49, 16, 16), Fit(None, None, 9, frames="uniform"))[:, 0, 0, 2]
    assert kept.tolist() == [0, 6, 12, 18, 24, 30, 36, 42, 48]
    kept = fitted(ramp(30, 16, 16), Fit(None, None, 9, frames="uniform"))[:, 0, 0, 2]
    assert kept[0] == 0 and kept[-1] == 29 and set(np.diff(kept)) <= {3, 4}


def test_uniform_frames_repeat_where_the_clip_is_short():
    kept = fitted(ramp(5, 16, 16), Fit(None, None, 9, frames="uniform"))[:, 0, 0, 2]
    assert sorted(kept) == kept.tolist() and kept[0] == 0 and kept[-1] == 4 and set(kept) == set(range(5))


def test_first_frames_are_the_first():
    assert fitted(ramp(20, 16, 16), Fit(None, None, 9, frames="first"))[:, 0, 0, 2].tolist() == list(range(9))


def test_one_frame_is_the_first_of_the_clip():
    for frames in ("uniform", "first"):
        assert fitted(ramp(7, 16, 16), Fit(None, None, 1, frames=frames))[:, 0, 0, 2].tolist() == [0]


def test_a_clip_that_fits_is_left_as_it_is():
    clip = ramp(9, 32, 48)
    for resize in ("none", "crop", "stretch"):
        assert np.array_equal(fitted(clip, Fit(32, 48, 9, resize, "uniform")), clip)
    assert np.array_equal(fitted(clip, Fit()), clip)


@pytest.mark.parametrize(
    ("fit", "parts"),
    [
        (
            Fit(32, 48, 49),
            ["9 frames", "49 are expected", "video.frames=uniform", "video.frames=first", "num_frames=9"],
        ),
        (Fit(32, 48, 49, "crop", "first"), ["9 frames, fewer than the 49", "video.frames=uniform"]),
        (
            Fit(48, 32, 9),
            ["32x48", "48x32 is expected", "video.resize=crop", "video.resize=stretch", "height=32 width=48"],
        ),
        (Fit(48, 32, 49), ["has 9 frames", "49 are expected", "It also is 32x48", "height=32 width=48"]),
        (Fit(32, 64, 9, "none", "uniform"), ["32x48", "32x64 is expected", "video.resize=crop"]),
    ],
)
def test_a_wrong_size_or_length_is_refused_with_both_and_a_fix(fit: Fit, parts: list[str]):
    with pytest.raises(ImapError) as error:
        check_clip(of_shape(9, 32, 48, 3), fit, "a.mp4")
    assert str(error.value).startswith("a.mp4 ") and all(part in str(error.value) for part in parts)
    with pytest.raises(ImapError, match=r"^a\.mp4 "):
        fit_clip(as_clip(ramp(9, 32, 48)), fit, "a.mp4")


def test_an_unknown_way_to_fit_is_refused_with_the_known_ones():
    with pytest.raises(ImapError, match=r"video\.resize='zoom' is not known; it can be none, crop, stretch"):
        Fit(resize="zoom")
    with pytest.raises(ImapError, match=r"video\.frames='last' is not known; it can be none, uniform, first"):
        Fit(frames="last")


@pytest.mark.parametrize("size", [(9, 32, 48), (1, 16, 16), (5, 96, 144), (3, 32, 1040)])
def test_a_written_video_reads_back_close_to_what_it_was(size: tuple[int, int, int], tmp_path: Path):
    frames, height, width = size
    y, x = np.mgrid[:height, :width]
    clip = np.stack(
        [np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 20 * i)], -1) for i in range(frames)]
    )
    clip = clip.astype(np.uint8)
    write_video(tmp_path / "a.mp4", clip, 8)
    back = read_clip(tmp_path / "a.mp4")
    assert back.shape == clip.shape and back.dtype == np.uint8
    error = np.abs(back.astype(int) - clip.astype(int))
    assert error.mean() < 5 and np.abs(back.mean(axis=(1, 2)) - clip.mean(axis=(1, 2))).max() < 4


def test_frames_come_back_in_their_order(tmp_path: Path):
    clip = np.zeros((49, 32, 48, 3), np.uint8)
    clip += np.arange(0, 245, 5, dtype=np.uint8)[:, None, None, None]
    write_video(tmp_path / "a.mp4", clip, 8)
    assert np.abs(read_clip(tmp_path / "a.mp4").mean(axis=(1, 2, 3)) - np.arange(0, 245, 5)).max() < 4


@pytest.mark.parametrize("fps", [1, 8, 24])
def test_a_video_has_the_frame_rate_and_plays_anywhere(fps: int, tmp_path: Path):
    write_video(tmp_path / "a.mp4", ramp(9, 32, 48), fps)
    with av.open(str(tmp_path / "a.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.average_rate == fps and stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p" and stream.frames == 9


def silent_video(path: Path) -> None:
    """A container with a video stream and not one frame in it."""
    with av.open(str(path), "w", format="avi") as video:
        stream = video.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        video.start_encoding()


def cut_off(path: Path) -> None:
    write_video(path, ramp(9, 32, 48), 8)
    path.write_bytes(path.read_bytes()[:200])


def sound(path: Path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        for i in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, 1024 * i
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def shortened(path: Path, form: str):
    frames = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w", format=form) as file:
        stream = file.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode(None))
    assert len(read_clip(path)) == 60
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 1880 * 188 + 90])  # inside a transport packet


def test_only_lengths_and_sizes_that_the_model_takes_are_advised():
    with pytest.raises(ImapError) as error:
        check_clip(of_shape(24, 70, 102, 3), Fit(32, 48, 9), "x", (16, 16), 4)
    assert "num_frames=24" not in str(error.value) and "height=70" not in str(error.value)
    with pytest.raises(ImapError, match=r"or num_frames=25\. .*or height=64 width=96"):
        check_clip(of_shape(25, 64, 96, 3), Fit(32, 48, 9), "x", (16, 16), 4)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.mp4", lambda path: None, "there is no file"),
        ("folder.mp4", lambda path: path.mkdir(), "is a folder; make a video"),
        ("text.mp4", lambda path: path.write_text("no video"), "cannot be decoded"),
        ("empty.mp4", lambda path: path.write_bytes(b""), "is empty"),
        ("pipe.mp4", os.mkfifo, "is a pipe or a device"),
        ("sound.m4a", sound, "has no video, only audio"),
        ("short.mkv", partial(shortened, form="matroska"), "is cut off or damaged"),
        ("short.ts", partial(shortened, form="mpegts"), "is cut off or damaged"),
        ("noise.mp4", lambda path: path.write_bytes(bytes(range(256)) * 9), "cannot be decoded"),
        ("cut.mp4", cut_off, "cannot be decoded"),
        ("silent.avi", silent_video, ""),
    ],
)
def test_a_file_that_is_no_video_is_refused_in_one_line(name: str, write, message: str, tmp_path: Path):
    write(tmp_path / name)
    with pytest.raises(ImapError) as error:
        read_clip(tmp_path / name)
    assert str(error.value).startswith("video_path: ") and name in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_transport_stream_that_ends_inside_a_frame_is_refused(tmp_path: Path):
    path, refused = tmp_path / "packets.ts", 0
    shortened(path, form="mpegts")
    data = path.read_bytes()
    for packets in range(len(data) // 188 - 30, len(data) // 188):  # where frames end depends on the encoder
        path.write_bytes(data[: 188 * packets])
        try:
            read_clip(path)
        except ImapError as error:
            refused += "is cut off or damaged" in str(error)
    assert refused >= 15


def test_a_real_clip_is_read_whole_and_crops_to_the_size_of_wan(clips: Path):
    clip = read_clip(clips / "horse.mp4")
    assert clip.shape == (49, 480, 720, 3) and 20 < clip.mean() < 235
    assert fitted(clip[:2], Fit(480, 832, None, resize="crop")).shape == (2, 480, 832, 3)


@pytest.mark.parametrize(
    ("size", "multiple", "message"),
    [
        ((32, 48, 9), (16, 16), None),
        ((16, 16, 1), (16, 16), None),
        ((480, 720, 49), (16, 16), None),
        ((33, 48, 9), (16, 16), "height=33 is not a multiple of 16, as this model needs; set height=32"),
        ((32, 40, 9), (16, 32), "width=40 is not a multiple of 32, as this model needs; set width=32"),
        ((8, 48, 9), (16, 16), "set height=16"),
        ((32, 48, 10), (16, 16), "num_frames=10 is not 4k\\+1, as this model needs .*set num_frames=9"),
        ((32, 48, 2), (16, 16), "set num_frames=1$"),
        ((32, 48, 48), (16, 16), "set num_frames=49$"),
    ],
)
def test_a_size_that_the_model_cannot_take_is_refused_with_the_nearest(
    size: tuple, multiple: tuple, message: str | None
):
    if message is None:
        check_video_size(*size, multiple, 4)
        return
    with pytest.raises(ImapError, match=message):
        check_video_size(*size, multiple, 4)


def test_pixels_and_tensors_are_each_others_inverse():
    clip = ramp(3, 16, 32)
    tensor = to_tensor(clip)
    assert tensor.shape == (1, 3, 3, 16, 32) and tensor.dtype == torch.float32
    assert tensor.min() >= -1 and tensor.max() <= 1
    assert torch.equal(tensor[0, 0, 0, 0], torch.from_numpy(clip[0, 0, :, 0]).float() / 127.5 - 1)
    assert np.array_equal(to_pixels((tensor[0].permute(1, 2, 3, 0).numpy() + 1) / 2), clip)


def test_pixels_outside_of_the_range_are_cut_and_not_wrapped():
    assert to_pixels(np.array([-0.5, 0.0, 0.5, 1.0, 1.7])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_a_long_clip_takes_memory_for_the_frames_that_are_kept(tmp_path: Path):
    """60 frames of 1080p are 373 MB, and 9 small ones are wanted."""
    frame = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    with av.open(str(tmp_path / "long.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 1080, 1920, "yuv420p"
        for i in range(60):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(frame, 8 * i, 1)), "rgb24")))
        file.mux(stream.encode(None))
    code = """if True:
        import resource, sys
        from imap.media.clips import Fit, as_clip, fit_clip
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fit_clip(as_clip(sys.argv[1]), Fit(32, 48, 9, "crop", "uniform"))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "long.mp4")], capture_output=True, text=True)
    assert int(ran.stdout) < 200, ran.stderr
