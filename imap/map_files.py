"""Files of maps: npy/<key>.npy and meta.json of a folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np

from imap.atomic import replaced
from imap.errors import ImapError, first_line
from imap.media.truth import Truth, read_truth
from imap.methods.by_layer import Kept

LAYOUT = 1  # version of a sample folder's layout
META = "meta.json"
VIDEO = "output.mp4"
VIEW = "view"  # pictures of a sample
TRUTH = "truth.npz"  # where and when words are true, if it is known
ARRAYS = "npy"
RESULT = (META, ARRAYS, VIEW, TRUTH)  # what a folder of maps holds
TOKEN_ARRAYS = "prompt_tokens"
FAITHFULNESS = "faithfulness"  # entry of meta.json: agreement of maps with the effect
AGAIN = "remove the sample's folder and run it again"  # advice for damaged results
FACTS = (
    "family",
    "prompt",
    "clip",
    "grid",
    "pixels",
    "steps",
    "section",
    "method",
    "read",
    "effect",
    FAITHFULNESS,
    "read_from_prompt",
    "notes",
)

RESERVED = {"layout", "texts", "motions", "keys", "tokens", "labels", "kept", "heads", "scores", "files", *FACTS}


def checked_entries(more: Any) -> dict[str, Any]:
    """A user's entries of meta.json. Raises ImapError for what is no mapping, no JSON, or an entry of imap's own."""
    if more is not None and not isinstance(more, Mapping):
        raise ImapError(f"more= is a {type(more).__name__}; expected entries of {META}, and frames as video=")
    entries = dict(more or {})
    reserved = [name for name in entries if name in RESERVED]
    if reserved:
        raise ImapError(f"more={{{reserved[0]!r}: ...}} is an entry that imap writes itself; choose another name")
    try:
        json.dumps(entries, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ImapError(f"more= cannot be written as JSON: {first_line(error)}") from None
    return entries


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write <key>.npy, float32, into a folder that is made if there are any."""
    for key, array in arrays.items():
        path = folder / f"{key}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.ascontiguousarray(array, dtype=np.float32))


def load_truth(folder: Path, size: Sequence[int]) -> Truth | None:
    """Truth of a sample, of `size`, the (frames, height, width) of its video. None without truth.npz.

    Raises:
        ImapError: for a damaged file, or masks of another size.
    """
    if not (folder / TRUTH).is_file():
        return None
    truth = read_truth(folder / TRUTH)
    if truth.masks.shape[1:] != tuple(size):
        raise ImapError(f"{folder / TRUTH} has masks {truth.masks.shape[1:]}, and {tuple(size)} are expected; {AGAIN}")
    return truth


def sizes_of(folder: Path) -> dict[str, int]:
    """Bytes of every file of a folder, by its path inside."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def damaged(folder: Path, meta: Mapping[str, Any]) -> list[str]:
    """Files that meta.json names, and that are missing or of another size."""
    files = meta.get("files", {})
    if not isinstance(files, Mapping):
        return [META]
    return [name for name, size in files.items() if _size_of(folder / name) != size]


def total_seconds(meta: Mapping[str, Any]) -> float:
    """Seconds of all stages of a sample, as meta.json records them; 0 without such a record."""
    stages = meta.get("seconds")
    return sum(x for x in stages.values() if isinstance(x, int | float)) if isinstance(stages, Mapping) else 0.0


def _size_of(path: Path) -> int | None:
    """Bytes of a file; None if there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a name of a damaged meta.json
        return None
    return found.st_size if S_ISREG(found.st_mode) else None


