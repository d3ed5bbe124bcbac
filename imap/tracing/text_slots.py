"""The texts of a trace: their slots, and the weight of each slot (docs/method.md, 2.3 and 4)."""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch

from imap.backbones.base import Backbone
from imap.backbones.features import CONCEPT_WINDOW, TokenizedText
from imap.backbones.tokens import place_of
from imap.config.method import Method
from imap.config.samples import check_words
from imap.errors import ImapError, brief
from imap.methods.layer_maps import SlotWeights
from imap.tracing import word_notes as notes

log = logging.getLogger("imap")
NOTHING = TokenizedText("", (), (), ())


class TextSlots:
    """Concepts and motion words, matched to the prompt's tokens with target `prompt`."""

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        concepts: Sequence[str],
        motions: Sequence[str],
        prompt: str | None,
        known: Sequence[str] | None = None,
        logged: Collection[str] = (),
        attention: bool = True,
    ) -> None:
        """Match words to the tokens of a prompt.

        Args:
            backbone, method: of the trace.
            concepts: nouns.
            motions: motion words.
            prompt: that the pipeline will be called with; None with target concepts only.
            known: all words that a small model was trained on; None for any.
            logged: notes that were logged already.
            attention: False if only the effect is read.

        Raises:
            ImapError: for words that cannot be read.
        """
        check_words(concepts, motions)
        self.texts, self.motions = (*concepts, *motions), frozenset(motions)
        self.notes: list[str] = []
        self.prompt, self.known, self.logged = prompt, known, set(logged)
        self.reads_prompt = method.imap_qk_matching_target == "prompt"
        self.needs_prompt = self.reads_prompt or bool(method.effect)
        self.joint_attention, self.padded_length = backbone.joint_attention, backbone.text_length
        self.prompt_tokens, self.masks_padding = method.prompt_tokens, backbone.masks_padding
        check_count(len(self.texts), self.padded_length)
        tokenizer = backbone.tokenizer
        ids = {text: check_window(backbone, tokenizer, text) for text in self.texts}
        if self.needs_prompt:
            check_prompt(prompt, method)
        self.prompt_text = backbone.tokenize(prompt) if prompt else NOTHING
        self.prompt_length = len(backbone.token_ids(tokenizer, prompt)) if prompt else 0
        self._add(notes.of_the_cut(self.prompt_text, self.prompt_length, len(self.prompt_text.ids)))
        self.places = {text: place_of(backbone.clean(text), self.prompt_text) for text in self.texts}
        self.tokenized = self.prompt_text if self.reads_prompt else NOTHING
        self.matched = self._match()
        if self.needs_prompt:
            self._add(notes.of_other_forms(self.places, backbone.clean))
        read = {text: [self.prompt_text.ids[i] for i in self.matched[text]] or ids[text] for text in self.texts}
        self._add(notes.of_unknown_tokens(read, getattr(tokenizer, "unk_token_id", None)))
        written = {text: self.places[text].as_written if self.matched[text] else (text,) for text in self.texts}
        self._add(notes.of_untaught_words(written, prompt or "", known))
        self.standardize = self._standardize(method) if attention else False

    def _match(self) -> dict[str, tuple[int, ...]]:
        """Tokens of the prompt that each text spans; none with target concepts."""
        if not self.reads_prompt:
            return dict.fromkeys(self.texts, ())
        matched = {text: place.tokens for text, place in self.places.items()}
        unread = {text: self.places[text] for text, tokens in matched.items() if not tokens}
        absent = [text for text, place in unread.items() if not place.cut_off]
        cut_off = [text for text, place in unread.items() if place.cut_off]
        for texts, where in ((absent, "not in the prompt"), (cut_off, "in the part of the prompt that is cut off")):
            if texts:
                self.note(
                    f"{where}: {', '.join(texts)}; matched by concept keys of their own, "
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

    def _add(self, messages: Iterable[str]) -> None:
        for message in messages:
            self.note(message)

    def note(self, message: str) -> None:
        """Log a fact that readers of the maps must know, and record it."""
        self.notes.append(message)
        self.log(message)

    def log(self, message: str) -> None:
        """Log a note, unless it was logged already."""
        if message not in self.logged:
            self.logged.add(message)
            log.warning(message)

    @property
    def reads_concepts(self) -> bool:
        """Whether concept tokens run: maps or baselines read them, or a text is not in the prompt."""
        return not self.reads_prompt or self.joint_attention or not all(self.matched.values())

    def check_call(self, slots: int, ids: Sequence[int] | None) -> None:
        """Check that a transformer call got the trace's prompt: rows are read at its words' places.

        Args:
            slots: text slots of the call.
            ids: token ids of its text, without padding; None if they are not known.

        Raises:
            ImapError: for another prompt, or for a shorter text window than the trace's.
        """
        if not self.needs_prompt:
            if slots < len(self.prompt_text.ids):
                self._add(notes.of_the_cut(self.prompt_text, self.prompt_length, slots))
            return
        prompt = list(self.prompt_text.ids)
        if ids is None:
            self.note(
                "the call's text was not encoded inside the trace (prompt_embeds?), so it could not be checked: maps "
                "are right only if it is the embedding of the trace's prompt"
            )
        elif list(ids) != prompt:
            instead = "or set imap_qk_matching_target=concepts and effect=false"
            if len(ids) == slots < len(prompt) and list(ids)[:-1] == prompt[: slots - 1]:
                raise ImapError(
                    f"the pipeline was called with a text window of {slots} tokens, and the prompt has {len(prompt)}; "
                    f"leave out max_sequence_length, {instead}"
                )
            raise ImapError(
                "the pipeline was called with another prompt than the trace was given, or with another template; "
                f"give both the same, {instead}"
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

    def facts(self, more_notes: Sequence[str] = ()) -> dict[str, Any]:
        """Facts to record: the prompt pieces that each text was read from, and the notes, with more after them."""
        pieces = self.tokenized.pieces
        read_from = {text: [pieces[i] for i in tokens] for text, tokens in self.matched.items() if self.reads_prompt}
        facts = {"read_from_prompt": read_from, "notes": list(dict.fromkeys([*self.notes, *more_notes]))}
        return facts | ({"prompt": self.prompt} if self.prompt else {})


def check_prompt(prompt: str | None, method: Method) -> None:
    """Raise ImapError if there is no prompt to read words from."""
    if not prompt and method.effect:
        raise ImapError("effect leaves words out of the prompt: give the prompt to the trace too")
    if not prompt:
        raise ImapError(
            "imap_qk_matching_target=prompt reads the prompt's own words: "
            "give the prompt to the trace too, or set imap_qk_matching_target=concepts"
        )


def check_count(texts: int, slots: int) -> None:
    """Raise ImapError for more words than a model has text slots; one slot stays empty."""
    if texts >= slots:
        raise ImapError(
            f"{texts} words do not fit the model's {slots} text slots; name at most {slots - 1}, or read the rest in "
            "another run"
        )


def check_window(backbone: Backbone | type[Backbone], tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a word. Needs only the tokenizer.

    Raises ImapError for more tokens than the concept window, and for a text that has none.
    """
    ids = backbone.token_ids(tokenizer, text)
    if ids == backbone.token_ids(tokenizer, ""):
        raise ImapError(f"the model's tokenizer finds no letters in {brief(text)}; name another word")
    length = len(ids)
    if length > CONCEPT_WINDOW:
        raise ImapError(
            f"the concept {brief(text, 60)} is {length} tokens long, and the concept window holds {CONCEPT_WINDOW}; "
            "shorten it"
        )
    return ids
