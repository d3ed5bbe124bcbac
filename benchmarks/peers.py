"""A trace beside the nearest other tool, attention-map-diffusers: step time, memory, bits, and maps against the truth.

python -m benchmarks.peers --model tiny_wan          # one step at the paper's grid, in turn: untraced, imap, the peer
python -m benchmarks.peers --truth shapes_wan        # its maps on clips with exact truth, scored like imap's

Needs the extra `peers`, in an environment of its own: its torchvision must fit torch, or be uninstalled, as only its
own pictures use it. Both tools read all layers. The peer knows CogVideoX and Wan.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from tqdm import tqdm

import imap
from benchmarks.memory import SMALL, held, peak
from benchmarks.models import add_model, build, chosen_size, dtype_on, open_pipeline, tokens
from benchmarks.record import chosen_device, in_new_process, in_turn, judged, machine, parser, ratios, write
from benchmarks.words import CONCEPTS, PROMPT
from imap.backbones import backbone_of
from imap.backbones.tokens import place_of
from imap.config.model import model_settings
from imap.config.presets import config_folder, presets
from imap.jobs.noise_schedule import add_noise_at, timesteps_of, truncated_schedule
from imap.runs.loading import load
from imap.shapes.benchmark.scoring import NOISES, POSTERIORS, Record, record_of
from imap.shapes.benchmark.tables import markdown, summary
from imap.shapes.world.drawing import draw, to_video
from imap.shapes.world.split import SPLITS
from imap.shapes.world.truth import truths

PEER = "attention-map-diffusers"
TOOLS = ("untraced", "imap", PEER)


def call(pipe: Any, size: dict[str, int], tool: str) -> torch.Tensor:
    """One conditional step under a tool, with its maps computed. Returns the latents."""
    backbone = backbone_of(pipe)
    arguments = {
        **backbone.encode_prompt(PROMPT, None),
        **size,
        "num_inference_steps": 1,
        "output_type": "latent",
        "generator": torch.Generator("cpu").manual_seed(0),
    }
    with backbone.guidance(1.0, conditional_only=True) as guidance:
        arguments |= guidance
        if tool == "imap":
            with imap.trace(pipe, PROMPT, CONCEPTS[:5], imap_qk_matching_target="concepts") as trace:
                latents = pipe(**arguments).frames
            trace.maps()
            return latents
        if tool == PEER:
            from attention_map_diffusers import AttentionCapture

            with AttentionCapture(pipe, relations=["video->text"]) as capture:
                latents = pipe(**arguments).frames
            capture.compute()
            return latents
        return pipe(**arguments).frames


def cost(model: str, size: dict[str, int], repeats: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """A row for each tool: step time in turn, peak memory in new processes, and whether the latents are the same."""
    pipe = open_pipeline(model, device)
    plain, *others = in_turn([lambda tool=tool: call(pipe, size, tool) for tool in TOOLS], repeats, device)
    expected = call(pipe, size, "untraced")
    options = (model, size["height"], size["width"], size["num_frames"], device.type)
    memory = {tool: in_new_process("benchmarks.peers", "--peak", *options, tool) for tool in TOOLS}
    for tool, seconds in zip(TOOLS[1:], others, strict=True):
        yield {
            "tool": tool,
            **size,
            "tokens": tokens(size),
            "untraced_s": round(float(np.median(plain)), 3),
            **judged(ratios(plain, seconds), None),
            "untraced_mib": round(memory["untraced"], 1),
            "peak_mib": round(memory[tool], 1),
            "identical": torch.equal(expected, call(pipe, size, tool)),
        }


def one_peak(model: str, height: str, width: str, num_frames: str, device: str, tool: str) -> float:
    """MiB that a step under a tool adds to the memory in use, at its peak."""
    on = torch.device(device)
    torch.set_num_threads(1)
    pipe = build(model, on, dtype_on(on))
    pipe.set_progress_bar_config(disable=True)
    call(pipe, SMALL, tool)
    before = held(on)
    call(pipe, {"height": int(height), "width": int(width), "num_frames": int(num_frames)}, tool)
    return peak(on) - before


def peer_maps(pipe: Any, latents: torch.Tensor, caption: str, words: list[str], paper: dict, seed: int) -> np.ndarray:
    """The peer's maps (words, f, height, width) of a noised clip: means over tokens, layers and noise levels."""
    from attention_map_diffusers import AttentionCapture

    backbone = backbone_of(pipe)
    text, prompt = backbone.encode_prompt(caption, None), backbone.tokenize(caption)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    steps, total = paper["num_inference_steps"], None
    for index in paper["renoise_timestep"]:
        size = {name: paper[name] for name in ("height", "width", "num_frames")}
        timesteps_of(backbone, steps, size["num_frames"], size["height"], size["width"])
        start = add_noise_at(pipe.scheduler, latents, noise, index)
        with (
            truncated_schedule(pipe.scheduler, index, index + 1),
            AttentionCapture(pipe, relations=["video->text"]) as capture,
            backbone.guidance(1.0, conditional_only=True) as guidance,
        ):
            pipe(**text, latents=start, **size, **guidance, num_inference_steps=steps, output_type="latent")
        for record in capture.compute().records:
            grid, x = record.q_shape, record.data[-1, 0]  # (tokens, text tokens), mean over heads
            of_words = [x[:, list(place_of(word, prompt).tokens)].mean(dim=1) for word in words]
            maps = torch.stack(of_words).unflatten(1, (grid.frames, grid.height, grid.width))
            total = maps if total is None else total + maps
    assert total is not None
    return total.float().numpy()


def truth(name: str, split: str, noises: int) -> list[Record]:
    """Scores of the peer's maps on a frozen split."""
    config: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml"), resolve=True)
    model, paper, records = model_settings(config), presets()[name].paper, []
    pipe = load(model, model.source)
    pipe.set_progress_bar_config(disable=True)
    backbone, size = backbone_of(pipe), (paper["num_frames"], paper["height"], paper["width"])
    for clip, scene in enumerate(tqdm(SPLITS[split].scenes(), "reading", unit="clip", mininterval=5)):
        drawn = draw([scene], *size)
        with torch.no_grad():
            posterior = torch.Generator().manual_seed(POSTERIORS + clip)
            latents = backbone.encode_clip(to_video(drawn.frames[:1]), posterior)
        grid = backbone.grid(latents)
        known = truths(scene, drawn, 0, (grid.height, grid.width))
        for noise in range(noises):
            words = [truth.word for truth in known]
            maps = peer_maps(pipe, latents, scene.caption, words, paper, NOISES * clip + noise)
            records += [record_of(PEER, clip, truth, noise, x) for truth, x in zip(known, maps, strict=True)]
    return records


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        print(json.dumps(one_peak(*sys.argv[2:])))
        return
    command = parser(__doc__ or "")
    add_model(command)
    command.add_argument("--truth", metavar="BACKBONE", help="score the peer's maps with a small trained model")
    command.add_argument("--split", default="plain-2", choices=SPLITS)
    command.add_argument("--noises", type=int, default=3)
    options = command.parse_args()
    device = chosen_device(options)
    if options.truth:
        records = truth(options.truth, options.split, options.noises)
        for kind in ("noun", "verb"):
            print(f"\n{kind}s, {options.truth}, {options.split}\n\n{markdown(summary(records, kind), kind)}")
        return
    rows = cost(options.model, chosen_size(options), options.repeats, device)
    write([{"model": options.model, **row, **machine(device)} for row in rows], options.json)


if __name__ == "__main__":
    main()
