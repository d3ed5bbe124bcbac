"""Which denoising step a transformer call belongs to, and which row of its batch is the conditional one."""

from typing import Any

from imap.backbones.base import Backbone
from imap.config.method import check_range
from imap.errors import ImapError


class Steps:
    """Counts the steps of a pipeline call from the transformer calls alone.

    A stock pipeline sets `current_timestep` to a new object at every step. So two calls with the same object are one
    step, and the second call is the unconditional half.
    """

    def __init__(self, backbone: Backbone, wanted: tuple[int, int] | None) -> None:
        """wanted: [start, stop) step indices to read; None reads every step."""
        self.backbone, self.wanted = backbone, wanted
        self.index = -1  # into the schedule
        self.read: list[int] = []
        self._announced: int | None = None
        self._timestep: Any = None
        self._guided: bool | None = None
        self._schedule: Any = None

    def begin_call(self, first: int, steps: int) -> None:
        """Announce a pipeline call that starts at index `first` of a schedule of `steps` steps."""
        self.index, self._announced = first - 1, steps
        self._timestep = self._guided = self._schedule = None

    def conditional_row(self, rows: int) -> int | None:
        """Count a transformer call on a batch of `rows`. Returns the row to read, or None to skip the call.

        Raises ImapError for steps that the run does not have, for a second pipeline call and for a batch of videos.
        """
        timestep = self.backbone.pipe.current_timestep
        if timestep is not None and timestep is self._timestep:
            return None
        self._timestep = timestep
        self.index += 1
        self._check()
        if self._guided is None:
            # read once per pipeline call: a dynamic guidance scale may later pass 1, but the batch stays
            self._guided = self.backbone.batched_guidance and self.backbone.pipe.guidance_scale > 1.0
        expected = 2 if self._guided else 1
        if rows != expected:
            raise ImapError(
                f"the transformer got a batch of {rows} where one video makes {expected}; "
                "trace one prompt and one video per call"
            )
        is_read = self.wanted is None or self.index in range(*self.wanted)
        return rows - 1 if is_read else None

    def _check(self) -> None:
        # every pipeline call sets a new schedule object
        schedule = self.backbone.pipe.scheduler.timesteps
        if self._schedule is not None and schedule is not self._schedule:
            raise ImapError(
                "this trace has read a pipeline call and meets another one; "
                "open a new `with imap.trace(...)` block for every call"
            )
        self._schedule = schedule
        check_range(self.wanted, self.count)

    @property
    def count(self) -> int:
        """Steps of the whole schedule."""
        return self._announced or len(self._schedule)

    def forget(self) -> None:
        """Release the pipeline's tensors."""
        self._timestep = self._schedule = None
