"""Clips are shown as players show them: eight ways to turn, pixels that are not square, and colours as tagged."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from imap.media.clip_file import open_clip
from imap.media.clips import read_clip
from imap.media.video_io import write_video

ONE = 1 << 16
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # ITU-T H.273, table 4
RGB = (200, 60, 40)


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into an mp4's track header, moved so that the picture stays at 0."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 16
    height, width = 64, 96
    x = (width if a < 0 else 0) + (height if c < 0 else 0)
    y = (width if b < 0 else 0) + (height if d < 0 else 0)
    matrix = (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, x * ONE, y * ONE, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize("matrix", [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_every_display_matrix_moves_pixels_where_it_says(matrix, swapped: bool, tmp_path: Path):
    a, b, c, d = (0, matrix[0], matrix[3], 0) if swapped else matrix
    stored = np.full((64, 96, 3), 40, np.uint8)
    stored[4:20, 8:40] = 230
    write_video(tmp_path / "clip.mp4", [stored] * 2, 8)
    with_matrix(tmp_path / "clip.mp4", a, b, c, d)
    y, x = (rows.ravel() for rows in np.mgrid[:64, :96])
    shown_x, shown_y = a * x + c * y, b * x + d * y
    expected = np.zeros((96, 64) if swapped else (64, 96))
    expected[shown_y - shown_y.min(), shown_x - shown_x.min()] = stored[y, x, 0]
    frame = read_clip(tmp_path / "clip.mp4")[0, ..., 0].astype(float)
    assert frame.shape == expected.shape and np.abs(frame - expected).mean() < 2


@pytest.mark.parametrize(("aspect", "size"), [((4, 3), (48, 85)), ((1, 2), (96, 64)), ((1, 1), (48, 64))])
def test_pixels_that_are_not_square_become_square(aspect: tuple[int, int], size: tuple[int, int], tmp_path: Path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:, 32:] = 255  # the right half is bright, however wide
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode(None))
    clip = open_clip(tmp_path / "clip.mp4")
    shown = clip.read()[0]
    assert clip.shape[1:3] == shown.shape[:2] == size
    assert shown[:, : size[1] // 2 - 3].mean() < 8 and shown[:, size[1] // 2 + 3 :].mean() > 247


def flat(path: Path, matrix: int, full: bool, tagged: bool, height: int = 64) -> None:
    """A clip of one colour, of the stored values that a matrix and a range give it (ITU-T H.273)."""
    red, blue = WEIGHTS[matrix]
    r, g, b = (x / 255 for x in RGB)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / 2 / (1 - blue), (r - y) / 2 / (1 - red)
    values = (y * 255, 128 + u * 255, 128 + v * 255) if full else (16 + 219 * y, 128 + 224 * u, 128 + 224 * v)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = height, 96, "yuv420p"
        for _ in range(2):
            frame = av.VideoFrame(96, height, "yuv420p")
            if tagged:
                for it in (stream.codec_context, frame):
                    it.colorspace, it.color_range = matrix, 2 if full else 1
            for plane, value in zip(frame.planes, values, strict=True):
                plane.update(bytes([round(value)]) * plane.buffer_size)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_colours_follow_the_matrix_and_range_of_the_file(matrix: int, full: bool, tmp_path: Path):
    flat(tmp_path / "clip.mp4", matrix, full, tagged=True)
    assert np.abs(read_clip(tmp_path / "clip.mp4").astype(int) - RGB).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(576, 6), (720, 1)])
def test_colours_without_a_tag_follow_the_size_as_in_players(height: int, matrix: int, tmp_path: Path):
    flat(tmp_path / "clip.mp4", matrix, full=False, tagged=False, height=height)
    assert np.abs(read_clip(tmp_path / "clip.mp4").astype(int) - RGB).max() <= 3


def test_a_written_video_names_its_colours_and_keeps_them(tmp_path: Path):
    write_video(tmp_path / "a.mp4", [np.full((64, 96, 3), RGB, np.uint8)] * 3, 8)
    with av.open(str(tmp_path / "a.mp4")) as file:
        codec = file.streams.video[0].codec_context
        tags = (codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc)
    assert tags == (1, 1, 1, 1)  # BT.709, limited range
    assert np.abs(read_clip(tmp_path / "a.mp4").astype(int) - RGB).max() <= 3


@pytest.mark.slow
def test_high_dynamic_range_is_told(tmp_path: Path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), "rgb24")
        frame = frame.reformat(format="yuv420p", dst_color_trc=16)
        stream.codec_context.color_trc = 16
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert open_clip(tmp_path / "clip.mp4").notes == (
        "the clip is in high dynamic range (PQ): its colours are not tone-mapped",
    )
