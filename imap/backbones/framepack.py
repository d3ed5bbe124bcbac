"""FramePack: HunyuanVideo in sections, each behind a packed history. Tokens of a picture come before the prompt."""

from collections.abc import Mapping
from typing import Any

from imap.backbones.features import Slots
from imap.backbones.hunyuanvideo import HunyuanVideoBlocks


class Framepack(HunyuanVideoBlocks):
    """HunyuanVideo Framepack, image-to-video. Sections are made from the end of the video to its start, or the other
    way round in vanilla sampling."""

    family = "framepack"
    transformer_class = "HunyuanVideoFramepackTransformer3DModel"
    pipeline_class = "HunyuanVideoFramepackPipeline"
    takes_negative_prompt = False  # guidance is distilled into the model
    in_sections = True
    images = ("image",)
    optional_images = ("last_image",)
    renoising_refusal = "it draws the noise of each section itself; use imap.trace and trace.sections()"
    padding = "unread"  # text is cut to its valid part
    masks_padding = False

    def prompt_slots(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> Slots:
        return Slots(call["image_embeds"].shape[1], super().prompt_slots(call, row, prompt_tokens).count)

    def offset(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> int:
        return 0

    def section_facts(self, call: Mapping[str, Any]) -> dict[str, Any]:
        # places of the section's latent frames in the time that the model sees, behind history and picture
        places = call["indices_latents"].tolist()
        return {"first_place": places[0], "last_place": places[-1]}
