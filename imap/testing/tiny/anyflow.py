"""A tiny AnyFlow: 4 blocks of 6 heads around the other parts of the tiny Wan."""

from diffusers import AnyFlowPipeline, AnyFlowTransformer3DModel, FlowMapEulerDiscreteScheduler

from imap.testing.tiny import wan
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> AnyFlowPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    parts = wan.build(seed).components
    with seeded(seed):
        transformer = AnyFlowTransformer3DModel(**wan.SIZE).eval()
    words = {name: parts[name] for name in ("tokenizer", "text_encoder", "vae")}
    return AnyFlowPipeline(**words, transformer=transformer, scheduler=FlowMapEulerDiscreteScheduler(shift=5.0))
