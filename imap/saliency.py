"""Maps: arrays by key and word; saved to a folder, loaded from it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import write_folder
from imap.errors import ImapError

LAYOUT = 1  # version of a sample folder's layout
META = "meta.json"
VIDEO = "output.mp4"
VIEW = "view"  # pictures of a sample, made after it
ARRAYS = "npy"
TOKEN_ARRAYS = "prompt_tokens"
AGAIN = "remove the sample's folder and run it again"  # what helps where results are damaged
FACTS = ("family", "grid", "steps", "method", "read_from_prompt", "notes")


@dataclass(frozen=True, eq=False, repr=False)
class Maps(Mapping[str, np.ndarray]):
    """Saliency maps by key, each float32 (texts, frames, height, width) in patches; see METHOD 6 for the keys.

    texts: what each row shows. motions: which of them are motion words. heads, scores: [layer][step] the motion heads,
    best first, and the separability score of every head. facts: what else the trace knows, by the names of FACTS.
    token_arrays, tokens: the same maps for every token of the prompt, where `prompt_tokens` was asked for.
    """

    arrays: Mapping[str, np.ndarray]
    texts: tuple[str, ...]
    motions: frozenset[str] = frozenset()
    heads: Mapping[int, Mapping[int, list[int]]] = field(default_factory=dict)
    scores: Mapping[int, Mapping[int, list[float]]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    token_arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)  # of keys that the registry does not know

    def __repr__(self) -> str:
        shape = next(iter(self.arrays.values())).shape if self.arrays else ()
        return f"Maps of {', '.join(self.texts)}, each {shape}: {', '.join(self.arrays)}"

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            raise KeyError(f"no maps {key!r}; there are {', '.join(self.arrays)}")
        return self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def of(self, text: str, key: str | None = None) -> np.ndarray:
        """Map of one text, (frames, height, width): its IMAP when it is a motion word, else its GramCol, or a key's."""
        if text not in self.texts:
            raise KeyError(f"no map of {text!r}; there are {', '.join(self.texts)}")
        default = "sel_imap_layers" if text in self.motions else "imap_layers"
        return self[key or default][self.texts.index(text)]

    def save(self, folder: str | Path, more: Mapping[str, Any] | None = None) -> Path:
        """Write npy/<key>.npy and meta.json into a folder, and return it. Earlier maps there are replaced as a whole.

        more: further entries of meta.json. Raises ImapError for a folder that holds anything else.
        """
        return write_folder(Path(folder), lambda partial: self.write(partial, more or {}), (META, ARRAYS))

    def write(self, folder: Path, more: Mapping[str, Any]) -> None:
        """Write the files of `save` into a folder that exists."""
        for group, arrays in ((ARRAYS, self.arrays), (f"{ARRAYS}/{TOKEN_ARRAYS}", self.token_arrays)):
            for key, array in arrays.items():
                (folder / group).mkdir(parents=True, exist_ok=True)
                np.save(folder / group / f"{key}.npy", np.ascontiguousarray(array, dtype=np.float32))
        meta = {
            "layout": LAYOUT,
            "texts": list(self.texts),
            "motions": [text for text in self.texts if text in self.motions],
            "keys": list(self.arrays),
            **({"tokens": list(self.tokens)} if self.tokens else {}),
            **({"labels": dict(self.labels)} if self.labels else {}),
            **self.facts,
            "heads": self.heads,
            "scores": self.scores,
            **more,
        }
        (folder / META).write_text(
            json.dumps(meta, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: str | Path) -> "Maps":
        """Maps of a folder that `save` or a run has written. Raises ImapError when it is not one, or damaged."""
        folder = Path(folder)
        meta = read_meta(folder)
        if meta is None:
            raise ImapError(f"{folder} holds no maps: there is no readable {META} of layout {LAYOUT}")
        lacking = [name for name in ("texts", "motions", "keys", "heads", "scores") if name not in meta]
        if lacking:
            raise ImapError(f"{folder / META} is damaged, as it has no {', '.join(lacking)}; {AGAIN}")
        tokens = sorted((folder / ARRAYS / TOKEN_ARRAYS).glob("*.npy"))
        heads, scores = (
            {int(layer): {int(step): x for step, x in steps.items()} for layer, steps in meta[name].items()}
            for name in ("heads", "scores")
        )
        return cls(
            {key: _array(folder / ARRAYS / f"{key}.npy", len(meta["texts"])) for key in meta["keys"]},
            tuple(meta["texts"]),
            frozenset(meta["motions"]),
            heads,
            scores,
            {key: meta[key] for key in FACTS if key in meta},
            {path.stem: _array(path, len(meta.get("tokens", ()))) for path in tokens},
            tuple(meta.get("tokens", ())),
            meta.get("labels", {}),
        )


def _array(path: Path, rows: int) -> np.ndarray:
    """Maps (rows, frames, height, width) of a file; ImapError for one that is missing or damaged."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ImapError(f"{path} is missing; {AGAIN}") from None
    except (OSError, ValueError, EOFError) as error:
        raise ImapError(f"{path} is damaged ({str(error).partition(chr(10))[0]}); {AGAIN}") from None
    if array.ndim != 4 or len(array) != rows:
        raise ImapError(f"{path} is damaged: maps of {rows} texts were expected, and it is {array.shape}; {AGAIN}")
    return array


def layout_of(folder: Path) -> int | None:
    """Version of the layout of a folder's meta.json, whatever it is; None where there is none."""
    try:
        return json.loads((folder / META).read_text(encoding="utf-8")).get("layout")
    except (OSError, ValueError, AttributeError):
        return None


def read_meta(folder: Path) -> dict[str, Any] | None:
    """meta.json of a finished folder; None when there is none, or of another layout."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return meta if isinstance(meta, dict) and meta.get("layout") == LAYOUT else None
