"""Parts of the computation at the paper's shapes, each in turn with the implementation that it replaces.

python -m benchmarks.parts --threads 1     # CHI against scikit-learn, concept tokens against a second full attention,
                                           # Gram columns against the whole Gram matrix
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.record import chosen_device, in_turn, interval, machine, parser, ratios, write
from imap.methods.chunking import head_groups
from imap.methods.concept_stream import concept_head_outputs
from imap.methods.gramcol import gram_columns, surrogate_outputs
from imap.methods.motion_heads import calinski_harabasz

FRAMES, TEXT = 13, 226
CHI, CONCEPT_TOKENS, GRAM_COLUMNS = PARTS = ("CHI of every head", "concept tokens", "Gram columns")
LIMITS = {
    "cpu": 2.5,
    "cuda": 100.0,
}  # lower limit of times_faster than scikit-learn; on a GPU, its copy to the CPU is included


def chi_of_sklearn(o: Tensor) -> list[float]:
    """CHI as in the release: each head is copied to the CPU and scored by scikit-learn."""
    from sklearn.metrics import calinski_harabasz_score

    labels = torch.arange(o.shape[1]).repeat_interleave(o.shape[2]).numpy()
    return [calinski_harabasz_score(rearrange(head, "f p d -> (f p) d").float().cpu().numpy(), labels) for head in o]


def chi(o: Tensor) -> Tensor:
    """CHI as in a trace: groups of heads in float32."""
    return torch.cat([calinski_harabasz(o[group].float()) for group in head_groups(o, 1)])


def parts(heads: int, patches: int, width: int, concepts: int, device: torch.device) -> dict[str, list[Callable]]:
    """Both implementations of each part, on random tensors in the model's data type (bfloat16 on a GPU).

    Args:
        heads, width: number of heads and their width.
        patches: patches of a frame.
        concepts: number of concepts.
        device: where to compute.

    Returns:
        [replaced, ours] by name. Ours computes in float32.
    """
    generator, dtype = torch.Generator().manual_seed(0), torch.float32 if device.type == "cpu" else torch.bfloat16

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    o = randn(heads, FRAMES, patches, width)
    k, v = (rearrange(randn(heads, FRAMES, patches, width), "h f p d -> h (f p) d") for _ in range(2))
    text_q, text_k, text_v = (randn(heads, concepts + 1, width) for _ in range(3))
    weights = torch.tensor([1.0] * concepts + [TEXT - concepts], device=device)
    index = torch.randint(patches, (heads, FRAMES, concepts + 1), generator=generator).to(device)

    def with_text(text: Tensor, video: Tensor) -> Tensor:
        """All text slots, the padding written out, then the video's tokens."""
        padding = text[:, -1:].expand(-1, TEXT - concepts - 1, -1)
        return torch.cat([text, padding, video], dim=1)[None]

    all_q, all_k, all_v = with_text(text_q, k), with_text(text_k, k), with_text(text_v, v)

    def ours() -> Tensor:
        x = o.float()
        return gram_columns(x, surrogate_outputs(x, index))

    def full_gram() -> Tensor:
        one_frame = [
            (x @ x.mT).gather(1, i.unsqueeze(-1).expand(-1, -1, patches))
            for x, i in zip(o.transpose(0, 1), index.transpose(0, 1), strict=True)
        ]
        return torch.stack(one_frame)

    return {
        CHI: [lambda: chi_of_sklearn(o), lambda: chi(o)],
        CONCEPT_TOKENS: [
            lambda: scaled_dot_product_attention(all_q, all_k, all_v),
            lambda: concept_head_outputs(text_q, text_k, text_v, weights, k, v),
        ],
        GRAM_COLUMNS: [full_gram, ours],
    }


def measure(works: Sequence[Callable], limit: float | None, repeats: int, device: torch.device) -> dict[str, Any]:
    """Time both implementations of a part in turn.

    Args:
        works: [replaced, ours].
        limit: lower limit of `times_faster`, or None.
        repeats: rounds.
        device: where they compute.

    Returns:
        A row. The limit is met if the whole interval is above it.
    """
    theirs, ours = in_turn(works, repeats, device)
    faster = ratios(ours, theirs)
    low, high = interval(faster)
    return {
        "replaced_s": round(statistics.median(theirs), 4),
        "ours_s": round(statistics.median(ours), 4),
        "times_faster": round(statistics.median(faster), 2),
        "low": round(low, 2),
        "high": round(high, 2),
        "limit": limit,
        "met": None if limit is None else low >= limit,
    }


def main() -> None:
    command = parser(__doc__ or "")
    command.add_argument("--heads", type=int, default=48)
    command.add_argument("--patches", type=int, default=1350, help="of one frame: 30x45 at 480x720")
    command.add_argument("--width", type=int, default=64)
    command.add_argument("--concepts", type=int, default=5)
    command.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help="; ".join(PARTS))
    options = command.parse_args()
    device = chosen_device(options)
    made = parts(options.heads, options.patches, options.width, options.concepts, device)
    about = {"heads": options.heads, "tokens": FRAMES * options.patches, "width": options.width, **machine(device)}
    rows = []
    for name in options.parts:
        limit = LIMITS[device.type] if name == CHI else None
        rows.append({"part": name, **measure(made[name], limit, options.repeats, device), **about})
    write(rows, options.json)


if __name__ == "__main__":
    main()
