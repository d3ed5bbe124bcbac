"""Words of Sana-Video: a prompt follows an instruction of the pipeline, which keeps some of their tokens."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar

import diffusers
import torch
from torch import Tensor

from imap.backbones.features import CONCEPT_WINDOW, LONGEST, Slots, TokenizedText, pick_of_text
from imap.backbones.tokens import tokenize
from imap.backbones.words import Words


class InstructionWords(Words):
    """The first slot is the start token, which is not read. Tokens of the text follow; there is no end token.

    The instruction ends with a space, which the tokenizer joins to the text's first word. So the pipeline keeps the
    tokens from the instruction's last one on. Padded slots are masked.
    """

    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_attention_mask": "encoder_attention_mask",
    }
    padding = "unread"
    default_concept_token = "last"  # the text encoder is causal
    pipeline_class: ClassVar[str]

    @staticmethod
    def clean(text: str) -> str:
        return text.lower().strip()

    @classmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        return cls.behind_instruction(tokenizer, text, LONGEST).ids

    def encoder_tokens(self, output: Any) -> Tensor:
        return output[0]

    def tokenize(self, prompt: str) -> TokenizedText:
        return self.behind_instruction(self.pipe.tokenizer, prompt, self.text_length - 1)

    def prompt_slots(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> Slots:
        return Slots(1, min(prompt_tokens, call["encoder_hidden_states"].shape[-2] - 1))

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        encoded = self._encode(list(texts), CONCEPT_WINDOW + 1)["prompt_embeds"][:, 1:]  # behind a start token
        found = [self.behind_instruction(self.pipe.tokenizer, text, CONCEPT_WINDOW) for text in texts]
        pairs = zip(encoded, found, strict=True)
        return torch.stack([pick_of_text(tokens, text, concept_token) for tokens, text in pairs])

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        found = self._encode(prompt, self.text_length)
        if negative_prompt is not None:
            found |= {f"negative_{name}": x for name, x in self.encode_negative(negative_prompt).items()}
        return found

    def encode_negative(self, negative_prompt: str | list[str]) -> dict[str, Tensor]:
        return self._encode(negative_prompt, self.text_length, instructed=False)

    def _encode(self, texts: str | list[str], window: int, instructed: bool = True) -> dict[str, Tensor]:
        encoded = self.pipe.encode_prompt(
            texts,
            do_classifier_free_guidance=False,
            max_sequence_length=window,
            complex_human_instruction=self._instruction() if instructed else None,
        )
        return dict(zip(self.text_arguments, encoded, strict=False))

    @classmethod
    def behind_instruction(cls, tokenizer: Any, text: str, length: int) -> TokenizedText:
        """The first `length` tokens that the pipeline keeps of a text behind its instruction, with spans in it."""
        text, instruction = cls.clean(text), "\n".join(cls._instruction())
        first = len(tokenizer.encode(instruction)) - 1
        whole = tokenize(tokenizer, instruction + text, first + length)
        spans = tuple((a - len(instruction), b - len(instruction)) for a, b in whole.spans[first:])
        return TokenizedText(text, whole.ids[first:], whole.pieces[first:], spans)

    @classmethod
    def _instruction(cls) -> list[str]:
        """Lines of the stock pipeline's instruction."""
        call = getattr(diffusers, cls.pipeline_class).__call__
        return signature(call).parameters["complex_human_instruction"].default
