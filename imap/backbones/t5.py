"""Words of the families that read them with a T5 encoder or UMT5."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from imap.backbones.features import CONCEPT_WINDOW, pick_token
from imap.backbones.words import Words


class T5Words(Words):
    """Tokens are the text's own, then one end token."""

    def encoder_tokens(self, output: Any) -> Tensor:
        return output[0]

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        tokens, *_ = self.pipe.encode_prompt(
            list(texts), do_classifier_free_guidance=False, max_sequence_length=CONCEPT_WINDOW
        )
        lengths = [len(self.token_ids(self.pipe.tokenizer, text)) - 1 for text in texts]
        return torch.stack([pick_token(x, 0, n, concept_token) for x, n in zip(tokens, lengths, strict=True)])


class MaskedT5Words(T5Words):
    """The pipeline gives the transformer a mask of the text, and padded slots are left out of attention."""

    padding = "unread"
    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_attention_mask": "encoder_attention_mask",
    }
