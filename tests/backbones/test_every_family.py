"""Every family against its stock pipeline and a float64 reference of its maps, without a line for the family here."""

import pytest

from benchmarks.families.checks import Renoising, measure
from imap.backbones import backbone_of
from tests.conftest import EVERY_FAMILY


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_bits_maps_and_noise_are_right(pipes, family):
    row = measure(pipes(family))
    assert row.faults == []
    assert isinstance(row.renoising, Renoising) or backbone_of(pipes(family)).images
