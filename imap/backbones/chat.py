"""Words of the families that read them with a language model, inside a template of the pipeline."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar

import diffusers
import torch
from torch import Tensor

from imap.backbones.features import CONCEPT_WINDOW, LONGEST, MARK, TokenizedText, pick_of_text
from imap.backbones.tokens import tokenize
from imap.backbones.words import Words


class ChatWords(Words):
    """Tokens of a text in a template. The pipeline drops those before the text, and keeps those that follow it."""

    # the text encoder is causal, so its first token encodes only the first piece of a word
    default_concept_token = "last"
    skipped_layers: ClassVar[int] = 2  # of the encoder, by the pipeline
    takes_negative_prompt: ClassVar[bool]
    adds_special_tokens: ClassVar[bool] = True  # of the tokenizer, around the template

    @classmethod
    @abstractmethod
    def written(cls, tokenizer: Any, text: str) -> str:
        """A text in its template, as the tokenizer gets it."""

    @classmethod
    @abstractmethod
    def dropped(cls, tokenizer: Any) -> int:
        """Tokens before the text, which the pipeline drops."""

    @classmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        return cls.in_template(tokenizer, text, LONGEST).ids

    def encoder_tokens(self, output: Any) -> Tensor:
        return output.hidden_states[-1 - self.skipped_layers]

    def tokenize(self, prompt: str) -> TokenizedText:
        return self.in_template(self.tokenizer, prompt, self.text_length)

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        found = [self.in_template(self.tokenizer, text, CONCEPT_WINDOW) for text in texts]
        encoded = zip(self.encode_in_window(texts), found, strict=True)
        return torch.stack([pick_of_text(tokens, text, concept_token) for tokens, text in encoded])

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        encoded = dict(zip(self.text_arguments, self.encode(prompt), strict=True))
        if negative_prompt is not None and self.takes_negative_prompt:
            negative = zip(self.text_arguments, self.encode(negative_prompt), strict=True)
            encoded |= {f"negative_{name}": x for name, x in negative}
        return encoded

    @abstractmethod
    def encode(self, prompt: str | list[str]) -> Sequence[Tensor]:
        """A prompt as the pipeline encodes it, in the order of `text_arguments`."""

    @abstractmethod
    def encode_in_window(self, texts: Sequence[str]) -> Tensor:
        """Texts as the pipeline encodes them, in CONCEPT_WINDOW tokens: (texts, tokens, text width)."""

    @classmethod
    def in_template(cls, tokenizer: Any, text: str, length: int) -> TokenizedText:
        """The first `length` tokens that the pipeline keeps of a text in its template, with spans in the text."""
        before, crop = cls.written(tokenizer, MARK).index(MARK), cls.dropped(tokenizer)
        whole = tokenize(tokenizer, cls.written(tokenizer, text), crop + length, cls.adds_special_tokens)
        spans = tuple((a - before, b - before) for a, b in whole.spans[crop:])
        return TokenizedText(text, whole.ids[crop:], whole.pieces[crop:], spans)


class TemplateWords(ChatWords):
    """A template with a place for the text, and the number of tokens before it."""

    pipeline_class: ClassVar[str]

    @classmethod
    def template(cls) -> Mapping[str, Any]:
        """The stock pipeline's own: `template`, and `crop_start`, the number of tokens that it drops."""
        call = getattr(diffusers, cls.pipeline_class).encode_prompt
        return signature(call).parameters["prompt_template"].default

    @classmethod
    def written(cls, tokenizer: Any, text: str) -> str:
        return cls.template()["template"].format(text)

    @classmethod
    def dropped(cls, tokenizer: Any) -> int:
        return cls.template()["crop_start"]

    def encode_in_window(self, texts: Sequence[str]) -> Tensor:
        tokens, *_ = self.pipe.encode_prompt(
            list(texts), pooled_prompt_embeds=torch.empty(0), max_sequence_length=CONCEPT_WINDOW
        )
        return tokens

    def encode(self, prompt: str | list[str]) -> Sequence[Tensor]:
        return self.pipe.encode_prompt(prompt, max_sequence_length=self.text_length)


class SystemWords(ChatWords):
    """A chat of the pipeline's system message and the text, by the tokenizer's own template."""

    adds_special_tokens = False
    pipeline_class: ClassVar[str]

    @classmethod
    def written(cls, tokenizer: Any, text: str) -> str:
        said = (("system", cls._own("system_message")), ("user", text or " "))
        chat = [{"role": role, "content": content} for role, content in said]
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    @classmethod
    def dropped(cls, tokenizer: Any) -> int:
        return cls._own("crop_start")

    @classmethod
    def _own(cls, name: str) -> Any:
        """A setting of the stock pipeline's chat."""
        return signature(getattr(diffusers, cls.pipeline_class)._get_mllm_prompt_embeds).parameters[name].default

    def chat_refusal(self) -> str | None:
        """Why words would be sought in the wrong tokens; None for the stock pipeline's chat."""
        names = {"system_message": "system_message", "prompt_template_encode_start_idx": "crop_start"}
        changed = [own for own, known in names.items() if getattr(self.pipe, own, None) not in (None, self._own(known))]
        return f"its {changed[0]} was changed; set the stock pipeline's value back" if changed else None

    def encode_in_window(self, texts: Sequence[str]) -> Tensor:
        pipe = self.pipe
        tokens, _ = pipe._get_mllm_prompt_embeds(
            pipe.text_encoder,
            pipe.tokenizer,
            list(texts),
            pipe._execution_device,
            tokenizer_max_length=CONCEPT_WINDOW,
        )
        return tokens

    def encode(self, prompt: str | list[str]) -> Sequence[Tensor]:
        return self.pipe.encode_prompt(prompt)
