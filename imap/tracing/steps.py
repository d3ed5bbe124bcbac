"""Which denoising step a transformer call belongs to, and which row of its batch is the conditional one."""

from typing import Any

from torch import Tensor

from imap.backbones.base import Backbone
from imap.config.method import check_range
from imap.errors import ImapError


class Steps:
    """Knows the steps of a pipeline call from the transformer calls alone.

    A stock pipeline takes its timestep out of the scheduler's `timesteps` and keeps it as `current_timestep`, a new
    object at every step. So two calls with the same object are one step, of which the second is the unconditional half,
    and the object's place in memory is the step's index.
    """

    def __init__(self, backbone: Backbone, wanted: tuple[int, int] | None) -> None:
        """wanted: [start, stop) step indices to read; None reads every step."""
        self.backbone, self.wanted = backbone, wanted
        self.index = -1  # into the schedule
        self.read: list[int] = []
        self._first = 0  # index of the schedule's first step
        self._announced: int | None = None
        self._timestep: Any = None
        self._earlier: Any = None
        self._guided: bool | None = None
        self._schedule: Any = None

    def open(self) -> None:
        """Begin to count. A timestep that an interrupted call has left is none of the calls that follow."""
        self._earlier = _current_timestep(self.backbone.pipe)

    def begin_call(self, first: int, steps: int) -> None:
        """Announce a pipeline call whose scheduler has the part from index `first` of a schedule of `steps` steps."""
        self._first, self.index, self._announced = first, first - 1, steps
        self._timestep = self._guided = self._schedule = None

    def conditional_row(self, rows: int, timestep: Tensor) -> int | None:
        """Take note of a transformer call on a batch of `rows`. Returns the row to read, or None to skip the call.

        timestep: argument of the call.

        Raises ImapError for steps that the run does not have, a second pipeline call, a batch of videos, and
        a call that does not come from the traced pipeline.
        """
        current = _current_timestep(self.backbone.pipe)
        if current is not None and current is self._timestep:
            return None
        if current is None or current is self._earlier or (self._timestep is None and _differ(timestep, current)):
            raise ImapError(
                f"the transformer was called outside a call of the traced {type(self.backbone.pipe).__name__}; "
                "trace the pipeline that you call, and read one call of it per `with imap.trace(...)` block"
            )
        starts, self._timestep = self._timestep is None, current
        self._check()
        self.index = self._index_of(current)
        if starts:
            self._check_reach()
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

    def _index_of(self, current: Any) -> int:
        """Index of the current timestep. Its place in memory tells it, so no value is copied from the device."""
        schedule = self._schedule
        if isinstance(current, Tensor) and isinstance(schedule, Tensor) and len(schedule):
            if current.untyped_storage().data_ptr() == schedule.untyped_storage().data_ptr():  # a view of it
                apart = int(current.storage_offset() - schedule.storage_offset())
                return self._first + apart // max(int(schedule.stride(0)), 1)
            found: list[int] = (schedule == current.to(schedule.device)).nonzero().flatten().tolist()
            if len(found) == 1:
                return self._first + found[0]
        return self.index + 1

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

    def _check_reach(self) -> None:
        """Raise ImapError if the call starts after all steps that are wanted, as video-to-video may."""
        if self.wanted is not None and self.index >= self.wanted[1]:
            raise ImapError(
                f"maps_timesteps={list(self.wanted)}: this call starts at step {self.index} of {self.count}, after all "
                f"of these; choose steps of [{self.index}, {self.count})"
            )

    @property
    def count(self) -> int:
        """Steps of the whole schedule."""
        return self._announced or len(self._schedule)

    def forget(self) -> None:
        """Release the pipeline's tensors."""
        self._timestep = self._schedule = self._earlier = None


def _current_timestep(pipe: Any) -> Any:
    """The timestep of a pipeline's step; None outside its calls."""
    return getattr(pipe, "_current_timestep", None)  # the property without the underscore fails before a first call


def _differ(timestep: Tensor, current: Any) -> bool:
    """Whether a call's timestep is another one than the pipeline's, in the call's dtype. Copies a value to the host."""
    own = current.to(timestep) if isinstance(current, Tensor) else timestep.new_tensor(current)
    return bool(timestep.max() != own)
