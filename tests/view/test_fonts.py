"""Letters that matplotlib's font lacks: from another font, or as numbers, told once; never boxes."""

import logging
import warnings

import numpy as np
import pytest

from imap import Maps
from imap.view import fonts
from imap.view.look import Look
from imap.view.sample import Shown, blank_frames
from imap.view.strip import save, strip

HORSE, TREE = "\u9a6c", "\U0001f333"
ARABIC = "\u0643\u0644\u0628"  # dog


@pytest.fixture(autouse=True)
def _fresh():
    for function in (fonts._warn, fonts._warn_of_order, fonts._family_of):
        function.cache_clear()
    yield
    for function in (fonts._warn, fonts._warn_of_order, fonts._family_of):
        function.cache_clear()


def drawn(tmp_path, words):
    maps = Maps({"imap": np.ones((len(words), 2, 2, 3), np.float32)}, words)
    shown = Shown(tmp_path, blank_frames(maps), range(6), maps, {"prompt": " and ".join(words), "notes": [words[0]]})
    rows = [(word, "imap", np.ones((2, 2, 3)), None) for word in words]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = strip(shown, rows, "inferno", 0.8, Look().space)
        save(figure, tmp_path / "strip.png")
    return [x.get_text() for axes in figure.axes for x in axes.texts] + [x.get_text() for x in figure.texts]


def test_letters_of_no_font_are_shown_as_numbers_and_told_once(tmp_path, monkeypatch, caplog):
    own = fonts._letters_of
    monkeypatch.setattr(fonts, "_letters_of", lambda path: own(path) if "DejaVu" in path else frozenset())
    texts = drawn(tmp_path, (HORSE, TREE, "na\u00efve"))
    assert {"U+9A6C", "U+1F333", "na\u00efve", "Note: U+9A6C"} <= set(texts)
    assert sum("no installed font" in record.message for record in caplog.records) == 1
    caplog.clear()
    drawn(tmp_path, (HORSE, TREE, "na\u00efve"))
    assert not caplog.records


def test_an_installed_font_that_has_the_letters_draws_them(monkeypatch):
    has = {ord(HORSE)}
    path = next(font.fname for font in fonts.fontManager.ttflist if font.name == "STIXGeneral")
    own = fonts._letters_of
    monkeypatch.setattr(fonts, "_letters_of", lambda name: frozenset(has) if name == path else own(name))
    monkeypatch.setattr(fonts.fontManager, "ttflist", [x for x in fonts.fontManager.ttflist if "CJK" not in x.name])
    assert fonts.families_for([f"a {HORSE}"])[-1] == "STIXGeneral" and fonts.drawable(HORSE) == HORSE


def test_plain_texts_keep_matplotlibs_fonts(caplog):
    caplog.set_level(logging.INFO)
    assert fonts.families_for(["a ball", "\u00e9"]) == fonts.matplotlib.rcParams["font.family"]
    assert fonts.drawable("a ball\u00e9") == "a ball\u00e9" and not caplog.records


def test_letters_that_join_are_drawn_so_or_told_once(tmp_path, monkeypatch, caplog):
    from matplotlib.figure import Figure

    def width(text: str) -> float:
        figure = Figure()
        return figure.text(0, 0, text, fontsize=40).get_window_extent().width

    if fonts.JOINS_LETTERS:
        apart = "\u200c".join(ARABIC)  # zero-width non-joiners
        assert width(ARABIC) < width(apart) - 2 and not caplog.records
    monkeypatch.setattr(fonts, "JOINS_LETTERS", False)
    for _ in range(2):
        drawn(tmp_path, (ARABIC, "ball"))
    assert [record.message for record in caplog.records if "one by one" in record.message] == [
        "pictures show Arabic, Hebrew or Indic letters one by one from left to right; matplotlib 3.11 joins them"
    ]
