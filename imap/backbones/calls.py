"""Calls of a backbone: what guidance makes of a pipeline call, and which row of its batches is read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from imap.backbones.features import Grid
from imap.backbones.part import Part


class Calls(Part):
    """A pipeline class. Guidance makes two rows, or two calls with the conditional one first, or is in the model."""

    pipeline_class: ClassVar[str]
    frames_argument: ClassVar[str] = "num_frames"  # of a pipeline call
    # classes of checkpoints that `pipeline_class` loads beside its own
    also_loads: ClassVar[tuple[str, ...]] = ()
    first_diffusers: ClassVar[str] = "0.35.2"  # from which version on its calls can be read
    images: ClassVar[tuple[str, ...]] = ()  # arguments of a pipeline call that are pictures, and required
    optional_images: ClassVar[tuple[str, ...]] = ()
    # entries of one video along the first axis of a transformer's argument, where they are not one; 0: of all videos
    entries: ClassVar[Mapping[str, int]] = {}
    clean_frames: ClassVar[int] = 0  # latent frames at the start that are the picture: no noise, nothing predicted
    in_sections: ClassVar[bool] = False  # a call may run its schedule several times, for one part of the video each
    renoising_refusal: ClassVar[str | None] = None  # why it cannot start from noised latents, and what to do
    batched_guidance: ClassVar[bool] = False  # guidance as one call on [unconditional, conditional] rows
    takes_negative_prompt: ClassVar[bool] = True

    def check_call(self, call: Mapping[str, Any]) -> None:
        """Raise ImapError for a transformer call that the family cannot read. call: its arguments by name."""

    def class_refusal(self) -> str | None:
        """Why another pipeline class of the same parts cannot be traced; None for the family's own."""
        if type(self.pipe).__name__ != self.pipeline_class:
            return f"no family reads the conditions of this pipeline; load a {self.pipeline_class}"
        return None

    def fixed_frames(self, call: Mapping[str, Any], row: int, grid: Grid) -> Sequence[int]:
        """Latent frames whose prediction a pipeline does not use at a transformer call: a picture, or finished ones."""
        return range(self.clean_frames)

    def made_once(self, call: Mapping[str, Any]) -> Any:
        """An object that a pipeline call makes once for all its transformer calls, of which `call` is one."""
        return call["encoder_hidden_states"]

    def guidance_branch(self, call: Mapping[str, Any]) -> Any:
        """An object that a pipeline call makes once for each branch of guidance. The conditional one is called first.

        None: all transformer calls of a step get one timestep object.
        """
        return None

    def section_facts(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Facts of a section for the record. call: arguments of its first transformer call by name."""
        return {}

    def places(self, sections: Sequence[tuple[int, Mapping[str, Any]]]) -> Sequence[int] | None:
        """The first latent frame of each section in the whole video; None where it is not known.

        sections: latent frames and `section_facts` of each, in the order in which they were made.
        """
        return None

    @property
    def rows(self) -> int:
        """Rows of a transformer call for one video, the last of them conditional. The pipeline call has begun."""
        return 2 if self.batched_guidance and self.pipe.guidance_scale > 1.0 else 1

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        """Guidance arguments of a pipeline call. conditional_only: one forward pass, without the unconditional half."""
        scale = 1.0 if conditional_only and self.takes_negative_prompt else guidance_scale
        return {"guidance_scale": scale}

    @contextmanager
    def guidance(self, guidance_scale: float, conditional_only: bool) -> Iterator[dict[str, Any]]:
        """Set guidance for a pipeline call inside this block. Gives arguments of the call; see `guidance_arguments`."""
        yield self.guidance_arguments(guidance_scale, conditional_only)

    def size_arguments(self, num_frames: int, height: int, width: int) -> dict[str, int]:
        """Size of a video in pixels as arguments of a pipeline call. Raises ImapError for one that it cannot make."""
        return {"num_frames": num_frames, "height": height, "width": width}
