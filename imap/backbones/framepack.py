"""FramePack: HunyuanVideo in sections, each behind a packed history. Tokens of a picture come before the prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

from imap.backbones.features import Slots
from imap.backbones.hunyuanvideo import HunyuanVideoBlocks


class Framepack(HunyuanVideoBlocks):
    """HunyuanVideo Framepack, image-to-video. Sections are made from the end of the video to its start, or the other
    way round in vanilla sampling."""

    family = "framepack"
    transformer_class = "HunyuanVideoFramepackTransformer3DModel"
    pipeline_class = "HunyuanVideoFramepackPipeline"
    takes_negative_prompt = False
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

    def made_once(self, call: Mapping[str, Any]) -> Any:
        return call["guidance"]

    def section_facts(self, call: Mapping[str, Any]) -> dict[str, Any]:
        # places of the section's latent frames in the time that the model sees, behind history and picture
        places = call["indices_latents"].tolist()
        first, last = places[0], places[-1]
        is_history_later = bool(call["indices_latents_clean"][-1] > last)
        return {"made_from": "end" if is_history_later else "start", "first_place": first, "last_place": last}

    def places(self, sections: Sequence[tuple[int, Mapping[str, Any]]]) -> Sequence[int] | None:
        window, latest = sections[-1]
        order = range(len(sections))
        if latest["made_from"] == "end":
            if latest["first_place"] != 1:  # the call was interrupted: sections are still to come
                return None
            order = reversed(order)
        return [1 + i * window for i in order]  # the picture is latent frame 0
