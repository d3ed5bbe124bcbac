"""Make release_frame.npz: one frame of a run of the authors' release, small enough for the repository.

    IMAP_GOLDEN=FOLDER python tests/golden/make_case.py

The release ran on a small CogVideoX of random weights. This script reads queries, keys and head outputs of the same run
with `imap.trace`, keeps every eighth patch and the surrogates, and adds the release's maps and motion heads.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

import imap
from imap.methods.gramcol import matches, surrogates
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights

FRAME, EVERY = 3, 8
CASE = Path(os.environ["IMAP_GOLDEN"]) / "arrays" / "cog5b" / "renoising"
PROMPT = "A red ball rolls past a small dog on the grass."


def main() -> None:
    """Write the case beside this script."""
    pipe = DiffusionPipeline.from_pretrained(CASE.parents[2] / "pipelines" / "cog5b")
    clean = torch.from_numpy(np.load(CASE.parents[1] / "inputs" / "encoded_cog5b_f16.npy").astype(np.float32))
    layers = {}

    def observe(layer: int, step: int, activations: LayerActivations, slots: SlotWeights, maps: LayerMaps) -> None:
        layers[layer] = (activations, slots)

    words = {"concepts": ["ball", "dog"], "motions": ["rolling"]}
    settings = {"imap_layer": [1, 2], "maps_layers": [1, 3], "imap_sep_topk": 5, "imap_qk_matching_target": "concepts"}
    steps = {"num_inference_steps": 4, "renoise_timestep": 2}
    imap.renoise(pipe, latents=clean, prompt=PROMPT, **words, **settings, **steps, observe=observe)

    patches = set(range(0, layers[1][0].q.shape[2], EVERY))
    for activations, _ in layers.values():
        index = surrogates(matches(activations.q, activations.keys))[:, FRAME]
        patches |= set(index.flatten().tolist())
    patches = sorted(patches)
    chosen = {x["layer"]: x["selected_heads"] for x in json.loads((CASE / "heads.json").read_text()) if x["used"]}
    arrays = {"patches": np.array(patches), "weights": layers[1][1].weights.numpy()}
    for layer, (activations, _) in layers.items():
        arrays |= {f"{name}_{layer}": getattr(activations, name)[:, FRAME, patches].numpy() for name in ("q", "o")}
        arrays |= {f"keys_{layer}": activations.keys.numpy(), f"heads_{layer}": np.array(chosen[layer])}
    for key in ("imap_layers", "sel_imap_layers"):
        arrays[f"release_{key}"] = np.load(CASE / f"{key}.npy").reshape(3, 13, -1)[:, FRAME, patches]
    arrays["release_surrogates"] = np.stack(
        [np.load(CASE / "selected_visual_tokens.npz")[f"fwd0_step2_layer{layer}"][:, :3, FRAME] for layer in (1, 2)]
    )
    np.savez_compressed(Path(__file__).with_name("release_frame.npz"), **arrays)


if __name__ == "__main__":
    main()
