"""LTX-Video with conditions: frames of a picture or a clip at any place, as tokens in front of the video's."""

from collections.abc import Mapping, Sequence
from typing import Any

from imap.backbones.features import Grid
from imap.backbones.ltx import LTX
from imap.errors import ImapError


class LTXCondition(LTX):
    """LTX-Video 0.9.5 and later, with conditions. A condition at the first frame is part of the video's tokens."""

    family = "ltx_condition"
    pipeline_class = "LTXConditionPipeline"
    text_window = 256
    optional_images = ("image",)
    renoising_refusal = "it adds noise to given latents by itself; use LTXImageToVideoPipeline.from_pipe(pipe)"

    def grid(self, call: Mapping[str, Any]) -> Grid:
        # the call has no sizes: it has places (time, y, x) of the tokens instead. They are copied to the host once
        time, y, x = call["video_coords"][-1].tolist()
        height, width = len(set(y)), len(set(x))
        first = next(i for i, place in enumerate(zip(time, y, x, strict=True)) if not any(place))
        frames, rest = divmod(len(time) - first, height * width)
        if rest:
            raise ImapError(f"{len(time) - first} tokens of the video are no frames of {height} x {width} tokens")
        return Grid(frames, height, width)

    def fixed_frames(self, call: Mapping[str, Any], row: int, grid: Grid) -> Sequence[int]:
        timesteps = call["timestep"][row].flatten()
        if len(timesteps) == 1:  # without conditions
            return ()
        latest = timesteps[-grid.frames * grid.patches :].unflatten(0, (grid.frames, -1)).amax(dim=1)
        return (latest < self.pipe.current_timestep.to(latest)).nonzero().flatten().tolist()

    def from_pipeline(self, latents: Any, grid: Grid) -> Any:
        return super().from_pipeline(latents[:, -grid.frames * grid.patches :], grid)
