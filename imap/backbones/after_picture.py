"""Words of HunyuanVideo image-to-video, whose text encoder, a Llava, reads a picture before them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from imap.backbones.chat import TemplateWords
from imap.backbones.features import CONCEPT_WINDOW, Slots, TokenizedText
from imap.errors import ImapError

HEADER = 4  # tokens from the prompt's end to the answer, which the pipeline cuts out of its text


class WordsAfterPicture(TemplateWords):
    """The text is some states of the picture, then the prompt. A concept is read after a black picture.

    The stock pipeline reads a negative prompt after a black picture, too.
    """

    encodes_alone = False
    text_window = 256 - HEADER
    picture_step: ClassVar[int]  # the pipeline keeps one of so many states of the picture
    takes_negative_prompt: ClassVar[bool]

    @classmethod
    def in_template(cls, tokenizer: Any, text: str, length: int) -> TokenizedText:
        whole = super().in_template(tokenizer, text, length + HEADER)
        places = _kept(tokenizer, whole.ids)
        ids, pieces, spans = (tuple(x[i] for i in places) for x in (whole.ids, whole.pieces, whole.spans))
        return replace(whole, ids=ids, pieces=pieces, spans=spans)

    def kept(self, ids: Sequence[int], tokens: Tensor) -> tuple[list[int], Tensor]:
        # the picture is one token in `crop_start`
        template = self.template()
        first = template["crop_start"] - 1 + template["image_emb_len"]
        places = [first + i for i in _kept(self.pipe.tokenizer, ids[first:])]
        return [ids[i] for i in places], tokens[places]

    def prompt_slots(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> Slots:
        count, picture = call["encoder_hidden_states"].shape[1], self.template()["image_emb_len"]
        states = len(range(0, picture, self.picture_step))
        if count != states + self.text_window:
            raise ImapError(
                f"expected a text of {states} states of the picture and {self.text_window} of the prompt, got {count}; "
                "leave out image_embed_interleave and max_sequence_length"
            )
        return Slots(states, self.text_window)

    def encode_in_window(self, texts: Sequence[str]) -> Tensor:
        black = [Image.new("RGB", (8, 8))] * len(texts)
        tokens, *_ = self.pipe.encode_prompt(
            black, list(texts), pooled_prompt_embeds=torch.empty(0), max_sequence_length=CONCEPT_WINDOW + HEADER
        )
        return tokens[:, -CONCEPT_WINDOW:]

    def encode_prompt(self, prompt: Any, negative_prompt: Any) -> dict[str, Any]:
        texts = {"prompt": prompt, "negative_prompt": negative_prompt if self.takes_negative_prompt else None}
        return {name: text for name, text in texts.items() if text is not None}  # read inside the pipeline call


def _kept(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Places of the tokens that the pipeline keeps of those after the template's start: all but the answer's header."""
    end = tokenizer.convert_tokens_to_ids("<|end_header_id|>")
    # a long prompt leaves no room for the header, and the pipeline drops its last tokens
    last = max((i for i, x in enumerate(ids) if x == end), default=len(ids) - 1)
    return [*range(last + 1 - HEADER), *range(last + 1, len(ids))]
