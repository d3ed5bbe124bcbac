"""SkyReels-V2: built like Wan; diffusion forcing makes long videos in windows."""

from collections.abc import Mapping
from typing import Any

from imap.backbones.attention import TextAndImageAttention
from imap.backbones.wan import Wan
from imap.backbones.wan_image import WanFromPicture


class SkyReelsV2(Wan):
    """SkyReels-V2 text-to-video, 14B."""

    family = "skyreels_v2"
    transformer_class = "SkyReelsV2Transformer3DModel"
    pipeline_class = "SkyReelsV2Pipeline"
    processor_class = "SkyReelsV2AttnProcessor"


class SkyReelsV2Image(TextAndImageAttention, WanFromPicture):
    """SkyReels-V2 image-to-video, 14B."""

    family = "skyreels_v2_i2v"
    transformer_class = SkyReelsV2.transformer_class
    pipeline_class = "SkyReelsV2ImageToVideoPipeline"
    processor_class = SkyReelsV2.processor_class


class SkyReelsV2Forcing(SkyReelsV2):
    """SkyReels-V2 diffusion forcing, from text, a picture or a video. A section is a window of a long video."""

    family = "skyreels_v2_forcing"
    pipeline_class = "SkyReelsV2DiffusionForcingPipeline"
    in_sections = True
    renoising_refusal = "it denoises windows with copies of its scheduler; use SkyReelsV2Pipeline.from_pipe(pipe)"

    def section_facts(self, call: Mapping[str, Any]) -> dict[str, Any]:
        # a window begins with finished latent frames of the one before
        timestep = call["timestep"][-1].tolist()
        frames = timestep if isinstance(timestep, list) else [timestep]
        return {"finished_frames": next(i for i, x in enumerate(frames) if x == max(frames))}
