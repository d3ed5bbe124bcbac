"""SkyReels-V2: built like Wan; diffusion forcing makes long videos in windows."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from diffusers.models.transformers import transformer_skyreels_v2

from imap.backbones.attention import TextAndImageAttention
from imap.backbones.features import Grid
from imap.backbones.wan import Wan
from imap.backbones.wan_image import WanFromPicture

# since diffusers 0.36; the one before it does not use the attention dispatcher
_IS_DISPATCHED = hasattr(transformer_skyreels_v2, "SkyReelsV2AttnProcessor")


class SkyReelsV2(Wan):
    """SkyReels-V2 text-to-video, 14B."""

    family = "skyreels_v2"
    transformer_class = "SkyReelsV2Transformer3DModel"
    pipeline_class = "SkyReelsV2Pipeline"
    processor_class = "SkyReelsV2AttnProcessor" if _IS_DISPATCHED else "SkyReelsV2AttnProcessor2_0"
    takes_attention_backend = _IS_DISPATCHED


class SkyReelsV2Image(TextAndImageAttention, WanFromPicture):
    """SkyReels-V2 image-to-video, 14B."""

    family = "skyreels_v2_i2v"
    transformer_class = SkyReelsV2.transformer_class
    pipeline_class = "SkyReelsV2ImageToVideoPipeline"
    processor_class = SkyReelsV2.processor_class
    takes_attention_backend = SkyReelsV2.takes_attention_backend


class SkyReelsV2Forcing(SkyReelsV2):
    """SkyReels-V2 diffusion forcing, from text, a picture or a video. A section is a window of a long video."""

    family = "skyreels_v2_forcing"
    pipeline_class = "SkyReelsV2DiffusionForcingPipeline"
    in_sections = True
    renoising_refusal = "it denoises windows with copies of its scheduler; use SkyReelsV2Pipeline.from_pipe(pipe)"

    def fixed_frames(self, call: Mapping[str, Any], row: int, grid: Grid) -> Sequence[int]:
        is_new = (self.pipe.current_timestep > 0).tolist()
        return [i for i, new in enumerate(is_new) if not new] if any(is_new) else ()

    def made_once(self, call: Mapping[str, Any]) -> Any:
        return self.pipe.scheduler.timesteps  # windows have copies of the scheduler

    def section_facts(self, call: Mapping[str, Any]) -> dict[str, Any]:
        # a window begins with finished frames: the end of the window before it, or what the pipeline was given
        is_new = (self.pipe.current_timestep > 0).tolist()
        if not any(is_new):  # all frames are at 0 at the last step of a schedule that ends there
            return {}
        end = is_new[::-1].index(True)
        return {"history_frames": is_new.index(True)} | ({"end_frames": end} if end else {})

    def places(self, sections: Sequence[tuple[int, Mapping[str, Any]]]) -> Sequence[int] | None:
        if self.transformer.config.num_frame_per_block > 1 or "VideoToVideo" in type(self.pipe).__name__:
            return None  # history may be cut to whole blocks; a given video leads, and its length is not seen
        if not all("history_frames" in own for _, own in sections):
            return None
        kept = [frames - own["history_frames"] for frames, own in sections]
        before = accumulate(kept[1:], initial=sections[0][0])
        return [stop - frames for (frames, _), stop in zip(sections, before, strict=True)]
