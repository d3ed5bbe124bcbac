"""A tiny Qwen2.5-VL, the text encoder of several families."""

from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from imap.testing.tiny.cogvideox import TEXT_WIDTH


def language_model(tokens: int, layers: int) -> Qwen2_5_VLForConditionalGeneration:
    """A language model over so many tokens. Weights are from torch's random numbers."""
    text = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "vocab_size": tokens,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": TEXT_WIDTH}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
