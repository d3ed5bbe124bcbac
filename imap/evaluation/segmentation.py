"""Zero-shot video semantic segmentation: maps of classes to labels, and the scores of label videos.

A label video is int16 (frames, height, width): an index of the list of classes, or VOID.
"""

from collections.abc import Mapping

import numpy as np

from imap.media.truth import Truth
from imap.view.upsampling import enlarge, latent_frame

Array = np.ndarray
VOID = -1  # pixels that no score counts


def present_classes(truth: Truth) -> list[str]:
    """Nouns of the things that at least one pixel shows, each once, in lower case and in the order of the truth."""
    return list(
        dict.fromkeys(noun.casefold() for noun, mask in zip(truth.nouns, truth.masks, strict=True) if mask.any())
    )


def true_labels(truth: Truth, labels: Mapping[str, int], background: int = VOID) -> Array:
    """Label video of a clip's truth.

    Void are the pixels of `truth.void`, and those that things of two classes cover.

    Args:
        truth: of the clip.
        labels: label of each class, by its noun in lower case.
        background: label of the pixels that no thing covers.
    """
    video = np.full(truth.masks.shape[1:], background, np.int16)
    taken = np.zeros(video.shape, bool)
    for name, label in labels.items():
        cover = truth.masks[[noun.casefold() == name for noun in truth.nouns]].any(axis=0)
        video[cover] = np.where(taken[cover], VOID, label)
        taken |= cover
    if truth.void is not None:
        video[truth.void] = VOID
    return video


def predicted_labels(
    maps: Array, size: tuple[int, int, int], threshold: float | None = None, space: str = "nearest"
) -> Array:
    """Label video of the maps of classes: in each pixel the class of the highest value, of equal ones the first.

    Args:
        maps: (classes, latent frames, h, w).
        size: frames, height and width of the video.
        threshold: None gives every pixel a class, as the paper does. A number from 0 to 1 gives the label len(maps),
            background, to pixels where no map reaches it, on the scale from a map's lowest to its highest value.
        space: how maps are enlarged before they are compared. With nearest, each cell has one label.
    """
    frames, height, width = size
    low, high = (bound(axis=(1, 2, 3), keepdims=True) for bound in (maps.min, maps.max))
    scaled = np.divide(maps - low, high - low, out=np.zeros(maps.shape, np.float32), where=high > low)
    by_latent = []
    for latent in range(maps.shape[1]):
        labels = _enlarged(maps[:, latent], height, width, space).argmax(axis=0)
        if threshold is not None:
            labels[_enlarged(scaled[:, latent], height, width, space).max(axis=0) < threshold] = len(maps)
        by_latent.append(labels.astype(np.int16))
    return np.stack([by_latent[latent_frame(frame, maps.shape[1], frames)] for frame in range(frames)])


def _enlarged(maps: Array, height: int, width: int, space: str) -> Array:
    return np.stack([enlarge(x, height, width, space) for x in maps])


def confusion_matrix(truth: Array, predicted: Array, classes: int) -> Array:
    """Pixels by true class (rows) and predicted class (columns), int64 (classes, classes). Void truth does not count.

    Args:
        truth, predicted: label videos of the same shape. `predicted` has no VOID.
        classes: number of classes.
    """
    known = truth != VOID
    pairs = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_iou(confusion: Array) -> Array:
    """Intersection over union of each class, float (classes,). NaN for a class that the truth does not have."""
    hits, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return np.divide(hits, true + predicted - hits, out=np.full(len(hits), np.nan), where=true > 0)


def mean_iou(confusion: Array) -> float:
    """mIoU: mean of `class_iou` over the classes that the truth has. NaN for an empty truth."""
    values = class_iou(confusion)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def video_consistency(truth: Array, predicted: Array, frames: int) -> list[float]:
    """VC of each window of some frames: among pixels of constant truth, the share whose prediction is always right.

    Void pixels do not count, and the last window does. mVC is the mean over the windows of all videos.

    Args:
        truth, predicted: label videos of the same shape.
        frames: of a window, at least 2: 8 or 16.

    Returns:
        One number per window, NaN for one without a pixel of constant truth. Empty for a shorter video.
    """
    constant, right = (truth[1:] == truth[:-1]) & (truth[1:] != VOID), truth == predicted
    shares = []
    for start in range(len(truth) - frames + 1):
        counted = constant[start : start + frames - 1].all(axis=0)
        shares.append(_share(right[start : start + frames].all(axis=0), counted))
    return shares


def public_video_consistency(truth: Array, predicted: Array, frames: int) -> list[float]:
    """VC as the script of the VSPW data set computes it, which published tables use.

    It differs from `video_consistency` in three ways: a constant prediction counts, be it right or wrong; void pixels
    count; and the last window is left out, so a video of one window has none.

    Args, Returns:
        As `video_consistency`.
    """
    constant, steady = truth[1:] == truth[:-1], predicted[1:] == predicted[:-1]
    windows = [slice(start, start + frames - 1) for start in range(len(truth) - frames)]
    return [_share(steady[window].all(axis=0), constant[window].all(axis=0)) for window in windows]


def _share(hits: Array, counted: Array) -> float:
    return float(hits[counted].mean()) if counted.any() else float("nan")