def write_maps(folder: Path, maps: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """Write arrays, and meta.json with the sizes of all files, into a folder that exists.

    Args:
        maps: fields of `imap.Maps`, as `read_maps` returns them.
        more: further entries of meta.json.
    """
    write_arrays(folder / ARRAYS, maps["arrays"])
    write_arrays(folder / ARRAYS / TOKEN_ARRAYS, maps["token_arrays"])
    write_arrays(folder / ARRAYS, {name: one.array for name, one in maps["kept"].items()})
    kept = {name: {"layers": list(one.layers), "steps": list(one.steps)} for name, one in maps["kept"].items()}
    meta = {
        "texts": list(maps["texts"]),
        "motions": [text for text in maps["texts"] if text in maps["motions"]],
        "keys": list(maps["arrays"]),
        **({"tokens": list(maps["tokens"])} if maps["tokens"] else {}),
        **({"labels": dict(maps["labels"])} if maps["labels"] else {}),
        **({"kept": kept} if kept else {}),
        **maps["facts"],
        "heads": maps["heads"],
        "scores": maps["scores"],
        **more,
    }
    write_meta(folder, meta)


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write meta.json, with the layout, and the sizes of all other files of the folder."""
    text = json.dumps(
        {"layout": LAYOUT, **meta, "files": sizes_of(folder)}, indent=1, ensure_ascii=False, allow_nan=False
    )
    (folder / META).write_text(f"{text}\n", encoding="utf-8")


def read_array(path: Path, *rows: int, on_use: bool = False) -> np.ndarray:
    """Maps (*rows, frames, height, width) of a file. Raises ImapError for a missing or damaged file.

    on_use: read parts of the file when they are used.
    """
    try:
        array = np.load(path, mmap_mode="r" if on_use else None, allow_pickle=False)
    except FileNotFoundError:
        raise ImapError(f"{path} is missing; {AGAIN}") from None
    except (OSError, ValueError, EOFError) as error:
        raise ImapError(f"{path} is damaged ({str(error).partition(chr(10))[0]}); {AGAIN}") from None
    if array.ndim != len(rows) + 3 or array.shape[: len(rows)] != rows:
        expected = f"maps of {rows[0]} texts" + "".join(f" x {x}" for x in rows[1:])
        raise ImapError(f"{path} is damaged: {expected} were expected, and it is {array.shape}; {AGAIN}")
    return array


def layout_of(folder: Path) -> int | None:
    """Layout version in a folder's meta.json; None without one."""
    try:
        return json.loads((folder / META).read_text(encoding="utf-8")).get("layout")
    except (OSError, ValueError, AttributeError):
        return None


def read_meta(folder: Path) -> dict[str, Any] | None:
    """meta.json of a finished folder; None for a missing file or another layout."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return meta if isinstance(meta, dict) and meta.get("layout") == LAYOUT else None


def read_maps(folder: Path) -> dict[str, Any]:
    """Fields of `imap.Maps` from a folder that `Maps.save` or a run has written.

    Raises:
        ImapError: for another or a damaged folder.
    """
    meta = read_meta(folder)
    if meta is None:
        raise ImapError(f"{folder} holds no maps: there is no readable {META} of layout {LAYOUT}")
    lacking = [name for name in ("texts", "motions", "keys", "heads", "scores") if name not in meta]
    if lacking:
        raise ImapError(f"{folder / META} is damaged, as it has no {', '.join(lacking)}; {AGAIN}")
    tokens = sorted((folder / ARRAYS / TOKEN_ARRAYS).glob("*.npy"))
    try:
        return {
            "arrays": {key: read_array(folder / ARRAYS / f"{key}.npy", len(meta["texts"])) for key in meta["keys"]},
            "texts": tuple(meta["texts"]),
            "motions": frozenset(meta["motions"]),
            "heads": _by_layer_and_step(meta["heads"]),
            "scores": _by_layer_and_step(meta["scores"]),
            "facts": {key: meta[key] for key in FACTS if key in meta},
            "token_arrays": {path.stem: read_array(path, len(meta.get("tokens", ()))) for path in tokens},
            "tokens": tuple(meta.get("tokens", ())),
            "labels": dict(meta.get("labels", {})),
            "kept": {
                name: _kept(folder, len(meta["texts"]), name, **one) for name, one in meta.get("kept", {}).items()
            },
        }
    except ImapError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise ImapError(f"{folder / META} is damaged ({error}); {AGAIN}") from None


def _kept(folder: Path, texts: int, name: str, layers: list[int], steps: list[int]) -> Kept:
    rows = (texts, *(len(x) for x in (layers, steps) if x))
    return Kept(read_array(folder / ARRAYS / f"{name}.npy", *rows, on_use=True), tuple(layers), tuple(steps))


def _by_layer_and_step(table: Mapping[str, Mapping[str, list]]) -> dict[int, dict[int, list]]:
    return {int(layer): {int(step): x for step, x in steps.items()} for layer, steps in table.items()}


def shows_other(folder: Path, show: str, default: str) -> bool:
    """Whether a finished sample shows another map than `show`. default: what a sample shows that does not say."""
    meta = read_meta(folder)
    return meta is not None and meta.get("method", {}).get("show", default) != show


def set_shown(folder: Path, show: str, default: str) -> bool:
    """Let a finished sample show another map, if it shows a different one. Returns whether it did.

    default: as in `shows_other`.
    """
    meta = read_meta(folder)
    if meta is None or not shows_other(folder, show, default):
        return False
    meta.setdefault("method", {})["show"] = show
    with replaced(folder / META) as part:
        part.write_text(json.dumps(meta, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return True
