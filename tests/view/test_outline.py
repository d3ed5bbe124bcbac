"""Outlines of the truth lie where the masks are, in their frames alone, and are seen on every ground."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from imap import ImapError
from imap.map_files import META, TRUTH, load_truth, read_meta, write_meta
from imap.media.truth import Truth, write_truth
from imap.view.look import Look
from imap.view.normalization import normalize
from imap.view.outline import LEGEND, contours, outlined
from imap.view.overview import _Grid, overview
from imap.view.pictures import write_pictures
from imap.view.sample import open_sample
from imap.view.strip import strip
from imap.view.upsampling import middle_frame

FRAMES, HEIGHT, WIDTH = 13, 48, 64  # of the run in conftest
TOP, BOTTOM, LEFT, RIGHT = 12, 30, 16, 48  # of the planted square
ACTING = range(6, 10)  # not the frames of whole latent frames


def square() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[TOP:BOTTOM, LEFT:RIGHT] = True
    return mask


def truth() -> Truth:
    """The ball is always there. What rises does so while it acts. The box has no truth."""
    ball = np.repeat(square()[None], FRAMES, axis=0)
    return Truth(["ball"], ["rises & </script> falls"], ball[None], np.isin(np.arange(FRAMES), ACTING)[None])


def test_the_contour_of_a_square_lies_on_its_edges():
    (polygon,) = contours(square())
    np.testing.assert_allclose(polygon.min(axis=0), [LEFT / WIDTH, TOP / HEIGHT])
    np.testing.assert_allclose(polygon.max(axis=0), [RIGHT / WIDTH, BOTTOM / HEIGHT])
    np.testing.assert_array_equal(polygon[0], polygon[-1])
    middle = np.ptp(polygon, axis=0) > 0
    assert middle.all() and len(polygon) < 60  # straight parts have no points between
    assert _area(polygon) * HEIGHT * WIDTH == pytest.approx(square().sum(), abs=5)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (3, 9)])
def test_small_things_have_a_contour(size):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20 : 20 + size[0], 30 : 30 + size[1]] = True
    (polygon,) = contours(mask)
    centre = (30 + size[1] / 2, 20 + size[0] / 2)
    np.testing.assert_allclose((polygon.min(axis=0) + polygon.max(axis=0)) / 2 * (WIDTH, HEIGHT), centre, atol=0.25)
    assert (np.ptp(polygon, axis=0) * (WIDTH, HEIGHT) > 0.6 * np.array(size[::-1])).all()


def test_holes_cut_things_and_no_thing():
    ring = square()
    ring[18:24, 24:40] = False
    outer, inner = sorted(contours(ring), key=_area, reverse=True)
    assert _area(outer) > 4 * _area(inner) and (outer.min(axis=0) < inner.min(axis=0)).all()
    assert contours(np.zeros((HEIGHT, WIDTH), bool)) == []
    (whole,) = contours(np.ones((HEIGHT, WIDTH), bool))
    np.testing.assert_allclose([whole.min(axis=0), whole.max(axis=0)], [[0, 0], [1, 1]])


@pytest.mark.parametrize("ground", [0, 90, 255])
@pytest.mark.parametrize(("height", "width"), [(300, 400), (48, 64), (37, 200)])
def test_the_line_is_on_the_edge_thin_and_seen_on_every_ground(ground, height, width):
    picture = np.full((height, width, 3), ground, np.uint8)
    (drawn,) = outlined([picture], square()[None])
    change = np.abs(drawn.astype(int) - ground).max(axis=-1)
    across = change[round((TOP + BOTTOM) / 2 / HEIGHT * height)]  # a row of pixels through the middle
    for edge in (LEFT / WIDTH * width, RIGHT / WIDTH * width):
        near = np.abs(np.arange(width) + 0.5 - edge)
        assert across[near < 2].max() > 100
    away = np.min([np.abs(np.arange(width) + 0.5 - x / WIDTH * width) for x in (LEFT, RIGHT)], axis=0)
    assert (across[away > 2.6] == 0).all()
    down = change[:, width // 2]
    for edge in (TOP / HEIGHT * height, BOTTOM / HEIGHT * height):
        assert down[np.abs(np.arange(height) + 0.5 - edge) < 2].max() > 100
    away = np.min([np.abs(np.arange(height) + 0.5 - y / HEIGHT * height) for y in (TOP, BOTTOM)], axis=0)
    assert (down[away > 2.6] == 0).all()


def test_pictures_without_masks_are_as_they_were():
    picture = np.full((30, 40, 3), 7, np.uint8)
    assert next(outlined([picture], None)) is picture
    assert np.array_equal(next(outlined([picture], np.zeros((1, 48, 64), bool))), picture)


@pytest.fixture
def shown(tmp_path, write):
    """A sample with a truth."""
    folder = write(tmp_path / "000-sample")
    write_truth(folder / TRUTH, truth())
    meta = read_meta(folder)
    (folder / META).unlink()  # it lists all other files
    write_meta(folder, {key: value for key, value in meta.items() if key not in ("layout", "files")})
    return open_sample(folder)


def test_moving_pictures_have_outlines_in_the_frames_of_the_truth_alone(shown):
    rows = [(text, "imap_layers", normalize(shown.maps.of(text)[None]).values[0]) for text in shown.maps.texts]
    with_truth = np.stack(list(overview(shown, rows, Look())))
    without = np.stack(list(overview(replace(shown, truth={}), rows, Look())))
    high, wide = without.shape[1:3]
    assert with_truth.shape[2] == wide and with_truth.shape[1] == high + 18  # a line says what outlines are
    panels = _Grid(4, 200, 150, 6 + 20, (high, wide))
    for index, text in enumerate(["video", *shown.maps.texts]):
        y, x = panels.corner(index)
        cut = np.s_[:, y : y + 150, x : x + 200]
        differs = (with_truth[cut] != without[cut]).any(axis=(1, 2, 3))
        expected = shown.truth[text].any(axis=(1, 2)) if text in shown.truth else np.zeros(FRAMES, bool)
        np.testing.assert_array_equal(differs, expected, err_msg=text)
        for frame in np.flatnonzero(expected):
            changed = np.argwhere((with_truth[cut][frame] != without[cut][frame]).any(axis=-1))
            scale = 200 / WIDTH
            np.testing.assert_allclose(changed.min(axis=0) + 0.5, [TOP * scale, LEFT * scale], atol=2.6)
            np.testing.assert_allclose(changed.max(axis=0) + 0.5, [BOTTOM * scale, RIGHT * scale], atol=2.6)


def test_a_strip_has_outlines_in_the_rows_and_frames_of_the_truth(shown):
    rows = [(text, "imap_layers", shown.maps.of(text) * 0, (0.0, 1.0)) for text in shown.maps.texts]
    figure = strip(shown, rows, "inferno", 0.8, "bilinear")
    middles = [middle_frame(k, 4, FRAMES) for k in range(4)]
    lines = [x for axes in figure.axes for x in axes.collections if isinstance(x, LineCollection)]
    paths = [path.vertices for collection in lines for path in collection.get_paths()]
    acting = sum(frame in ACTING for frame in middles)
    assert 0 < acting < 4 and len(paths) == 4 + acting and LEGEND in [text.get_text() for text in figure.texts]
    cell, gap = 3, 6  # pixels of the sheet per pixel of the frame, and between cells
    for column, path in enumerate(paths[:4]):  # of the ball, in the second row
        corner = np.array([column * (cell * WIDTH + gap), cell * HEIGHT + gap])
        first, last = cell * np.array([LEFT, TOP]) - 0.5, cell * np.array([RIGHT, BOTTOM]) - 0.5
        np.testing.assert_allclose(path.min(axis=0), corner + first)
        np.testing.assert_allclose(path.max(axis=0), corner + last)
    plain = strip(replace(shown, truth={}), rows, "inferno", 0.8, "bilinear")
    assert not any(axes.collections for axes in plain.axes) and LEGEND not in [x.get_text() for x in plain.texts]


@pytest.mark.slow
def test_a_look_without_truth_draws_the_pictures_of_a_sample_without_one(shown, write, tmp_path):
    plain = write_pictures(open_sample(write(tmp_path / "plain")), Look(truth=False))
    view = write_pictures(shown, Look(truth=False))
    assert view.joinpath("ball.mp4").read_bytes() == plain.joinpath("ball.mp4").read_bytes()
    assert view.joinpath("strip.png").read_bytes() == plain.joinpath("strip.png").read_bytes()
    assert json.loads(view.joinpath("view.json").read_text())["look"]["truth"] is False
    assert write_pictures(shown, Look()).joinpath("ball.mp4").read_bytes() != plain.joinpath("ball.mp4").read_bytes()


def test_masks_of_another_size_or_length_are_refused(shown):
    folder, size = shown.folder, (FRAMES, HEIGHT, WIDTH)
    for shape in ((FRAMES - 1, HEIGHT, WIDTH), (FRAMES, WIDTH, HEIGHT)):
        write_truth(folder / TRUTH, Truth(["ball"], [""], np.zeros((1, *shape), bool), np.zeros((1, shape[0]), bool)))
        with pytest.raises(ImapError, match=rf"truth.npz has masks \({shape[0]}, .*\(13, 48, 64\) are expected"):
            load_truth(folder, size)
    (folder / TRUTH).write_bytes(b"nothing")
    with pytest.raises(ImapError, match=r"truth.npz is not a truth file"):
        load_truth(folder, size)
    with pytest.raises(ImapError, match=r"truth.npz is not the file that was written"):
        open_sample(folder)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
