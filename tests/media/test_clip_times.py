"""Which frames of a clip are taken and when they are shown, against time stamps that the tests write."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from imap import ImapError
from imap.media.clip_file import Clip, open_clip
from imap.media.clip_times import check_seconds, chosen_frames, frames_within, shown_times
from imap.media.clips import Fit, as_clip, check_clip, fit_clip
from imap.media.video_io import clock_facts, write_video

SIZE = (48, 64)


def of_times(*times: float) -> Clip:
    return Clip((len(times) - 1, *SIZE, 3), times, lambda numbers: iter(()))


def counted(count: int) -> list[np.ndarray]:
    """Frames whose grey tells their number: 4 per frame."""
    return [np.full((*SIZE, 3), 20 + 4 * i, np.uint8) for i in range(count)]


def numbers(frames: np.ndarray) -> list[int]:
    return [round((float(frame.mean()) - 20) / 4) for frame in frames]


def variable(path: Path, times: list[float], end: float) -> Path:
    """An mp4 whose frames are shown at these times."""
    write_video(path, counted(len(times)), [*times, end])
    return path


FAST_THEN_SLOW = [i / 24 if i < 24 else 1 + (i - 24) / 6 for i in range(49)]


@pytest.mark.parametrize(("frames", "wanted"), [(49, 9), (30, 9), (24, 25), (9, 9), (51, 13), (2, 5), (7, 1)])
def test_frames_of_a_steady_clip_are_those_that_are_evenly_numbered(frames: int, wanted: int):
    rate = 30000 / 1001
    clip = of_times(*(round(i / rate, 3) for i in range(frames + 1)))  # milliseconds, as mkv has them
    taken = chosen_frames(clip, Fit(num_frames=wanted, frames="uniform"), "clip")
    assert np.abs(np.array(taken) - np.linspace(0, frames - 1, wanted)).max() <= 0.501
    assert taken == chosen_frames(Clip(clip.shape, None, clip.pick), Fit(num_frames=wanted, frames="uniform"), "clip")


def test_frames_of_a_variable_clip_are_even_in_time(tmp_path: Path):
    path = variable(tmp_path / "clip.mp4", FAST_THEN_SLOW, FAST_THEN_SLOW[-1] + 1 / 6)
    clip = open_clip(path)
    assert np.allclose(clip.times[:-1], FAST_THEN_SLOW, atol=2e-5) and clip.times[-1] == pytest.approx(5.1667, abs=1e-3)
    fitted = fit_clip(clip, Fit(num_frames=9, frames="uniform"))
    at = np.array([FAST_THEN_SLOW[i] for i in fitted.taken])
    even = np.linspace(0, FAST_THEN_SLOW[-1], 9)
    nearest = [min(FAST_THEN_SLOW, key=lambda t, x=x: abs(t - x)) for x in even]
    assert np.allclose(at, nearest) and (at < 1).sum() == 2
    assert numbers(fitted.frames) == list(fitted.taken)
    assert fitted.record["times"][:-1] == pytest.approx(at, abs=2e-5) and fitted.record["frames"] == 49


def test_first_takes_the_first_frames_at_their_own_times(tmp_path: Path):
    clip = open_clip(variable(tmp_path / "clip.mp4", FAST_THEN_SLOW, 5.2))
    fitted = fit_clip(clip, Fit(num_frames=29, frames="first"))
    assert list(fitted.taken) == list(range(29)) and not fitted.notes
    assert fitted.times == pytest.approx(FAST_THEN_SLOW[:30], abs=2e-5)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((0, 1), range(4)), ((1, 2), range(4, 8)), ((1.1, 1.2), range(4, 5)), ((1.9, 4.005), range(7, 16))],
)
def test_a_part_of_a_clip_holds_the_frames_that_are_shown_in_it(seconds, expected):
    clip = of_times(*(i / 4 for i in range(17)))
    assert frames_within(clip, seconds, "clip") == expected


def test_a_part_is_taken_at_the_clips_own_times(tmp_path: Path):
    write_video(tmp_path / "clip.mp4", counted(49), 24)
    clip = open_clip(tmp_path / "clip.mp4")
    fitted = fit_clip(clip, Fit(num_frames=5, frames="uniform", seconds=(1, 1.5)))
    assert fitted.taken == (24, 27, 29, 32, 35) and numbers(fitted.frames) == list(fitted.taken)
    assert fitted.times == pytest.approx([1, 27 / 24, 29 / 24, 32 / 24, 35 / 24, 36 / 24], abs=1e-5)
    with pytest.raises(ImapError, match=r"clip.mp4 lasts 2.04 s, and video.seconds=\[1.0, 3.0\] are expected"):
        check_clip(clip, Fit(seconds=(1.0, 3.0)), "clip.mp4")
    with pytest.raises(ImapError, match="clip.mp4, from 1 to 1.5 s, has 12 frames and 5 are expected"):
        check_clip(clip, Fit(num_frames=5, seconds=(1.0, 1.5)), "clip.mp4")
    with pytest.raises(ImapError, match="frames without a clock have no seconds"):
        check_clip(as_clip(np.stack(counted(5))), Fit(seconds=(0.0, 0.1)), "the clip")


@pytest.mark.parametrize("value", ["ab", 3, (1,), (2, 1), (1, 1), (-1, 1), (0, float("nan")), (True, 2), ("0", "1")])
def test_a_part_that_is_none_is_refused(value):
    with pytest.raises(ImapError, match="is not a part of a clip"):
        check_seconds(value)


def test_a_part_may_be_a_numpy_array():
    assert check_seconds(np.array([1, 2.5])) == (1.0, 2.5) and check_seconds(None) is None


def test_a_part_ends_where_it_says(tmp_path: Path):
    path = variable(tmp_path / "clip.mp4", [0, 0.5, 1, 6], 7)
    fitted = fit_clip(open_clip(path), Fit(seconds=(0.7, 2)))
    assert list(fitted.taken) == [1, 2] and fitted.times == pytest.approx((0.7, 1, 2), abs=1e-4)
    fitted = fit_clip(open_clip(path), Fit(num_frames=2, frames="uniform", seconds=(3, 6.5)))
    assert list(fitted.taken) == [2, 3] and fitted.times == pytest.approx((3, 6, 6.5), abs=1e-4)
    with pytest.raises(ImapError, match="lasts 7.00 s"):
        fit_clip(open_clip(path), Fit(seconds=(5, 7.5)))


def test_a_video_that_begins_after_its_sound_has_the_clock_of_the_file(tmp_path: Path):
    with av.open(str(tmp_path / "late.mp4"), "w") as file:
        video, sound = file.add_stream("libx264", rate=10), file.add_stream("aac", rate=44100)
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        for i in range(round(4 * 44100 / 1024)):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, 1024 * i
            file.mux(sound.encode(frame))
        for i, picture in enumerate(counted(20)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = 20 + i
            file.mux(video.encode(frame))
        file.mux([*video.encode(None), *sound.encode(None)])
    clip = open_clip(tmp_path / "late.mp4")
    assert clip.times[0] == pytest.approx(2, abs=0.05) and clip.times[-1] == pytest.approx(4, abs=0.05)
    assert numbers(fit_clip(clip, Fit(num_frames=2, frames="first", seconds=(3, 4))).frames) == pytest.approx(
        [10, 11], abs=1
    )


def test_a_frame_of_hours_is_a_damaged_clock(tmp_path: Path):
    variable(tmp_path / "clip.mp4", [0, 0.5, 1, 6], 9000)
    with pytest.raises(ImapError, match="shows one frame for 8994 s; its time stamps are damaged"):
        open_clip(tmp_path / "clip.mp4")


def test_frames_that_repeat_share_their_time_and_are_told(tmp_path: Path):
    write_video(tmp_path / "clip.mp4", counted(3), 2)
    fitted = fit_clip(open_clip(tmp_path / "clip.mp4"), Fit(num_frames=5, frames="uniform"))
    assert numbers(fitted.frames) == list(fitted.taken) == [0, 0, 1, 1, 2]
    assert fitted.times == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.5])
    assert fitted.notes == ("5 frames were taken from 3 of the clip: 2 of them repeat another",)


def test_a_picture_is_no_clip():
    with pytest.raises(ImapError, match="photo.png is a single picture, and 9 frames are expected; give a video"):
        check_clip(of_times(0, 0.04), Fit(num_frames=9, frames="uniform"), "photo.png")


def test_frames_without_a_clock_are_chosen_by_number():
    fitted = fit_clip(as_clip(np.stack(counted(9))), Fit(num_frames=5, frames="uniform"))
    assert fitted.taken == (0, 2, 4, 6, 8) and fitted.times is None and "times" not in fitted.record


def test_copies_keep_their_order_and_the_end():
    times = shown_times(of_times(0, 1, 1.5), [0, 0, 0, 1])
    assert times == pytest.approx([0, 1 / 3, 2 / 3, 1, 1.5], abs=1e-6)


@pytest.mark.parametrize(
    ("clock", "rate", "seconds"),
    [
        (8, Fraction(8), 9 / 8),
        (29.97, Fraction(2997, 100), 9 / 29.97),
        ([5, 5.1, 5.5, 5.6, 5.7, 6, 6.5, 7, 7.5, 9], Fraction(9, 4), 4),
    ],
)
def test_a_written_video_lasts_as_long_as_its_clock_says(clock, rate, seconds: float, tmp_path: Path):
    write_video(tmp_path / "a.mp4", counted(9), clock)
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == rate and float(stream.duration * stream.time_base) == pytest.approx(seconds)
    read = open_clip(tmp_path / "a.mp4")
    expected = np.arange(10) / clock if isinstance(clock, int | float) else np.array(clock) - clock[0]
    assert np.allclose(read.times, expected, atol=2e-5) and numbers(read.read()) == list(range(9))
    assert clock_facts(clock)["fps"] == pytest.approx(float(rate), abs=1e-4)


def test_time_stamps_that_do_not_rise_are_told(tmp_path: Path, monkeypatch):
    from imap.media import clip_file

    times, notes = clip_file._times([(0.0, 0.1, 0.25), (0.5, 0.1, 0.25), (0.5, 0.1, 0.25)])
    assert times == (0.0, 0.25, 0.5, 0.75) and "do not rise" in notes[0]
    assert clip_file._times([(None, 0.0, 0.25)] * 2) == ((0.0, 0.25, 0.5), notes)
    assert clip_file._times([(2.0, 0.0, 0.25), (2.5, 0.0, 0.25)]) == ((2.0, 2.5, 3.0), ())


def test_an_edit_list_cuts_what_players_do_not_show(tmp_path: Path):
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    write_video(whole, counted(20), 10)
    with av.open(str(whole)) as source, av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as file:
        stream = file.add_stream_from_template(source.streams.video[0])
        shift = round(0.5 / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                file.mux(packet)
    clip = open_clip(cut)
    assert numbers(clip.read()) == list(range(5, 20)) and clip.times[-1] == pytest.approx(1.5, abs=0.01)
