"""Settings of pictures."""

from dataclasses import dataclass

from imap.errors import ImapError
from imap.view.normalization import KINDS
from imap.view.threshold import HALF, check_threshold
from imap.view.upsampling import SPACE

COLORMAPS = ("inferno", "magma", "viridis", "plasma", "cividis")  # perceptually uniform
MOST_COLUMNS = 9  # frames of a strip: its text is legible at the width of a paper's text


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    Attributes:
        key: of the maps, or their label; auto is the map that `show` names (published: IMAP or GramCol).
        normalization: how values become [0, 1]: median, video, frame, percentile or shared.
        colormap: a perceptually uniform colormap.
        opacity: of the map over the video, 0 to 1.
        space: how a map is enlarged: bilinear or nearest.
        gif: also write overlays as gif.
        columns: frames of a strip at most.
        truth: outline where words are true, if it is known.
        masks: also write masks of every text.
        mask_threshold: of masks: a number from 0 to 1 on the scale of `normalization`, "otsu" or a share, "top 10%".
    """

    key: str = "auto"
    normalization: str = "median"
    colormap: str = "inferno"
    opacity: float = 0.8
    space: str = "bilinear"
    gif: bool = False
    columns: int = MOST_COLUMNS
    truth: bool = True
    masks: bool = False
    mask_threshold: float | str = HALF

    def __post_init__(self) -> None:
        for name, known in (("normalization", KINDS), ("colormap", COLORMAPS), ("space", SPACE)):
            if getattr(self, name) not in known:
                raise ImapError(f"{name}={getattr(self, name)!r} is not known; it can be {', '.join(known)}")
        if not isinstance(self.opacity, int | float) or not 0 <= self.opacity <= 1:
            raise ImapError(f"opacity={self.opacity!r} is not between 0 and 1")
        if not isinstance(self.columns, int) or self.columns < 1:
            raise ImapError(f"columns={self.columns!r} is not a number of frames; a strip has at least 1")
        object.__setattr__(self, "mask_threshold", check_threshold(self.mask_threshold))  # as it is recorded
