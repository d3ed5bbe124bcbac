"""One frame of the authors' release: its surrogates, GramCol and IMAP, by imap and by the naive reference."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imap.methods import reference
from imap.methods.gramcol import matches, standardized_columns, surrogates

LAYERS, TEXTS = (1, 2), 3


@pytest.fixture(scope="module")
def frame() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "release_frame.npz") as file:
        return dict(file)


def columns(frame, layer):
    """Standardized Gram columns (heads, texts, patches) of a layer, by imap."""
    q, o, keys = (torch.from_numpy(frame[f"{name}_{layer}"]) for name in ("q", "o", "keys"))
    index = surrogates(matches(q[:, None], keys))
    return standardized_columns(o[:, None], index, torch.from_numpy(frame["weights"]))[:, 0, :TEXTS].numpy()


def reference_columns(frame, layer):
    """The same by the naive reference, with each padded slot on its own."""
    q, o, keys = (frame[f"{name}_{layer}"].astype(np.float64) for name in ("q", "o", "keys"))
    padded = np.repeat(keys, frame["weights"].astype(int), axis=1)
    z = reference.standardized_columns(q[:, None], o[:, None], padded, range(padded.shape[1]))
    return z[:, :TEXTS, 0]


@pytest.mark.parametrize("compute", [columns, reference_columns])
def test_gramcol_and_imap_are_the_releases(frame, compute):
    z = {layer: compute(frame, layer) for layer in LAYERS}
    gramcol = np.mean([reference.gramcol(z[layer]) for layer in LAYERS], axis=0)
    imap = np.mean([reference.imap(z[layer], frame[f"heads_{layer}"]) for layer in LAYERS], axis=0)
    for ours, release in ((gramcol, frame["release_imap_layers"]), (imap, frame["release_sel_imap_layers"])):
        assert np.abs(ours - release).max() < 1e-3 * release.std()


@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_surrogates_are_the_releases(frame, i):
    q, keys = (torch.from_numpy(frame[f"{name}_{LAYERS[i]}"]) for name in ("q", "keys"))
    index = surrogates(matches(q[:, None], keys))[:, 0, :TEXTS].numpy()
    np.testing.assert_array_equal(frame["patches"][index], frame["release_surrogates"][i])


def test_the_padding_counts_for_all_slots_that_are_left(frame):
    assert frame["weights"].tolist() == [1, 1, 1, 223]  # of the release's 226
