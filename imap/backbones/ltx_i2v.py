"""LTX-Video from a picture: the first latent frame is the picture and stays free of noise."""

from imap.backbones.holds_picture import HoldsPicture
from imap.backbones.ltx import LTX


class LTXImageToVideo(HoldsPicture, LTX):
    """LTX-Video 0.9 image-to-video. It runs the checkpoint of text-to-video."""

    family = "ltx_i2v"
    pipeline_class = "LTXImageToVideoPipeline"
    also_loads = ("LTXPipeline",)
    images = ("image",)
