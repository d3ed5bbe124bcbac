"""The texts of a trace: their slots, and the weight of each slot (docs/method.md, 2.3 and 4)."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from imap.backbones.base import Backbone
from imap.backbones.features import CONCEPT_WINDOW, TokenizedText
from imap.backbones.tokens import place_of
from imap.config.method import Method
from imap.config.samples import check_words
from imap.errors import ImapError
from imap.methods.layer_maps import SlotWeights

log = logging.getLogger("imap")


class TextSlots:
    """Concepts and motion words, matched to the prompt's tokens with target `prompt`."""

    def __init__(
        self, backbone: Backbone, method: Method, concepts: Sequence[str], motions: Sequence[str], prompt: str | None
    ) -> None:
        check_words(concepts, motions)
        self.texts, self.motions = (*concepts, *motions), frozenset(motions)
        self.notes: list[str] = []
        self.prompt = prompt
        self.reads_prompt = method.imap_qk_matching_target == "prompt"
        self.needs_prompt = self.reads_prompt or bool(method.effect)
        self.joint_attention, self.padded_length = backbone.joint_attention, backbone.text_length
        self.prompt_tokens, self.masks_padding = method.prompt_tokens, backbone.masks_padding
        if len(self.texts) >= self.padded_length:
            raise ImapError(f"{len(self.texts)} texts do not fit {self.padded_length} text slots; name fewer")
        for text in self.texts:
            check_window(backbone, backbone.pipe.tokenizer, text)
        self.prompt_text = _tokenize(backbone, prompt, method) if self.needs_prompt else TokenizedText("", (), (), ())
        self.places = {text: place_of(text, self.prompt_text) for text in self.texts}
        self.tokenized = self.prompt_text if self.reads_prompt else TokenizedText("", (), (), ())
        self.matched = self._match()
        self.standardize = self._standardize(method)

    def _match(self) -> dict[str, tuple[int, ...]]:
        """Tokens of the prompt that each text spans; none with target concepts."""
        if not self.reads_prompt:
            return dict.fromkeys(self.texts, ())
        matched = {text: place.tokens for text, place in self.places.items()}
        absent = [text for text, tokens in matched.items() if not tokens]
        if absent:
            self.note(
                f"not in the prompt: {', '.join(absent)}; matched by concept keys of their own, "
                "standardized over the prompt's tokens"
            )
        return matched

    def _standardize(self, method: Method) -> bool:
        if method.standardize == "text" and not self.reads_prompt and len(self.texts) == 1:
            self.note(
                "a single concept is not standardized (standardize=none): over one text only its sign would be left"
            )
            return False
        return method.standardize == "text"

    def note(self, message: str) -> None:
        """Log a fact that readers of the maps must know, and record it."""
        self.notes.append(message)
        log.warning(message)

    @property
    def reads_concepts(self) -> bool:
        """Whether concept tokens run: maps or baselines read them, or a text is not in the prompt."""
        return not self.reads_prompt or self.joint_attention or not all(self.matched.values())

    def check_encoded(self, encoded: Sequence[Sequence[int]]) -> None:
        """Raise ImapError unless the pipeline has encoded the trace's prompt: rows are read at its words' places.

        encoded: token ids of every text that the pipeline has encoded.
        """
        prompt = list(self.prompt_text.ids)
        windows = ((row, start) for row in encoded for start in range(len(row) - len(prompt) + 1))
        if encoded and not any(list(row[start : start + len(prompt)]) == prompt for row, start in windows):
            raise ImapError(
                "the pipeline was called with another prompt than the trace was given; "
                "give both the same, or set imap_qk_matching_target=concepts and effect=false"
            )

    def layout(self, prompt: int, last_counts_for: int) -> SlotWeights:
        """Weights and rows over [prompt slots, concepts, padding], the concept part only where it is read.

        Rows are the texts, then the prompt's tokens with `prompt_tokens`. With prompt keys, concept slots stay out of
        the statistics: a text that is not in the prompt is standardized like one more token and changes no other row.

        Args:
            prompt: distinct prompt slots.
            last_counts_for: how many equal slots the last of them counts for.
        """
        count = len(self.texts)
        concepts = count + 1 if self.reads_concepts else 0
        prompt_weights, concept_weights = torch.ones(prompt), torch.ones(concepts)
        prompt_weights[-1:] = float(last_counts_for)
        concept_weights[-1:] = float(self.padded_length - count)
        own = torch.eye(count, count + 1 if concepts else 0)
        own = torch.cat([torch.zeros(count, prompt), own], dim=1)
        rows = torch.zeros_like(own)
        for row, text in enumerate(self.texts):
            tokens = [token for token in self.matched[text] if token < prompt]
            rows[row] = own[row] if not tokens else 0
            rows[row, tokens] = 1 / max(len(tokens), 1)
        if self.reads_prompt and self.prompt_tokens:
            rows = torch.cat([rows, torch.eye(min(len(self.tokenized.pieces), prompt), rows.shape[1])])
        weights = torch.cat([prompt_weights, concept_weights if not prompt else torch.zeros(concepts)])
        if self.joint_attention:
            baseline = torch.cat([torch.zeros(prompt), concept_weights])
            attended = None
            if self.masks_padding and prompt:
                attended = weights.clone()
                attended[len(self.tokenized.pieces) :] = 0
            return SlotWeights(weights, rows, baseline, own, words=count, prompt=prompt or None, attended=attended)
        return SlotWeights(weights, rows, weights, rows, words=count, prompt=prompt or None)

    def facts(self) -> dict[str, Any]:
        """Facts to record: the prompt pieces that each text was read from, and the notes."""
        pieces = self.tokenized.pieces
        read_from = {text: [pieces[i] for i in tokens] for text, tokens in self.matched.items() if self.reads_prompt}
        facts = {"read_from_prompt": read_from, "notes": list(dict.fromkeys(self.notes))}
        return facts | ({"prompt": self.prompt} if self.prompt else {})


def _tokenize(backbone: Backbone, prompt: str | None, method: Method) -> TokenizedText:
    if not prompt and method.effect:
        raise ImapError("effect leaves words out of the prompt: give the prompt to the trace too")
    if not prompt:
        raise ImapError(
            "imap_qk_matching_target=prompt reads the prompt's own words: "
            "give the prompt to the trace too, or set imap_qk_matching_target=concepts"
        )
    return backbone.tokenize(prompt)


def check_window(backbone: Backbone | type[Backbone], tokenizer: Any, text: str) -> None:
    """Raise ImapError for a text of more tokens than the concept window. Needs only the tokenizer."""
    length = backbone.concept_length(tokenizer, text)
    if length > CONCEPT_WINDOW:
        shown = text if len(text) < 60 else text[:57] + "..."
        raise ImapError(
            f"the concept {shown!r} is {length} tokens long, and the concept window holds {CONCEPT_WINDOW}; shorten it"
        )
