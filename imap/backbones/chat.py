"""Words of the families that read them with a language model, inside a template of the pipeline."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from imap.backbones.features import CONCEPT_WINDOW, TokenizedText, pick_token
from imap.backbones.tokens import tokenize
from imap.backbones.words import Words

LONGEST = 4096  # tokens: long enough to count any concept without cutting it


class ChatWords(Words):
    """Tokens of a text in a template. The pipeline drops those before the text, and keeps those that follow it."""

    template: ClassVar[Mapping[str, Any]]  # the pipeline's own: the template, and `crop_start` tokens that it drops
    # the text encoder is causal, so its first token encodes only the first piece of a word
    default_concept_token = "last"
    skipped_layers: ClassVar[int] = 2  # of the encoder, by the pipeline

    @classmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        return cls.in_template(tokenizer, text, LONGEST).ids

    def encoder_tokens(self, output: Any) -> Tensor:
        return output.hidden_states[-1 - self.skipped_layers]

    def tokenize(self, prompt: str) -> TokenizedText:
        return self.in_template(self.pipe.tokenizer, prompt, self.text_length)

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        tokens, *_ = self.pipe.encode_prompt(
            list(texts), pooled_prompt_embeds=torch.empty(0), max_sequence_length=CONCEPT_WINDOW
        )
        spans = [self.in_template(self.pipe.tokenizer, text, CONCEPT_WINDOW).spans for text in texts]
        picked = []
        for x, own, text in zip(tokens, spans, texts, strict=True):
            inside = [i for i, (a, b) in enumerate(own) if a < len(text) and b > max(a, 0)]
            picked.append(pick_token(x, min(inside, default=0), max(inside, default=0) + 1, concept_token))
        return torch.stack(picked)

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        encoded = self.pipe.encode_prompt(prompt, max_sequence_length=self.text_length)
        return dict(zip(self.text_arguments, encoded, strict=True))

    @classmethod
    def in_template(cls, tokenizer: Any, text: str, length: int) -> TokenizedText:
        """The first `length` tokens that the pipeline keeps of a text in its template, with spans in the text."""
        template, crop = cls.template["template"], cls.template["crop_start"]
        before = template.index("{}")
        whole = tokenize(tokenizer, template.format(text), crop + length)
        spans = tuple((a - before, b - before) for a, b in whole.spans[crop:])
        return TokenizedText(text, whole.ids[crop:], whole.pieces[crop:], spans)
