"""LTX-2 from a picture: the first latent frame is the picture and stays free of noise."""

from imap.backbones.ltx2 import LTX2


class LTX2ImageToVideo(LTX2):
    """LTX-2 image-to-video with sound. It runs the checkpoint of text-to-video."""

    family = "ltx2_i2v"
    pipeline_class = "LTX2ImageToVideoPipeline"
    also_loads = ("LTX2Pipeline",)
    images = ("image",)
    clean_frames = 1
