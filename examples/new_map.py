"""A new saliency map, in one function: python examples/new_map.py

The soft GramCol replaces GramCol's single surrogate patch by a mean over all patches of the frame, weighted by how well
they answer the word. imap accumulates it on the device, saves it and shows it like its own maps.
"""

import sys
from collections.abc import Callable

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

import imap
from imap.methods.head_group import HeadGroup


def soft_gramcol(heads: HeadGroup, rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Gram column of the attention-weighted mean patch, mean over heads: (frames, rows, patches).

    heads: a few heads of one layer; axes h heads, f frames, t texts, p patches, d width.
    rows: reduces texts (..., t, p) to the rows of the maps (..., r, p).
    """
    attention = (heads.logits / heads.q.shape[-1] ** 0.5).softmax(dim=-1)  # (h, f, t, p), over the patches of a frame
    outputs = heads.o - heads.o.mean(dim=2, keepdim=True)  # (h, f, p, d), centred in each frame
    surrogate = attention @ outputs  # (h, f, t, d)
    return rows(surrogate @ outputs.transpose(-1, -2)).sum(dim=0) / heads.count


SOFT_GRAMCOL = imap.SaliencyMap(key="soft_gramcol", label="soft GramCol", function=soft_gramcol)


def main(folder: str = "outputs/new_map", steps: int = 20) -> imap.Maps:
    """Sample a video with the small model, and save the maps of its words with the video."""
    pipe = DiffusionPipeline.from_pretrained(imap.demo_model("cogvideox"))
    prompt = "a ball jumps while a kite grows"
    with imap.trace(pipe, prompt, ["ball", "kite"], ["jumps"], maps=[SOFT_GRAMCOL]) as trace:
        generator = torch.Generator().manual_seed(42)
        settings = {"num_inference_steps": steps, "guidance_scale": 4.0, "max_sequence_length": 16}
        video = pipe(prompt=prompt, generator=generator, **settings).frames[0]
    maps = trace.maps()
    print(f"{maps.save(folder, video=video)}: look at it with  imap view {folder} --key soft_gramcol_layers")
    return maps


if __name__ == "__main__":
    main(*sys.argv[1:2])
