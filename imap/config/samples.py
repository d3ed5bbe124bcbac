"""Checked samples: a prompt, concepts (nouns), motion words and, for renoising, a clip. Lists of them."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imap.config.checks import check_path, check_text
from imap.errors import ImapError, brief, first_line

KEYS = ("caption", "concepts", "object", "video_path", "camera", "motion_idx")
LONGEST_SLUG = 48  # characters
FAULTS = 5  # entries that an error names
OPTIONS = {"s": "concepts only", "t": "motion words only", "st": "both"}


@dataclass(frozen=True)
class Sample:
    """One prompt and the words to look for in its video. `motions` is called `object` in an input list."""

    prompt: str
    concepts: tuple[str, ...]
    motions: tuple[str, ...]
    video_path: Path | None = None

    @property
    def slug(self) -> str:
        """The prompt as a folder name: ASCII letters, digits and hyphens, at most 48 characters."""
        return self._plain[:LONGEST_SLUG].strip("-") or "sample"

    @property
    def folder_name(self) -> str:
        """The slug, with a digest of the prompt if the slug is cut or lacks letters of other alphabets."""
        letters = unicodedata.normalize("NFKD", self.prompt)
        lacks = len(self._plain) > LONGEST_SLUG or any(x.isalnum() and not x.isascii() for x in letters)
        return f"{self.slug}-{digest(self.prompt)}" if lacks else self.slug

    @property
    def _plain(self) -> str:
        plain = unicodedata.normalize("NFKD", self.prompt).encode("ascii", "ignore").decode().lower()
        return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def digest(text: str) -> str:
    """Eight characters of a text's hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def split_texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Words from a list, or from one string such as "a, b" or "[a, b]"."""
    if value is None:
        return ()
    if isinstance(value, str):
        inside = value.strip()
        if inside[1:-1].count(inside[:1]) == 0:  # '"a, b"', as Hydra writes a text; but not '"a", "b"'
            inside = _unquoted(inside).strip()
        if inside.startswith("[") and inside.endswith("]"):
            inside = inside[1:-1]
        value = [_unquoted(word.strip()) for word in inside.split(",")] if inside.strip() else []
    if isinstance(value, bytes) or not isinstance(value, Sequence) or not all(isinstance(word, str) for word in value):
        raise ImapError(f"expected words, got {brief(value)}")
    return tuple(" ".join(word.split()) for word in value)


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def check_words(concepts: Sequence[str], motions: Sequence[str]) -> None:
    """Raise ImapError if there is no word to look for, or one is empty or a duplicate."""
    texts = [*concepts, *motions]
    if not texts:
        raise ImapError('no words to look for; set concepts (nouns) or motions, such as concepts="ball, dog"')
    if "" in texts:
        raise ImapError(f"one of the words is empty in {brief(texts)}; remove the extra comma")
    seen: set[str] = set()
    for text in texts:
        if text.lower() in seen:
            raise ImapError(f"{brief(text)} is a duplicate in concepts and motions; write each word once")
        seen.add(text.lower())


def make_sample(
    prompt: Any, concepts: Any, motions: Any, video_path: str | Path | None = None, concept_option: str = "st"
) -> Sample:
    """A checked sample.

    Args:
        prompt: sentence that describes the video.
        concepts: nouns, as `split_texts` reads them.
        motions: motion words, as `split_texts` reads them.
        video_path: the clip, for renoising.
        concept_option: s (use concepts only), t (motions only) or st (both).

    Raises:
        ImapError: for an empty prompt, and for words as `check_words` does.
    """
    if concept_option not in OPTIONS:
        raise ImapError(
            f"concept_option={brief(concept_option)} is not known; it can be s (concepts), t (motions) or st"
        )
    if not isinstance(prompt, str) or not prompt.strip():
        raise ImapError("the prompt is empty; describe the video in a sentence")
    check_text("prompt", prompt)
    if video_path:
        check_path("video_path", video_path)
    nouns = split_texts(concepts) if "s" in concept_option else ()
    verbs = split_texts(motions) if "t" in concept_option else ()
    check_words(nouns, verbs)
    for text in (*nouns, *verbs):
        check_text("a word", text)
    return Sample(prompt.strip(), nouns, verbs, Path(video_path) if video_path else None)


