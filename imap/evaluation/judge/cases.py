"""Maps that the judge grades: the motion words of a run's samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imap.errors import ImapError
from imap.evaluation.judge.grids import Grids, grids
from imap.evaluation.judge.protocol import Protocol, prompt
from imap.evaluation.judge.replies import digest
from imap.map_files import META
from imap.saliency import Maps
from imap.view.sample import open_sample

AUTO = "auto"  # the map that `show` names


@dataclass(frozen=True)
class Case:
    """A map to grade: of a word, in a sample's folder."""

    sample: Path
    word: str
    key: str


@dataclass(frozen=True)
class Question:
    """What the judge is asked about a case.

    Attributes:
        case: the map.
        text: of the prompt.
        grids: the pictures.
        name: of its reply, a digest of its content.
    """

    case: Case
    text: str
    grids: Grids
    name: str


def cases_of(samples: Sequence[Path], maps: Sequence[str]) -> list[Case]:
    """Every motion word of every sample, with each of some maps.

    Args:
        samples: their folders.
        maps: keys or labels; `auto` is the map that `show` names.

    Raises:
        ImapError: for a map that a sample lacks, or samples without motion words.
    """
    cases = []
    for folder in samples:
        found = Maps.load(folder)
        for word in (text for text in found.texts if text in found.motions):
            keys = [found.key_of(word, None if name == AUTO else name) for name in maps]
            lacking = [key for key in keys if key not in found]
            if lacking:
                raise ImapError(f"{folder.name} has no maps {lacking[0]!r}; there are {', '.join(found)}")
            cases += [Case(folder, word, key) for key in dict.fromkeys(keys)]
    if not cases:
        raise ImapError(f"no sample has a motion word ({META}, motions); give motion words as the object of the list")
    return cases


def questions(
    sample: Path, cases: Sequence[Case], protocol: Protocol, model: str, temperature: float | None
) -> list[Question]:
    """Questions about the cases of one sample. Raises ImapError for a sample without a video."""
    shown = open_sample(sample)
    if not shown.has_video:
        raise ImapError(f"{sample} holds maps without a video, which the judge must see; save them with video=")
    asked = []
    for case in cases:
        text = prompt(protocol, shown.caption, case.word)
        pictures = grids(shown.frames, shown.maps.of(case.word, case.key), protocol.scale)
        asked.append(Question(case, text, pictures, digest(model, temperature, text, pictures)))
    return asked
