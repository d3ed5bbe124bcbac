"""The maps of the paper and of imap, naive: numpy in float64, loops, full Gram matrices. Read it beside docs/method.md.

Tests compare every map of a trace with it. It is slow and needs memory of patches x patches.

Axes: h heads, f frames, p patches of a frame, d head width, t text slots. `counted` are the slots that make the
statistics over texts. `rows` lists for each row of the maps the slots that it is the mean of.
"""

from collections.abc import Sequence

import numpy as np

Rows = Sequence[Sequence[int]]


def surrogate(q: np.ndarray, key: np.ndarray) -> int:
    """QK-matching (2.1): the patch whose query answers a text key best. q: (p, d), key: (d,)."""
    return int(np.argmax(q @ key))


def gram_column(o: np.ndarray, s: int) -> np.ndarray:
    """Column s of the Gram matrix of a frame's head outputs (2.2). o: (p, d)."""
    return (o @ o.T)[:, s]


def standardized_columns(q: np.ndarray, o: np.ndarray, keys: np.ndarray, counted: Sequence[int]) -> np.ndarray:
    """Gram columns of all heads and texts, standardized over texts (2.3). Returns (h, t, f, p)."""
    z = np.zeros((len(o), keys.shape[1], *o.shape[1:3]))
    for h in range(o.shape[0]):
        for f in range(o.shape[1]):
            s = [surrogate(q[h, f], key) for key in keys[h]]
            g = np.stack([gram_column(o[h, f], patch) for patch in s])
            if len({s[t] for t in counted}) > 1:  # equal surrogates have no spread: the map is 0
                z[h, :, f] = (g - g[counted].mean(axis=0)) / (g[counted].std(axis=0, ddof=1) + 1e-6)
    return z


def raw_columns(q: np.ndarray, o: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Gram columns without standardization, (h, t, f, p)."""
    return np.stack(
        [
            [[gram_column(o[h, f], surrogate(q[h, f], key)) for f in range(o.shape[1])] for key in keys[h]]
            for h in range(len(o))
        ]
    )


def calinski_harabasz(o: np.ndarray) -> float:
    """How well the frames of one head separate (3.1). o: (f, p, d)."""
    frames, patches, _ = o.shape
    mu = o.mean(axis=1)
    between = patches * ((mu - mu.mean(axis=0)) ** 2).sum()
    within = ((o - mu[:, None]) ** 2).sum()
    return (between / (frames - 1)) / (within / (frames * patches - frames))


def motion_heads(o: np.ndarray, k: int) -> list[int]:
    """The k heads whose frames separate best, best first (3.1)."""
    return sorted(range(len(o)), key=lambda h: -calinski_harabasz(o[h]))[:k]


def gramcol(z: np.ndarray) -> np.ndarray:
    """GramCol (2.4): sum over heads of the Gram columns, (t, f, p)."""
    return z.sum(axis=0)


def imap(z: np.ndarray, heads: Sequence[int]) -> np.ndarray:
    """IMAP (3.2): mean over motion heads of the Gram columns, (t, f, p)."""
    return z[heads].mean(axis=0)


def cross_attention(q: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Cross attention of joint-attention backbones (5): mean over heads of <Q, K>, (t, f, p)."""
    return np.einsum("htd,hfpd->tfp", keys, q) / len(q)


def text_attention(q: np.ndarray, keys: np.ndarray, counted: Sequence[int]) -> np.ndarray:
    """Softmax over texts in every head, then the mean (5): also cross attention of cross-attention backbones."""
    logits = np.einsum("htd,hfpd->thfp", keys, q) / np.sqrt(q.shape[-1])
    return text_softmax(logits, counted).mean(axis=1)


def concept_attention(c: np.ndarray, o: np.ndarray) -> np.ndarray:
    """ConceptAttention (5): sum over heads of <C, O>, (t, f, p). c: (h, t, d) head outputs of the concept tokens."""
    return np.einsum("htd,hfpd->tfp", c, o)


def video_weights(q: np.ndarray, keys: np.ndarray, counted: Sequence[int]) -> np.ndarray:
    """Where each text is in the whole video (10.1), (t, f, p): attention over the video times attention over texts."""
    logits = np.einsum("htd,hfpd->htfp", keys, q) / np.sqrt(q.shape[-1])
    over_video = np.exp(logits - logits.max())
    over_video /= over_video.sum(axis=(2, 3), keepdims=True)
    weights = (over_video.mean(axis=0) * text_attention(q, keys, counted)) ** 2
    return weights / weights.sum(axis=(1, 2), keepdims=True)


def video_col(o: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Whole-video column (10.1): mean over heads of the column of one prototype per text and video, (t, f, p)."""
    x = o - o.mean(axis=(1, 2), keepdims=True)
    s = np.einsum("tfp,hfpd->htd", weights, x)
    return np.einsum("htd,hfpd->tfp", s, x) / len(o)


def standardized_video_col(o: np.ndarray, weights: np.ndarray, counted: Sequence[int]) -> np.ndarray:
    """The same from head outputs as they are, standardized over texts (10.1)."""
    s = np.einsum("tfp,hfpd->htd", weights, o)
    g = np.einsum("htd,hfpd->htfp", s, o)
    z = (g - g[:, counted].mean(axis=1, keepdims=True)) / (g[:, counted].std(axis=1, ddof=1, keepdims=True) + 1e-6)
    return z.mean(axis=0)


def above_median(x: np.ndarray) -> np.ndarray:
    """What is above the median over the video (10.1), the lower of the two middle values. x: (t, f, p)."""
    ordered = np.sort(x.reshape(len(x), -1), axis=1)
    ground = ordered[:, (ordered.shape[1] - 1) // 2]
    return np.maximum(x - ground[:, None, None], 0)


def text_softmax(x: np.ndarray, counted: Sequence[int]) -> np.ndarray:
    """Softmax over the texts `counted`, axis 0 (6). A text that is not counted gets what one more text would get."""
    total = np.exp(x[counted]).sum(axis=0)
    extra = np.array([0 if t in set(counted) else 1 for t in range(len(x))]).reshape(-1, *[1] * (x.ndim - 1))
    return np.exp(x) / (total + extra * np.exp(x))


def reduce_rows(x: np.ndarray, rows: Rows, counted: Sequence[int], softmax: bool) -> np.ndarray:
    """Slots (t, f, p) to rows (r, f, p): a word is the mean over its slots (4), after the optional softmax (6)."""
    x = text_softmax(x, counted) if softmax else x
    return np.stack([x[list(row)].mean(axis=0) for row in rows])


def mean_over_layers_and_steps(maps: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Mean over the layers of a step, then over steps (6). maps: by step, then by layer, of (r, f, p)."""
    return np.mean([np.mean(layers, axis=0) for layers in maps], axis=0)