def read_list(
    path: Path, concept_option: str = "st", with_video: bool = False, named: int | None = FAULTS
) -> list[Sample]:
    """Samples of a JSON list in the release's format (docs/method.md, 8).

    Args:
        path: a list of objects with the keys `KEYS`.
        concept_option: as in `make_sample`.
        with_video: each entry needs a `video_path`; a relative one starts at the working folder, else at the list's.
        named: how many faulty entries the error names; None for all.

    Raises:
        ImapError: one error for all faulty entries.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except FileNotFoundError:
        raise ImapError(f"input_json: there is no file {path.absolute()}") from None
    except ImapError as error:
        raise ImapError(f"input_json: {path}: {error}") from None
    except RecursionError:
        raise ImapError(f"input_json: {path} is nested too deeply; expected a list of objects") from None
    except ValueError as error:  # also for numbers of thousands of digits
        raise ImapError(f"input_json: {path} is not valid JSON: {first_line(error)}") from None
    except OSError as error:
        raise ImapError(f"input_json: cannot read {path}: {error.strerror}") from None
    if not isinstance(entries, list) or not entries:
        raise ImapError(f"input_json: {path} must be a list of at least one entry with {', '.join(KEYS[:3])}")
    samples, faults = [], []
    for index, entry in enumerate(entries):
        try:
            samples.append(_entry(entry, concept_option, with_video, path.parent))
        except ImapError as error:
            faults.append(f"entry {index}: {error}")
    if faults:
        shown = faults[:named]
        rest = f"; and {len(faults) - len(shown)} more" if len(faults) > len(shown) else ""
        raise ImapError(f"input_json: {path}: {'; '.join(shown)}{rest}")
    return samples


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a list. Raises ImapError for a key that comes twice, of which Python would keep the last value."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ImapError(f"the key {brief(twice)} comes twice in one entry; write it once")
    return entry


def _entry(entry: Any, concept_option: str, with_video: bool, folder: Path) -> Sample:
    if not isinstance(entry, dict):
        raise ImapError(f"expected an object with {', '.join(KEYS[:3])}, got {type(entry).__name__}")
    for key in entry:
        if key not in KEYS:
            raise ImapError(f"unknown key {brief(key)}; choose from {', '.join(KEYS)}")
    video = entry.get("video_path") if with_video else None
    if with_video and not (isinstance(video, str) and video):
        raise ImapError("video_path is missing or not a string; renoising needs a clip for every entry")
    sample = make_sample(entry.get("caption"), entry.get("concepts"), entry.get("object"), video, concept_option)
    if sample.video_path and not sample.video_path.is_absolute() and not sample.video_path.exists():
        beside = folder / sample.video_path
        return Sample(sample.prompt, sample.concepts, sample.motions, beside if beside.exists() else sample.video_path)
    return sample


def numbered(samples: Sequence[Sample]) -> Iterator[tuple[str, Sample]]:
    """Samples in order, each with the folder name <index>-<slug> that it gets if it is new."""
    for index, sample in enumerate(samples):
        yield f"{index:03d}-{sample.folder_name}", sample


def samples_of(config: Mapping[str, Any], renoising: bool, demo: Mapping[str, Any] | None = None) -> list[Sample]:
    """Samples of a command: the list `input_json`, else one of `prompt` and words, else the built-in example.

    Args:
        config: plain values of a composed configuration.
        renoising: samples need a clip.
        demo: built-in example of the backbone, if it has one.

    Raises:
        ImapError: if there is no sample, or it is incomplete.
    """
    option = config["concept_option"]
    if str(option) not in OPTIONS:
        raise ImapError(
            f"concept_option={brief(option)} is not known; it can be s (concepts), t (motions) or st (both)"
        )
    typed = [name for name in ("prompt", "concepts", "motions", "video_path") if config.get(name) is not None]
    if config["input_json"] is not None:
        if typed:
            raise ImapError(f"input_json and {typed[0]} are both set; set a list or a single sample, not both")
        named = None if config.get("dry_run") else FAULTS
        return read_list(Path(check_path("input_json", config["input_json"])), option, renoising, named)
    if not typed and demo and renoising and demo.get("input_json"):
        return read_list(Path(demo["input_json"]), option, with_video=True)
    if not typed and demo and not renoising and demo.get("prompt"):
        return [make_sample(demo["prompt"], demo["concepts"], demo["motions"], None, option)]
    if not typed:
        raise ImapError(
            'no sample is set; set prompt="..." with concepts="..." or motions="...", '
            + ("and video_path=FILE, " if renoising else "")
            + "or input_json=FILE"
        )
    if renoising and not config["video_path"]:
        raise ImapError(f"video_path is missing; set it to a video file{_or_built_in(demo, typed)}")
    if not config["prompt"]:
        raise ImapError(
            f'the prompt is empty; describe the video in a sentence with prompt="..."{_or_built_in(demo, typed)}'
        )
    video = config["video_path"] if renoising else None
    return [make_sample(config["prompt"], config["concepts"], config["motions"], video, option)]


def _or_built_in(demo: Mapping[str, Any] | None, typed: Sequence[str]) -> str:
    """A hint for users who want the built-in example and have set only a part of it."""
    return f", or leave out {' and '.join(typed)} to run the whole built-in example" if demo else ""
