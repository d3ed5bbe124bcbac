"""A tiny Kandinsky 5: 3 blocks of 6 heads over the video, 2 over the text, which is read by a Qwen and a CLIP."""

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, Kandinsky5T2VPipeline, Kandinsky5Transformer3DModel
from torch import nn

from imap.testing.tiny import hunyuanvideo, tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH
from imap.testing.tiny.qwen import language_model
from imap.testing.tiny.seeding import seeded

# Every word of the pipeline's template is one token or two, as with the published tokenizer. So the template before the
# prompt has as many tokens as the pipeline cuts off: 128, and 129 before diffusers wrote "prompt" right.
TEMPLATE_WORDS = """
system user You prompt prom engineer describe they video detail how camera moves shakes zoom view angle whether it
follows objects location main characters their action dynam ism presented actions Name visual style professional
footage generated content some kind animation game scr effects post processing transitions if Pay attention order key
shown scene
"""


def build(seed: int = 0, **changed: Any) -> Kandinsky5T2VPipeline:
    """Build the pipeline on the CPU in float32. changed: other values of the transformer's configuration."""
    qwen: Any = tokenizers.qwen_vl(tokenizers.WORDS + TEMPLATE_WORDS, joined=".\n")
    shared = hunyuanvideo.build(seed).components
    with seeded(seed):
        return Kandinsky5T2VPipeline(
            tokenizer=qwen,
            text_encoder=language_model(len(qwen), layers=2).eval(),
            **{name: shared[name] for name in ("tokenizer_2", "text_encoder_2", "vae")},
            transformer=_transformer(**changed).eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        )


def _transformer(**changed: Any) -> Kandinsky5Transformer3DModel:
    config: dict[str, Any] = {
        "num_visual_blocks": 3,
        "num_text_blocks": 2,
        "model_dim": 96,
        "ff_dim": 128,
        "time_dim": 32,
        "axes_dims": (4, 6, 6),  # frames, height, width: even numbers; their sum is the head width
        "in_visual_dim": 16,
        "out_visual_dim": 16,
        "in_text_dim": TEXT_WIDTH,
        "in_text_dim2": hunyuanvideo.POOLED_WIDTH,
        "visual_cond": True,
    }
    transformer = Kandinsky5Transformer3DModel(**config | changed)
    for name, weight in transformer.named_parameters():
        if "modulation" in name:  # not zeros, which would leave out every block
            nn.init.normal_(weight, std=0.3)
        if "query_norm" in name or "key_norm" in name:  # not ones, which no norm would need
            nn.init.uniform_(weight, 0.5, 1.5)
    return transformer
