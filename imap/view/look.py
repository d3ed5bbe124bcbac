"""How maps are shown."""

from dataclasses import dataclass

from imap.errors import ImapError
from imap.view.normalization import KINDS
from imap.view.upsampling import SPACE

COLORMAPS = ("inferno", "magma", "viridis", "plasma", "cividis")  # perceptually uniform
MOST_COLUMNS = 9  # frames of a strip: its text is legible at the width of a paper's text


@dataclass(frozen=True)
class Look:
    """How maps are shown. key: of the maps; auto is IMAP for motion words and GramCol for things. columns: the most
    frames of a strip."""

    key: str = "auto"
    normalization: str = "video"
    colormap: str = "inferno"
    opacity: float = 0.8
    space: str = "bilinear"
    gif: bool = False
    columns: int = MOST_COLUMNS

    def __post_init__(self) -> None:
        for name, known in (("normalization", KINDS), ("colormap", COLORMAPS), ("space", SPACE)):
            if getattr(self, name) not in known:
                raise ImapError(f"{name}={getattr(self, name)!r} is not known; it can be {', '.join(known)}")
        if not 0 <= self.opacity <= 1:
            raise ImapError(f"opacity={self.opacity} is not between 0 and 1")
        if self.columns < 1:
            raise ImapError(f"columns={self.columns} is no number of frames; a strip has at least 1")
