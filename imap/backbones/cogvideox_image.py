"""CogVideoX from a picture, whose latents are in the channels of the video."""

from imap.backbones.cogvideox import CogVideoXBlocks
from imap.backbones.cogvideox1_5 import CogVideoX15Blocks


class CogVideoXImage(CogVideoXBlocks):
    """CogVideoX image-to-video, 5B. Control models (Fun) are built like it; Python calls of them are traced."""

    family = "cogvideox_i2v"
    pipeline_class = "CogVideoXImageToVideoPipeline"
    from_picture = True
    images = ("image",)


class CogVideoX15Image(CogVideoX15Blocks):
    """CogVideoX 1.5 image-to-video, 5B."""

    family = "cogvideox1_5_i2v"
    pipeline_class = "CogVideoXImageToVideoPipeline"
    from_picture = True
    images = ("image",)
