"""The clip and the pictures that a job reads, and the clip's truth, as the model takes them."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imap.backbones.base import Backbone
from imap.config.checks import check_path
from imap.config.samples import Sample
from imap.errors import ImapError
from imap.media.clips import Fit, FittedClip, as_clip, fit_clip
from imap.media.fitted_truth import fitted_truth
from imap.media.pictures import check_pictures
from imap.media.truth import Truth


def read_clip(clip: str | Path | np.ndarray | Sequence[Any], fit: Fit) -> tuple[FittedClip, float]:
    """A clip at the size and length of `fit`, and the seconds that reading it took."""
    start = time.perf_counter()
    name = check_path("clip", clip) if isinstance(clip, str | Path) else "the clip"
    return fit_clip(as_clip(clip), fit, name), time.perf_counter() - start


def read_sample(sample: Sample, fit: Fit) -> tuple[FittedClip, float]:
    """The clip of a sample, as `read_clip` returns it. Raises ImapError for a sample without a clip."""
    if sample.video_path is None:
        raise ImapError("video_path is missing; renoising needs a clip")
    return read_clip(sample.video_path, fit)


def read_truth(sample: Sample, fitted: FittedClip, fit: Fit) -> Truth | None:
    """Truth of the clip of a sample as it was read, as `fitted_truth` returns it."""
    return fitted_truth(sample.video_path, fitted, fit.resize) if sample.video_path else None


def pictures_for(backbone: Backbone, given: Mapping[str, Any], with_clip: bool = False) -> dict[str, Any]:
    """Checked pictures for a model's call. With a clip, None takes a frame of it in place of one that is not given."""
    found = {**(dict.fromkeys(backbone.images) if with_clip else {}), **given}
    check_pictures(found, backbone.images, backbone.optional_images, f"a {type(backbone.pipe).__name__}")
    return found
