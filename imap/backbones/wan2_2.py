"""Wan2.2 A14B: two transformers built like that of Wan2.1, one for high noise and one for low noise."""

from imap.backbones.wan import Wan


class Wan22(Wan):
    """Wan2.2 text-to-video, A14B. The pipeline changes from one transformer to the other at its boundary."""

    family = "wan2_2"
    transformers = ("transformer", "transformer_2")
