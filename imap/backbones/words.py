"""Words of a backbone: which tokens a text has, and in which slots of the transformer's text they are."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from imap.backbones.features import Slots, TokenizedText
from imap.backbones.part import Part
from imap.backbones.tokens import tokenize


class Words(Part):
    """A text encoder and its tokenizer."""

    # arguments of the transformer by names of `encode_prompt`, in its order; the first holds the token embeddings
    text_arguments: ClassVar[Mapping[str, str]] = {"prompt_embeds": "encoder_hidden_states"}
    # arguments of the transformer that hold the prompt's tokens, for each of its streams
    streams: ClassVar[tuple[str, ...]] = ("encoder_hidden_states",)
    text_window: ClassVar[int]  # text slots that the stock pipeline pads to
    # what padded slots are: `encoded` text of their own, `equal` to each other, or `unread`, masked out of attention
    padding: ClassVar[str] = "encoded"
    masks_padding: ClassVar[bool] = False  # its attention does not see the prompt's padded slots, which are counted
    reads_quotes_apart: ClassVar[bool] = False  # a second encoder reads what the prompt has in quotes
    encodes_alone: ClassVar[bool] = True  # else a prompt is encoded inside the pipeline call, with its picture
    default_concept_token: ClassVar[str] = "first"
    pads: ClassVar[bool] = True  # else each text has its own length, and no slot but its tokens'
    rivals_are_words: ClassVar[bool] = True  # of the whole-video column (docs/method.md, 10.1)

    @classmethod
    def text_slots(cls, transformer: Mapping[str, Any]) -> int:
        """Text slots that the stock pipeline pads to. transformer: its configuration."""
        return cls.text_window

    @property
    def tokenizer(self) -> Any:
        """Of the text encoder. Some pipelines have it inside a processor of texts and pictures."""
        return getattr(self.pipe.tokenizer, "tokenizer", self.pipe.tokenizer)

    @property
    def text_length(self) -> int:
        return self.text_slots(self.transformer.config)

    def prompt_slots(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> Slots:
        """The prompt's distinct slots in one row of a transformer call, among the keys of text in a block."""
        length = call["encoder_hidden_states"].shape[-2]
        real = min(prompt_tokens, length)
        if self.padding == "equal" and real < length:
            return Slots(0, real + 1, length - real)
        return Slots(0, real if self.padding == "unread" else length)

    def offset(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> int:
        """Index of the prompt's first slot in the text of a transformer call. Blocks may add tokens before it."""
        return self.prompt_slots(call, row, prompt_tokens).first

    def tokenize(self, prompt: str) -> TokenizedText:
        """Prompt tokens in the order of the transformer's text slots, with an end token last where there is one."""
        return tokenize(self.pipe.tokenizer, self.clean(prompt), self.text_length)

    @staticmethod
    def clean(text: str) -> str:
        """The text as the stock pipeline hands it to the tokenizer."""
        return text

    @classmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        """Token ids of a text of any length, the end token included; needs no weights."""
        return tuple(tokenizer(cls.clean(text))["input_ids"])

    @abstractmethod
    def encoder_tokens(self, output: Any) -> Tensor:
        """(rows, slots, width) of a text encoder's output: what the pipeline cuts the token embeddings from."""

    def kept(self, ids: Sequence[int], tokens: Tensor) -> tuple[Sequence[int], Tensor]:
        """What the pipeline keeps of an encoded text, if that is not one run of tokens: ids, and (len(ids), width)."""
        return ids, tokens

    @property
    def connector(self) -> Any:
        """A module that text passes between its encoder and the transformer; None if there is none."""
        return None

    def unconnected_tokens(self, given: Tensor) -> Tensor:
        """(rows, slots, width) of what the connector is given: as `encoder_tokens` returns it."""
        raise NotImplementedError

    def of_transformer(self, encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Text arguments of the transformer, from those of the pipeline call for a prompt."""
        return {self.text_arguments[name]: value for name, value in encoded.items() if name in self.text_arguments}

    @abstractmethod
    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        """One embedding per text, encoded alone: its first or last token, or the mean; (texts, text width)."""

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        """Text arguments of a pipeline call. negative_prompt=None means no guidance, so no negative half.

        They are the texts themselves where `encodes_alone` is False.
        """
        guided = negative_prompt is not None
        encoded = self.pipe.encode_prompt(
            prompt,
            negative_prompt=negative_prompt,
            do_classifier_free_guidance=guided,
            max_sequence_length=self.text_length,
        )
        names = (*self.text_arguments, *(f"negative_{name}" for name in self.text_arguments))
        by_name = dict(zip(names, encoded, strict=True))
        return by_name if guided else {name: by_name[name] for name in self.text_arguments}

    def encode_negative(self, negative_prompt: str | list[str]) -> dict[str, Tensor]:
        """Text arguments of a pipeline call for its negative half, by their names in the other half."""
        return self.encode_prompt(negative_prompt, None)
