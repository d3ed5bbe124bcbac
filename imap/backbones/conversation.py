"""Words of the families whose text is a whole conversation with a language model, and the prompt a part of it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imap.backbones.features import CONCEPT_WINDOW, LONGEST, MARK, Slots, TokenizedText, pick_of_text
from imap.backbones.tokens import tokenize
from imap.backbones.words import Words

SYSTEM = "You are a helpful assistant who will provide prompts to an image generator."  # of Cosmos 2.5's pipeline


class ConversationWords(Words):
    """Tokens are the text, then the end of its turn. Earlier slots are not read. Padding follows, and is encoded."""

    default_concept_token = "last"  # the text encoder is causal

    @classmethod
    @abstractmethod
    def conversation(cls, tokenizer: Any, text: str) -> str:
        """A text in its conversation, as the tokenizer gets it."""

    @classmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        return cls.in_conversation(tokenizer, text, LONGEST)[0].ids

    def tokenize(self, prompt: str) -> TokenizedText:
        return self.in_conversation(self.pipe.tokenizer, prompt, self.text_length)[0]

    def prompt_slots(self, call: Any, row: int, prompt_tokens: int) -> Slots:
        first = self._before
        return Slots(first, call["encoder_hidden_states"].shape[-2] - first)

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        first, window = self._before, self._before + CONCEPT_WINDOW
        encoded, *_ = self.pipe.encode_prompt(
            list(texts), do_classifier_free_guidance=False, max_sequence_length=window
        )
        found = [self.in_conversation(self.pipe.tokenizer, text, window)[0] for text in texts]
        pairs = zip(encoded, found, strict=True)
        return torch.stack([pick_of_text(tokens[first:], text, concept_token) for tokens, text in pairs])

    @classmethod
    def in_conversation(cls, tokenizer: Any, text: str, length: int) -> tuple[TokenizedText, int]:
        """Tokens from a text on, of the first `length` of its conversation, and how many there are before it."""
        before = len(cls.conversation(tokenizer, MARK).partition(MARK)[0])
        whole = tokenize(tokenizer, cls.conversation(tokenizer, text), length)
        first = sum(stop <= before for _, stop in whole.spans)
        spans = tuple((a - before, b - before) for a, b in whole.spans[first:])
        return TokenizedText(text, whole.ids[first:], whole.pieces[first:], spans), first

    @property
    def _before(self) -> int:
        return self.in_conversation(self.pipe.tokenizer, "", LONGEST)[1]


class JoinedStatesWords(ConversationWords):
    """Words of Cosmos 2.5, which joins the states of all layers of the encoder side by side."""

    @classmethod
    def conversation(cls, tokenizer: Any, text: str) -> str:
        said = (("system", SYSTEM), ("user", text))
        turns = [{"role": role, "content": [{"type": "text", "text": x}]} for role, x in said]
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False, add_vision_id=False)

    def encoder_tokens(self, output: Any) -> Tensor:
        last = output.hidden_states[-1]  # its states are the end of the joined ones
        return (last - last.mean(dim=-1, keepdim=True)) / (last.std(dim=-1, keepdim=True) + 1e-8)


class LastStatesWords(ConversationWords):
    """Words of EasyAnimate, which takes the states before the encoder's last layer. Its masks are not read."""

    MASKS = ("prompt_attention_mask", "negative_prompt_attention_mask")  # a pipeline call needs them

    @classmethod
    def conversation(cls, tokenizer: Any, text: str) -> str:
        turn = {"role": "user", "content": [{"type": "text", "text": text}]}
        return tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)

    def encoder_tokens(self, output: Any) -> Tensor:
        return output.hidden_states[-2]

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        encoded = self.pipe.encode_prompt(
            prompt,
            negative_prompt=negative_prompt,
            do_classifier_free_guidance=negative_prompt is not None,
            device=self.pipe._execution_device,
            max_sequence_length=self.text_length,
        )
        by_name = zip(("prompt_embeds", "negative_prompt_embeds", *self.MASKS), encoded, strict=True)
        return {name: x for name, x in by_name if x is not None}
