"""Maps of planted attention to text, with and without a part of attention to a picture in the head outputs.

python -m benchmarks.picture_part

In Wan2.1 image-to-video, a block's projection gets the sum of attention to text and to a picture. Here the part of the
text is planted (imap.testing.planted), and a part of a picture is added to it, in random directions. Its length is a
multiple of the text's. Written are the mean correlation of the words' maps with the planted ones, over draws.

| part of the picture | what it is |
|---|---|
| equal | one vector everywhere |
| first_frame | a vector for each region of the first frame, at its place in every frame |
| alike | a vector for both squares, and one for the ground, where they are |
| place | a vector for each patch of the grid, in every frame |
"""

import statistics
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot, pad

from benchmarks.record import parser, write
from imap.methods.layer_maps import MapConfig, layer_maps
from imap.methods.motion_heads import SCORES
from imap.testing.planted import planted

WIDTH, DRAWS = 32, 20  # of a head; of random directions
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0)


def labels(regions: Tensor) -> dict[str, Tensor]:
    """Which vector of a picture each patch gets (f, p), by kind of part. regions: (f, p), 0 and 1 squares, 2 ground."""
    frames, patches = regions.shape
    return {
        "equal": torch.zeros_like(regions),
        "first_frame": regions[:1].expand(frames, patches),
        "alike": (regions == 2).long(),
        "place": torch.arange(patches).expand(frames, patches),
    }


def agreement(part: Tensor, strength: float, generator: torch.Generator) -> float:
    """Mean correlation of the two squares' maps with the planted ones. part: (f, p), which vector a patch gets."""
    case = planted()
    o = pad(case.layer.o, (0, WIDTH - case.layer.o.shape[-1]))
    heads, choices = len(o), int(part.max()) + 1
    vectors = normalize(torch.randn(heads, choices, WIDTH, generator=generator), dim=-1)
    picture = torch.einsum("fpc,hcd->hfpd", one_hot(part, choices).float(), vectors)
    config = MapConfig(SCORES["CHI"], len(case.motion_heads), True, False)
    maps = layer_maps(replace(case.layer, o=o + strength * picture), case.texts, config).maps["imap"]
    pairs = zip(maps[:2], case.gramcol[:2], strict=True)
    return statistics.mean(float(np.corrcoef(found.flatten(), true.flatten())[0, 1]) for found, true in pairs)


def main(arguments: list[str] | None = None) -> None:
    args, rows = parser(__doc__).parse_args(arguments), []
    for kind, part in labels(planted().gramcol.argmax(dim=0)).items():
        generator = torch.Generator().manual_seed(0)
        for strength in STRENGTHS:
            found = [agreement(part, strength, generator) for _ in range(DRAWS)]
            means = {"correlation": round(statistics.mean(found), 3), "lowest": round(min(found), 3)}
            rows.append({"part": kind, "strength": strength, **means})
    write(rows, args.json)


if __name__ == "__main__":
    main()
