"""The truth of a clip: of which word it is what, and that it is taken and resampled exactly as the clip's frames."""

from pathlib import Path

import numpy as np
import pytest

from imap import ImapError
from imap.media.clips import Fit, as_clip, fit_clip
from imap.media.fitted_truth import check_truth, fitted_truth
from imap.media.truth import Truth, read_truth, truth_path
from imap.media.video_io import write_video

FRAMES, HEIGHT, WIDTH = 9, 48, 64


def write_truth_file(clip: Path, **changes) -> dict[str, np.ndarray]:
    """A square that moves right and jumps in frames 3 to 5, and a bar below, that stays. Returns the arrays."""
    masks = np.zeros((2, FRAMES, HEIGHT, WIDTH), bool)
    for frame in range(FRAMES):
        masks[0, frame, 9:21, 8 + 3 * frame : 23 + 3 * frame] = True
    masks[1, :, 30:37] = True
    moving = np.zeros((2, FRAMES), bool)
    moving[0, 3:6] = True
    arrays = {"masks": masks, "moving": moving, "nouns": np.array(["box", "bar"]), "verbs": np.array(["jumps", ""])}
    arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez_compressed(truth_path(clip), **arrays)
    return arrays


def write_clip(path: Path) -> Path:
    """A clip whose white pixels are those of the square above."""
    masks = write_truth_file(path)["masks"]
    write_video(path, np.where(masks[0][..., None], np.uint8(250), np.uint8(5)).repeat(3, axis=-1), 8)
    return path


def test_a_noun_is_where_its_things_are_and_a_verb_where_and_while_it_happens(tmp_path):
    arrays = write_truth_file(tmp_path / "a.mp4", nouns=np.array(["box", "Box"]))
    truth = read_truth(tmp_path / "truth-a.npz")
    first, second = arrays["masks"]
    np.testing.assert_array_equal(truth.of("box"), first | second)
    np.testing.assert_array_equal(truth.of("jumps")[3:6], first[3:6])
    assert not truth.of("jumps")[:3].any() and not truth.of("jumps")[6:].any()
    assert truth.of("ball") is None
    twice = Truth(["a", "b"], ["hops", "hops"], arrays["masks"], np.eye(2, FRAMES, dtype=bool))
    np.testing.assert_array_equal(twice.of("hops")[0], first[0])
    np.testing.assert_array_equal(twice.of("hops")[1], second[1])


def test_things_without_verbs_need_no_times(tmp_path):
    write_truth_file(tmp_path / "a.mp4", verbs=None, moving=None)
    truth = read_truth(tmp_path / "truth-a.npz")
    assert truth.of("bar").sum() == FRAMES * 7 * WIDTH and truth.of("jumps") is None


@pytest.mark.parametrize(
    "fit",
    [
        Fit(),
        Fit(32, 32, resize="crop"),
        Fit(64, 48, resize="crop"),
        Fit(32, 96, resize="stretch"),
        Fit(num_frames=5, frames="uniform"),
        Fit(num_frames=5, frames="first"),
        Fit(32, 32, 3, "crop", "uniform", (0.25, 0.9)),
    ],
    ids=["as it is", "cropped", "cropped larger", "stretched", "spread", "first", "all"],
)
def test_the_truth_lies_on_the_pixels_of_the_clip_as_it_is_read(fit, tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    fitted = fit_clip(as_clip(path), fit)
    truth = fitted_truth(path, fitted, fit.resize).by_word(["box", "ball", "jumps"])
    seen = fitted.frames.mean(axis=-1) > 127
    assert list(truth) == ["box", "jumps"] and truth["box"].shape == seen.shape and 0.03 < seen.mean() < 0.5
    assert (truth["box"] != seen).sum() <= 0.02 * seen.sum()
    acting = np.isin(fitted.taken, [3, 4, 5])
    np.testing.assert_array_equal(truth["jumps"], truth["box"] & acting[:, None, None])


def test_a_clip_without_a_truth_has_none(tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    truth_path(path).unlink()
    check_truth(path, as_clip(path))
    assert fitted_truth(path, fit_clip(as_clip(path), Fit()), "none") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"masks": np.zeros((2, 8, HEIGHT, WIDTH), bool), "moving": np.zeros((2, 8), bool)},
            r"truth-a.npz has masks of 8x48x64, but a.mp4 is 9x48x64 \(frames x height x width\)",
        ),
        ({"masks": np.zeros((2, FRAMES, WIDTH, HEIGHT), bool)}, "has masks of 9x64x48, but a.mp4 is 9x48x64"),
        ({"masks": np.zeros((2, FRAMES, HEIGHT), bool)}, "is not a truth file; it needs masks"),
        ({"masks": np.zeros((2, FRAMES, HEIGHT, WIDTH), np.float32)}, "masks are float32"),
        ({"nouns": np.array(["box"])}, r"nouns are <U3 \(1,\)"),
        ({"nouns": None}, "is not a truth file"),
        ({"moving": None}, "is not a truth file"),
        ({"moving": np.zeros((2, 8), bool)}, r"moving are bool \(2, 8\)"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(changes, said, tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    write_truth_file(path, **changes)
    fitted = fit_clip(as_clip(path), Fit())
    for refuses in (
        lambda: check_truth(path, as_clip(path)),
        lambda: fitted_truth(path, fitted, "none"),
    ):
        with pytest.raises(ImapError, match=said):
            refuses()


def test_another_file_of_that_name_is_refused(tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    truth_path(path).write_bytes(b"PK\x03\x04 not quite")
    with pytest.raises(ImapError, match="truth-a.npz is not a truth file"):
        check_truth(path, as_clip(path))
