"""Words of the families whose text passes connectors between its encoder and the transformer."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from imap.backbones.features import pick_token
from imap.backbones.words import Words


class ConnectedWords(Words):
    """Tokens are a start token, then the text's own. The encoder pads on the left.

    The connectors move the text to the first slots, and fill the rest with registers that they have learned. Text and
    registers attend to each other there, so every slot is text in the transformer.
    """

    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_attention_mask": "encoder_attention_mask",
    }
    streams = ("encoder_hidden_states", "audio_encoder_hidden_states")
    default_concept_token = "last"  # the text encoder is causal

    @staticmethod
    def clean(text: str) -> str:
        return text.strip()

    def encoder_tokens(self, output: Any) -> Tensor:
        return output.hidden_states[-1]  # the last layer of those that the pipeline packs: it differs between texts

    @property
    def connector(self) -> Any:
        return self.pipe.connectors

    def unconnected_tokens(self, given: Tensor) -> Tensor:
        return given.unflatten(-1, (self.pipe.connectors.config.caption_channels, -1))[..., -1]

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        tokenizer = self.pipe.tokenizer
        first, found = len(self.token_ids(tokenizer, "")), []
        for text in texts:  # one by one, with as many registers as a prompt has: the encoder's states are large
            tokens = self.of_transformer(self.encode_prompt(text, None))[self.streams[0]][0]
            found.append(pick_token(tokens, first, len(self.token_ids(tokenizer, text)), concept_token))
        return torch.stack(found)

    def of_transformer(self, encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arguments = (encoded[name] for name in self.text_arguments)
        return dict(zip(self.streams, self.pipe.connectors(*arguments, padding_side="left"), strict=False))
