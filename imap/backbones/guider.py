"""Calls of a pipeline whose guidance is an object of diffusers, its guider."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from imap.backbones.calls import Calls


class GuiderCalls(Calls):
    """The guider decides how often the transformer is called at a step. The conditional call comes first."""

    @property
    def rows(self) -> int:
        return 1

    def guider_refusal(self) -> str | None:
        """Why calls of the pipeline's guider cannot be read; None if they can."""
        guider = self.pipe.guider
        if guider is None:  # a checkpoint that is looked at without its parts
            return None
        # a plain guider inherits this from the base, and only mixes predictions
        changes_model = "BaseGuidance" not in type(guider).prepare_models.__qualname__
        if changes_model or "guidance_scale" not in guider.config:
            return (
                f"its guider, a {type(guider).__name__}, changes the transformer between calls or has several scales; "
                "set pipe.guider to a ClassifierFreeGuidance"
            )
        return None

    @contextmanager
    def guidance(self, guidance_scale: float, conditional_only: bool) -> Iterator[dict[str, Any]]:
        own = self.pipe.guider
        guider = copy(own)
        guider.guidance_scale = guidance_scale
        (guider.disable if conditional_only or guidance_scale <= 1 else guider.enable)()
        self.pipe.guider = guider
        try:
            yield {}
        finally:
            self.pipe.guider = own
