"""ChronoEdit: built like Wan2.1 image-to-video. It edits a picture by a short video that starts from it."""

from typing import Any

from imap.backbones.attention import TextAndImageAttention
from imap.backbones.wan_image import WanFromPicture

EDIT = 5  # frames of a call without temporal reasoning, whatever num_frames is
EVERY_STEP = 1 << 20  # more steps than any schedule has: no frame is dropped on the way


class ChronoEdit(TextAndImageAttention, WanFromPicture):
    """ChronoEdit, 14B."""

    family = "chronoedit"
    transformer_class = "ChronoEditTransformer3DModel"
    pipeline_class = "ChronoEditPipeline"

    def size_arguments(self, num_frames: int, height: int, width: int) -> dict[str, Any]:
        size = super().size_arguments(num_frames, height, width)
        if num_frames == EDIT:
            return size
        return size | {"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": EVERY_STEP}
