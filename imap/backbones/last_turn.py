"""Words of Kandinsky 5, which reads a text as the last turn of a chat."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from imap.backbones.chat import ChatWords
from imap.backbones.features import LONGEST, TokenizedText
from imap.backbones.tokens import tokenize

HEADER, HEADER_TOKENS, END = "<|im_start|>user\n", 3, "<|im_end|>"


class TurnWords(ChatWords):
    """Tokens are the text, then the end of its turn. Nothing is padded, so all slots of a call are the text's.

    The pipeline's template says more before the turn. The text's tokens do not depend on it.
    """

    text_window = 512
    pads = False
    skipped_layers = 0
    clean = staticmethod(prompt_clean)
    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds_qwen": "encoder_hidden_states",
        "prompt_embeds_clip": "pooled_projections",
        "prompt_cu_seqlens": "text_rope_pos",  # the pipeline makes places of it
    }

    @classmethod
    def written(cls, tokenizer: Any, text: str) -> str:
        return HEADER + text + END

    @classmethod
    def dropped(cls, tokenizer: Any) -> int:
        return HEADER_TOKENS

    def template_refusal(self) -> str | None:
        """Why words would be sought in the wrong tokens; None for a template that fits what the pipeline drops."""
        pipe, (before, *_) = self.pipe, self.pipe.prompt_template.split("{}")
        if pipe.tokenizer is None:  # a checkpoint that is looked at without its parts
            return None
        count, dropped = len(self.tokenizer(before)["input_ids"]), pipe.prompt_template_encode_start_idx
        if count == dropped and pipe.prompt_template.endswith(HEADER + "{}" + END):
            return None
        return (
            f"its prompt_template has {count} tokens before the text, of which it drops {dropped}, or another end than "
            "the stock pipeline's; set its own prompt_template and prompt_template_encode_start_idx back"
        )

    @classmethod
    def in_template(cls, tokenizer: Any, text: str, length: int) -> TokenizedText:
        text = cls.clean(text)
        whole = super().in_template(tokenizer, text, LONGEST)
        if len(whole.ids) <= length:
            return whole
        # the pipeline cuts off as many characters as these tokens have, the end of the turn among them
        removed = len(tokenizer.decode(whole.ids[length - 2 : -2]))
        kept = tokenize(tokenizer, cls.written(tokenizer, text)[:-removed], HEADER_TOKENS + length)
        spans = tuple((a - len(HEADER), b - len(HEADER)) for a, b in kept.spans[HEADER_TOKENS:])
        return TokenizedText(text, kept.ids[HEADER_TOKENS:], kept.pieces[HEADER_TOKENS:], spans)

    def encode(self, prompt: str | list[str]) -> Sequence[Tensor]:
        return self.pipe.encode_prompt(prompt, max_sequence_length=self.text_length)

    def encode_in_window(self, texts: Sequence[str]) -> Tensor:
        # one at a time: the encoder gets no mask of padding
        return pad_sequence([self.encode(text)[0][0] for text in texts], batch_first=True)
