"""Wan VACE: Wan with control blocks that run before its blocks, and are not read."""

from imap.backbones.wan import Wan
from imap.backbones.wan2_2 import Wan22


class WanVACE(Wan):
    """Wan2.1 VACE, 1.3B and 14B. Without a control video it makes videos from text."""

    family = "wan_vace"
    transformer_class = "WanVACETransformer3DModel"
    pipeline_class = "WanVACEPipeline"


class Wan22VACE(WanVACE):
    """Wan2.2 VACE, A14B: two transformers."""

    family = "wan2_2_vace"
    transformers = Wan22.transformers
