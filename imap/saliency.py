"""Maps: arrays by key and word; drawn, saved to a folder, loaded from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import write_folder
from imap.errors import ImapError, UnknownNameError
from imap.map_files import RESULT, VIDEO, checked_entries, read_maps, write_maps
from imap.media.video_io import clock_facts, write_video
from imap.methods.by_layer import ByLayerAndStep, Kept
from imap.methods.registry import AFTER, CHOSEN, EFFECT, PUBLISHED, default_key, key_of, labels


@dataclass(frozen=True, eq=False, repr=False)
class Maps(ByLayerAndStep, Mapping[str, np.ndarray]):
    """Saliency maps by key, each float32 (texts, frames, height, width) in patches; docs/method.md, 6 lists the keys.

        maps.of("jumps")  # (frames, height, width): the map that `show` names; published: IMAP or GramCol
        maps.show("jumps", video)  # moving picture; maps.overlay gives its frames, maps.plot all words as a figure
        maps.imap, maps.gramcol, maps.cross_attention  # (texts, frames, height, width)
        maps.save("folder", video=video)  # `imap view folder` draws it

    Attributes:
        arrays: the maps by key.
        texts: the word of each row.
        motions: which of the texts are motion words.
        heads: the motion heads by layer and step, best first.
        scores: the separability score of every head, by layer and step.
        facts: what else the trace knows, by the names of FACTS.
        token_arrays: the same maps for every token of the prompt, with `prompt_tokens`.
        tokens: the tokens of the prompt.
        labels: names of maps that the registry does not know: those of `maps=[...]`.
        kept: maps of single layers and steps, with `keep`; `by_layer` and `by_step` take them out.
    """

    arrays: Mapping[str, np.ndarray]
    texts: tuple[str, ...]
    motions: frozenset[str] = frozenset()
    heads: Mapping[int, Mapping[int, list[int]]] = field(default_factory=dict)
    scores: Mapping[int, Mapping[int, list[float]]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    token_arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Kept] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape = next(iter(self.arrays.values())).shape if self.arrays else ()
        return f"Maps of {', '.join(self.texts)}, each {shape}: {', '.join(self.arrays)}"

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            known = {label.lower(): key for key, label in self.names.items()}
            near = known.get(str(key).lower())
            hint = f"; {key} is maps[{near!r}]" if near else ""
            raise UnknownNameError(f"no maps {key!r}; there are {', '.join(self.arrays)}{hint}")
        return self.arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def names(self) -> dict[str, str]:
        """Label of every key that is here, in the order of the registry."""
        known = {key: label for key, label in labels().items() if key in self.arrays}
        return known | {key: self.labels.get(key, key) for key in self.arrays if key not in known}

    @property
    def imap(self) -> np.ndarray:
        """IMAP of every text, (texts, frames, height, width)."""
        return self[default_key("motions")]

    @property
    def gramcol(self) -> np.ndarray:
        """GramCol of every text, (texts, frames, height, width)."""
        return self[default_key("things")]

    @property
    def video_col(self) -> np.ndarray:
        """The whole-video column of every text, (texts, frames, height, width)."""
        return self["video_col_layers"]

    @property
    def effect(self) -> np.ndarray:
        """The effect of every text on the prediction, (texts, frames, height, width).

        Raises:
            AttributeError: if it was not read.
        """
        if EFFECT not in self.arrays:
            raise AttributeError("the effect was not read; set effect=True in imap.trace or imap.renoise")
        return self[EFFECT]

    @property
    def cross_attention(self) -> np.ndarray:
        """The cross-attention baseline of every text, (texts, frames, height, width)."""
        return self["cross_attention_maps_layers"]

    @property
    def concept_attention(self) -> np.ndarray:
        """The ConceptAttention baseline of every text, (texts, frames, height, width).

        Raises:
            AttributeError: for models with cross attention, such as Wan: their text tokens have no head outputs.
        """
        key = "concept_attention_maps_layers"
        if key not in self.arrays:
            raise AttributeError(
                f"no ConceptAttention: models with cross attention have none; there are {', '.join(self)}"
            )
        return self[key]

    def key_of(self, text: str, key: str | None = None) -> str:
        """Key of a text's map: `key`, which may be a label such as GramCol, or by default the map that `show` names."""
        if text not in self.texts:
            raise UnknownNameError(f"no map of {text!r}; there are {', '.join(self.texts)}")
        if key is not None:
            return key_of(key, self.names)
        shown = self.facts.get("method", {}).get("show", PUBLISHED)
        near = [key for key in (shown + AFTER + CHOSEN, shown + CHOSEN, shown) if key in self.arrays]
        return near[0] if near else default_key("motions" if text in self.motions else "things")

    def of(self, text: str, key: str | None = None) -> np.ndarray:
        """Map of one text, (frames, height, width): the map `key`, or by default the one that `show` names.

        `show=published` is IMAP of a motion word, GramCol of a concept.
        """
        return self[self.key_of(text, key)][self.texts.index(text)]

    def overlay(self, text: str, video: Any = None, key: str | None = None, **look: Any) -> np.ndarray:
        """Video frames under the map of a text.

        Args:
            text: a word of `texts`.
            video: frames as an array, a tensor or PIL images, or a file's path. None gives the map in colours.
            key: of another map, or its label.
            **look: fields of `imap.view.look.Look`, such as colormap="magma" or opacity=0.6.

        Returns:
            uint8 (frames, height, width, 3), of the video's size.

        Raises:
            ImapError: for a video whose length does not fit the maps, or an unknown look.
        """
        from imap.view.quick import overlay

        return overlay(self, text, video, key, **look)

    def mask(self, text: str, threshold: Any = 0.5, video: Any = None, key: Any = None, **more: Any) -> np.ndarray:
        """Pixels of a text: bool (frames, height, width), where its map, enlarged to the video, reaches a threshold.

        Args:
            text, video, key: as in `overlay`. Without a video, the size is that of the video that was traced.
            threshold: from 0 to 1 on the scale of the pictures: 0 is the map's median, 1 its 99.5th percentile. Or a
                rule over the whole video: "otsu", or a share of the pixels such as "top 10%".
            **more: size=(height, width) or (frames, height, width) in place of a video; normalization; space.

        Raises:
            ImapError: for another threshold, or a size that is not known or does not fit.
        """
        from imap.view.quick import mask

        return mask(self, text, threshold, video, key, **more)

    def plot(
        self, video: Any = None, key: str | None = None, caption: str | None = None, fps: Any = None, **look: Any
    ) -> Any:
        """All texts below the video, frames across: a matplotlib Figure. Arguments as in `overlay` and `show`."""
        from imap.view.quick import plot

        return plot(self, video, key, caption, fps, **look)

    def show(
        self,
        text: str | Sequence[str] | None = None,
        video: Any = None,
        key: str | None = None,
        fps: Any = None,
        path: Any = None,
        **look: Any,
    ) -> Path | None:
        """Show the video, and beside it the maps of words over it, as one moving picture.

        A notebook shows it inline. A script opens a window, or without a screen writes a gif.

        Args:
            text: a word of `texts`, or several; None shows all.
            video, key, **look: as in `overlay`.
            fps: frames per second, or times as in `Renoised.times`. Default: the times of the clip that was read, or 8.
            path: write a .gif or .mp4 there, instead of a window or an inline picture.

        Returns:
            Path of the file if one was written. It is printed too.
        """
        from imap.view.quick import show

        return show(self, text, video, key, fps, path, **look)

    def save(
        self, folder: str | Path, more: Mapping[str, Any] | None = None, video: Any = None, fps: Any = None
    ) -> Path:
        """Write npy/<key>.npy and meta.json into a folder, and with a video output.mp4. Replaces earlier maps there.

        `imap view FOLDER` draws the folder; without a video, it draws the maps alone.

        Args:
            folder: a new folder, or one that holds maps.
            more: further entries of meta.json.
            video: as in `overlay`.
            fps: of the video, as in `show`.

        Returns:
            The folder.

        Raises:
            ImapError: for a folder that holds other files, or a video that does not fit. Nothing is left half-written.
        """
        facts, frames = checked_entries(more), None
        folder = Path(folder).expanduser().resolve()  # of a link, the folder itself
        if video is None and (folder / VIDEO).exists():
            raise ImapError(f"{folder} holds {VIDEO} of earlier maps; give video= too, or name another folder")
        if video is not None:
            from imap.view.quick import as_frames, clock

            frames = as_frames(video, self)
            fps = clock(self, len(frames), fps)
            facts = {**clock_facts(fps), **facts}

        def write(partial: Path) -> None:
            if frames is not None:
                write_video(partial / VIDEO, frames, fps)
            self.write(partial, facts)

        return write_folder(folder, write, RESULT if frames is None else (*RESULT, VIDEO))

    def write(self, folder: Path, more: Mapping[str, Any]) -> None:
        """Write arrays, and meta.json with the sizes of all files, into a folder that exists."""
        write_maps(folder, vars(self), more)

    @classmethod
    def load(cls, folder: str | Path) -> "Maps":
        """Maps of a folder that `save` or a run has written. Raises ImapError for another or a damaged folder."""
        return cls(**read_maps(Path(folder)))
