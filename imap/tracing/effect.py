"""Effect of a word: how the prediction changes without it (docs/method.md, 10.2). An intervention, beside attention."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from imap.backbones.base import Backbone
from imap.backbones.features import Grid, text_of
from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.by_layer import BY_STEP, STEPS
from imap.methods.keep import Numbered
from imap.methods.registry import EFFECT
from imap.tracing.out_of_memory import free_memory_of, is_out_of_memory
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.text_slots import TextSlots

CPU_TOKENS = 2**15  # visual tokens of one batch on a CPU, where memory that runs out ends the process
QUOTES = frozenset('"“”')


class Effect:
    """Mean over steps of the length of the change of the prediction, for each word.

    The transformer runs once more on the same latents and timestep, with a text in which the word is neutral. The
    pipeline does not see that run.
    """

    def __init__(self, backbone: Backbone, text_slots: TextSlots, method: Method, cache: PromptCache) -> None:
        """Prepare the effect of all words of a trace.

        Args:
            backbone: of the traced pipeline.
            text_slots: the words, with their tokens in the prompt.
            method: `effect` says which steps are read. `effect_neutral=mean` puts the mean of the prompt's token
                embeddings in place of the word's; `dropped` encodes the prompt without the word.
            cache: encodes the prompts.

        Raises:
            ImapError: for a word that is not in the prompt.
        """
        self.backbone, self.text_slots, self.method = backbone, text_slots, method
        self.neutral = method.effect_neutral
        self.every_step = method.effect is True  # that maps are read at
        refuse_absent([text for text, place in text_slots.places.items() if not (place.tokens or place.cut_off)])
        cut_off = [text for text, place in text_slots.places.items() if not place.tokens]
        refuse_absent(cut_off, "in the part of the prompt that is cut off")
        if backbone.reads_quotes_apart and self.neutral == "mean" and QUOTES & set(text_slots.prompt or ""):
            text_slots.note(
                "effect: words in quotes are also read by a second encoder, which effect_neutral=mean leaves as it is; "
                "effect_neutral=dropped leaves them out there too"
            )
        if not backbone.encodes_alone and self.neutral == "dropped":
            raise ImapError(
                f"effect_neutral=dropped encodes prompts alone, and a {type(backbone.pipe).__name__} reads them after "
                "its picture; set effect_neutral=mean"
            )
        if not backbone.pads and self.neutral == "dropped":
            raise ImapError(
                f"effect_neutral=dropped needs texts of equal length, and a {type(backbone.pipe).__name__} pads none; "
                "set effect_neutral=mean"
            )
        self.read: list[int] = []
        self._cache = cache
        self._texts: list[Mapping[str, Tensor]] = []
        self._total: Any = None  # Tensor (texts, f, p)
        self._steps: list[Tensor] = []  # of each step, if they are kept

    def encode(self) -> None:
        """Encode the prompts that lack a word. Only `dropped` needs them."""
        if self.neutral == "dropped" and not self._texts:
            for place in self.text_slots.places.values():
                encoded = self._cache.prompt(place.without, None).tensors
                with torch.no_grad():
                    self._texts.append(self.backbone.of_transformer(encoded))

    def wants(self, step: int, count: int) -> bool:
        """Whether a step of a schedule of `count` steps is read."""
        return self.every_step or step in self.method.effect_steps(count)

    def facts(self) -> dict[str, Any]:
        """Facts to record."""
        return {"neutral": self.neutral, "steps": sorted(self.read)}

    def add(
        self, transformer: nn.Module, call: Mapping[str, Any], row: int, output: Any, grid: Grid, step: int
    ) -> None:
        """Add the effect of every word at the current step.

        Args:
            transformer: of the pipeline; it is called again.
            call: arguments of the pipeline's call.
            row: the conditional row of its batch.
            output: what the call returned.
            grid: of the visual tokens.
            step: index of the step.
        """
        predicted = _prediction(output)[row : row + 1].float()
        texts = self._neutral_texts(call, row)
        rows = _rows_at_once(grid, predicted.device)
        lengths, start = [], 0
        while start < len(texts):
            part = texts[start : start + rows]
            try:
                changed = _prediction(transformer(**_batch(call, row, part, self.backbone.entries))).float()
            except (RuntimeError, MemoryError) as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                rows = len(part) // 2
                free_memory_of(error)
                self.text_slots.note(
                    f"effect: out of memory with {len(part)} words at once; fewer at once are read, "
                    "which may change the last digits"
                )
                continue
            difference = self.backbone.from_pipeline(changed - predicted, grid)
            lengths.append(torch.linalg.vector_norm(difference, dim=1))
            start += len(part)
        cells = torch.cat(lengths)
        cells[:, list(self.backbone.fixed_frames(call, row, grid))] = 0  # what is predicted there is not used
        value = _to_grid(cells, grid)
        self._total = value if self._total is None else self._total + value
        self.read.append(step)
        if STEPS in self.method.keep:
            self._steps.append(value)

    def restart(self) -> None:
        """Begin anew, for the next section of a video."""
        self._total, self.read, self._steps = None, [], []

    def mean(self) -> Tensor:
        """(texts, f, p), on the device. Raises ImapError if no step was read."""
        if self._total is None:
            raise ImapError(f"effect={self.method.effect}: none of these steps was read; choose steps that are")
        return self._total / len(self.read)

    def kept(self) -> dict[str, Numbered]:
        """The effect at each step (texts, steps, f, p), by the name of its file; empty if it is not kept."""
        order = sorted(range(len(self._steps)), key=self.read.__getitem__)
        steps = tuple(self.read[i] for i in order)
        return (
            {f"{BY_STEP}/{EFFECT}": (torch.stack([self._steps[i] for i in order], dim=1), (), steps)} if order else {}
        )

    def _neutral_texts(self, call: Mapping[str, Any], row: int) -> Sequence[Mapping[str, Tensor]]:
        """Text arguments of the transformer, (1, ...) each, with one word neutral."""
        text = text_of(call, row)
        if self.neutral == "dropped":
            length = self._texts[0][self.backbone.streams[0]].shape[-2]
            if length != len(text):
                raise ImapError(
                    f"effect_neutral=dropped encodes texts of {length} tokens, and the pipeline was called with "
                    f"{len(text)}; leave out max_sequence_length, or set effect_neutral=mean"
                )
            return self._texts
        count = len(self.text_slots.prompt_text.pieces)
        first = self.backbone.offset(call, row, count)
        changed: list[dict[str, Tensor]] = [{} for _ in self.text_slots.places]
        for name in self.backbone.streams:
            text = call[name][row].flatten(0, -2)
            mean = text[first : first + count].mean(dim=0)
            for found, place in zip(changed, self.text_slots.places.values(), strict=True):
                one = text.clone()
                one[[first + token for token in place.tokens]] = mean
                found[name] = one.unsqueeze(0)
        return changed


def refuse_absent(words: Sequence[str], where: str = "not in the prompt") -> None:
    """Raise ImapError if there are words whose effect cannot be read. where: what is wrong with them."""
    if words:
        raise ImapError(
            f"effect: {where}: {', '.join(words)}; the effect of a word is that of leaving it out, so name words of "
            "the prompt, or switch effect off"
        )


def _prediction(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output.sample


def _rows_at_once(grid: Grid, device: torch.device) -> int:
    """Words in one batch. On a GPU as many as there are: it is halved when memory runs out."""
    return max(1, CPU_TOKENS // (grid.frames * grid.patches)) if device.type == "cpu" else 2**10


def _batch(
    call: Mapping[str, Any], row: int, texts: Sequence[Mapping[str, Tensor]], entries: Mapping[str, int]
) -> dict[str, Any]:
    """Arguments of a call for several texts: the conditional row of everything else, repeated.

    entries: as in `Calls`.
    """
    rows = len(call["hidden_states"])
    arguments = {}
    for name, value in call.items():
        if name in texts[0]:
            like = value[:1]
            parts = [text[name].to(device=like.device, dtype=like.dtype).reshape(like.shape) for text in texts]
            arguments[name] = torch.cat(parts)
        elif isinstance(value, Tensor) and value.ndim and len(value) == rows * (own := entries.get(name, 1)):
            arguments[name] = value[row * own : (row + 1) * own].repeat(len(texts), *(1,) * (value.ndim - 1))
        else:
            arguments[name] = value
    return arguments


def _to_grid(x: Tensor, grid: Grid) -> Tensor:
    """(texts, frames, height, width) in latent cells to (texts, f, p), means over the cells of a token."""
    sizes = {"f": grid.frames, "y": grid.height, "x": grid.width}
    return rearrange(reduce(x, "t (f a) (y b) (x c) -> t f y x", "mean", **sizes), "t f y x -> t f (y x)")
