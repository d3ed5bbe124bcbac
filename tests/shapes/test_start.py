"""Training starts only from weights of the same class, shape and vocabulary."""

import shutil

import pytest

from imap.errors import ImapError
from imap.shapes.models import RECIPES
from imap.shapes.training.start import load_text_encoders, load_weights


def test_missing_weights_and_weights_of_another_class_are_refused(tmp_path):
    RECIPES["cogvideox"].build(3).save_pretrained(tmp_path / "first")
    other = RECIPES["wan"].build(0)
    for name in ("vae", "transformer"):
        part = other.components[name]
        message = rf"first has no {name} of class {type(part).__name__} and of this shape: Error.* Missing"
        with pytest.raises(ImapError, match=message):
            load_weights(part, tmp_path / "first", name)
    with pytest.raises(ImapError, match=r"nowhere is not a pipeline folder: it does not exist"):
        load_weights(other.vae, tmp_path / "nowhere", "vae")
    with pytest.raises(ImapError, match=r"first has no tokenizer of class"):
        shutil.rmtree(tmp_path / "first/tokenizer")
        load_text_encoders(RECIPES["cogvideox"].build(3), tmp_path / "first")


def test_text_encoders_of_other_words_are_refused(tmp_path):
    pipe = RECIPES["cogvideox"].build(3)
    pipe.save_pretrained(tmp_path)
    for path in (tmp_path / "tokenizer").glob("*.json"):
        path.write_text(path.read_text().replace("jumps", "rises"))
    with pytest.raises(ImapError, match=r"other words than this world has \(.*jumps, .*rises\)"):
        load_text_encoders(RECIPES["cogvideox"].build(4), tmp_path)
