"""Blocks on several devices, without values: PyTorch's fake tensors refuse what mixes devices, as GPUs would."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch._functorch.config
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import imap
from imap.backbones import backbone_of
from imap.testing import tiny
from tests.shared import FAMILIES, PROMPT, SIZES

FIRST, OTHER = "cpu", "meta"  # as fake devices, two that need no driver
LAST = ("norm_out", "norm_final", "proj_out", "single_transformer_blocks", "scale_shift_table")


class On(ModelHook):
    """As accelerate's hook of a part that is on a device."""

    def __init__(self, device: str) -> None:
        self.device = device

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple:
        return send_to_device(args, self.device), send_to_device(kwargs, self.device)


def fake(mode: FakeTensorMode, x: Any, device: str = FIRST) -> Any:
    if isinstance(x, Tensor):
        return mode.from_tensor(x.detach()).to(device)
    return type(x)(fake(mode, one, device) for one in x) if isinstance(x, list | tuple) else x


def put(mode: FakeTensorMode, part: nn.Module, device: str) -> None:
    for module in part.modules():
        for name, x in module._parameters.items():
            module._parameters[name] = x if x is None else nn.Parameter(fake(mode, x, device), requires_grad=False)
        for name, x in module._buffers.items():
            module._buffers[name] = fake(mode, x, device)
    add_hook_to_module(part, On(device))


def spread(mode: FakeTensorMode, transformer: nn.Module, blocks: list) -> None:
    """The second half of the blocks, and what comes after them, on the other device."""
    others = {id(block) for block in blocks[len(blocks) // 2 :]}
    for name, child in transformer.named_children():
        for part in child if isinstance(child, nn.ModuleList) else [child]:
            put(mode, part, OTHER if name in LAST or id(part) in others else FIRST)
    for name, x in transformer._parameters.items():
        transformer._parameters[name] = nn.Parameter(fake(mode, x, OTHER), requires_grad=False)


@pytest.mark.slow
@torch._functorch.config.patch(fake_tensor_allow_meta=True)
@pytest.mark.parametrize(
    ("family", "target"), [*((family, "concepts") for family in FAMILIES), ("hunyuanvideo", "prompt")]
)
def test_maps_are_read_where_each_block_is_and_reduced_on_one_device(family: str, target: str, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # the fake device has none
    pipe, calls, seen = tiny.build(family), [], []
    with pipe.transformer.register_forward_pre_hook(lambda *given: calls.append(given[2]), with_kwargs=True):
        pipe(PROMPT, **SIZES, num_inference_steps=1, output_type="latent")
    words = {"concepts": "ball, dog", "motions": "rolls", "imap_qk_matching_target": target}
    trace = imap.trace(pipe, PROMPT, **words, observe=lambda layer, step, of, *more: seen.append(of.o.device.type))
    trace.blocks.encode_concepts(trace.prompt_cache)
    handles, mode = [], FakeTensorMode(allow_non_fake_inputs=True)
    with mode, torch.no_grad():
        spread(mode, pipe.transformer, backbone_of(pipe).blocks)
        trace.blocks.install(handles.append)
        call = {name: fake(mode, x) for name, x in calls[0].items()}
        trace.blocks.begin_call(call, len(call["hidden_states"]) - 1, trace.backbone.grid(call), 0)
        out = pipe.transformer(**call)
        trace.blocks.end_call()
        means = trace.blocks.running.means()
    assert out[0].device.type == OTHER and set(seen) == {FIRST, OTHER}
    assert means and all(x.shape == (3, 3, 6) and x.device.type == FIRST for x in means.values())


def test_context_parallelism_is_refused(pipes):
    """Its hooks give each process a slice of the tokens, so maps of one process would be wrong."""
    transformer = pipes("wan").transformer
    transformer._parallel_config = object()
    try:
        with pytest.raises(imap.ImapError, match="context parallelism gives each device a slice.*load the transf"):
            imap.trace(pipes("wan"), PROMPT, concepts="ball").__enter__()
    finally:
        del transformer._parallel_config
