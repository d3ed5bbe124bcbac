"""Tiny pipelines of the tiny LTX-Video: from a picture, and with conditions."""

from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline, LTXImageToVideoPipeline

from imap.testing.tiny import ltx


def i2v(seed: int = 0) -> LTXImageToVideoPipeline:
    """Build the pipeline that starts from a picture."""
    return LTXImageToVideoPipeline(**ltx.build(seed).components)


def condition(seed: int = 0) -> LTXConditionPipeline:
    """Build the pipeline with conditions. Its schedule knows no size."""
    return LTXConditionPipeline(**{**ltx.build(seed).components, "scheduler": FlowMatchEulerDiscreteScheduler()})
