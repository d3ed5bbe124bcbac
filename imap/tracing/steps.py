"""Which denoising step a transformer call belongs to, and which row of its batch is the conditional one."""

from typing import Any

from torch import Tensor

from imap.backbones.base import Backbone
from imap.config.method import check_range
from imap.errors import ImapError


class Steps:
    """Knows the steps of a pipeline call from the transformer calls alone.

    A stock pipeline takes its timestep out of the scheduler's `timesteps`. The transformer gets it as a new object at
    every step. So two calls with the same object are one step, and the second is the unconditional half. The object's
    place in memory is the step's index. Most pipelines also keep it as `current_timestep`, so a foreign call is found.
    A family whose pipeline casts the timestep in each call knows the branches of guidance by another object.
    """

    def __init__(self, backbone: Backbone, wanted: tuple[int, int] | None) -> None:
        """wanted: [start, stop) step indices to read; None reads every step."""
        self.backbone, self.wanted = backbone, wanted
        self.index = -1  # into the schedule
        self.section = 0  # of a pipeline that runs its schedule several times
        self.read: list[int] = []
        self._first = 0  # index of the schedule's first step
        self._announced: int | None = None
        self._timestep: Any = None  # Tensor, of the latest step's first call
        self._current: Any = None  # the pipeline's own at that step
        self._earlier: Any = None
        self._rows: int | None = None  # that one video makes
        self._branch: Any = None  # of guidance, of the conditional calls
        self._schedule: Any = None

    def open(self) -> None:
        """Begin to count. A timestep that an interrupted call has left is none of the calls that follow."""
        self._earlier = _current_timestep(self.backbone.pipe)

    def begin_call(self, first: int, steps: int) -> None:
        """Announce a pipeline call whose scheduler has the part from index `first` of a schedule of `steps` steps."""
        self._first, self.index, self._announced = first, first - 1, steps
        self._timestep = self._current = self._rows = self._schedule = self._branch = None

    def conditional_row(self, rows: int, timestep: Tensor, branch: Any = None) -> int | None:
        """Take note of a transformer call on a batch of `rows`. Returns the row to read, or None to skip the call.

        timestep: argument of the call.
        branch: of guidance, as `Backbone.guidance_branch` gives it.

        Raises ImapError for steps that the run does not have, a second pipeline call, a batch of videos, frames at
        different steps, and a call that does not come from the traced pipeline.
        """
        current = _current_timestep(self.backbone.pipe)
        if self._repeats_step(timestep, current, branch):
            return None
        starts = self._timestep is None
        if self._is_foreign(timestep, current, starts):
            raise ImapError(
                f"the transformer was called outside a call of the traced {type(self.backbone.pipe).__name__}; "
                "trace the pipeline that you call, and read one call of it per `with imap.trace(...)` block"
            )
        self._timestep, self._current, self._branch = timestep, current, branch
        self._check()
        self.index = self._next(self._index_of(timestep, current), starts)
        if starts:
            self._check_reach()
        if self.backbone.in_sections:
            self._check_together()
        if self._rows is None:
            # read once per pipeline call: a dynamic guidance scale may later pass 1, but the batch stays
            self._rows = self.backbone.rows
        if rows != self._rows:
            raise ImapError(
                f"the transformer got a batch of {rows} where one video makes {self._rows}; "
                "trace one prompt and one video per call"
            )
        is_read = self.wanted is None or self.index in range(*self.wanted)
        return rows - 1 if is_read else None

    def _repeats_step(self, timestep: Tensor, current: Any, branch: Any) -> bool:
        """Whether a call is a further one of the latest step."""
        if branch is not None:  # another pipeline call has another schedule
            return branch is not self._branch and self._schedule is self.backbone.pipe.scheduler.timesteps
        return timestep is self._timestep or (current is not None and current is self._current)

    def _is_foreign(self, timestep: Tensor, current: Any, starts: bool) -> bool:
        """Whether a call does not come from the traced pipeline. The first one copies a value to the host."""
        pipe = self.backbone.pipe
        if hasattr(type(pipe), "current_timestep"):
            return current is None or current is self._earlier
        known = (pipe.scheduler.timesteps, getattr(pipe.scheduler, "sigmas", None))  # some pipelines pass sigmas
        return starts and not any(_equal(timestep, x) for x in known if x is not None)

    def _next(self, found: int | None, starts: bool) -> int:
        """Index of a step, which follows the latest one or begins a section. found: as `_index_of` returns it."""
        index = self.index + 1 if found is None else found
        if starts or self.index < index < max(self.count, 1):
            return index
        if not self.backbone.in_sections:
            raise ImapError(
                f"the transformer was called at step {index} after step {self.index} of a schedule of {self.count}: "
                "this pipeline runs its schedule several times, and a map would mix its parts; sample with a call that "
                "runs it once"
            )
        self.section += 1
        return self._first if found is None else found

    def _check_together(self) -> None:
        """Raise ImapError for frames at different steps: a section then has more calls than the schedule has steps."""
        if self.backbone.pipe.num_timesteps > self.count:
            raise ImapError(
                "frames of one call are at different steps (asynchronous diffusion forcing), and a map is of one step; "
                "sample with ar_step=0"
            )

    def _index_of(self, timestep: Tensor, current: Any) -> int | None:
        """Index of a step. It follows from the timestep's place in memory, so a value is seldom copied from the device.

        Returns None where neither its place nor its value is in the schedule once.
        """
        schedule = self._schedule
        if not isinstance(schedule, Tensor) or not len(schedule):
            return None
        for x in (timestep, current):
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() == schedule.untyped_storage().data_ptr():
                apart = int(x.storage_offset() - schedule.storage_offset())
                return self._first + apart // max(int(schedule.stride(0)), 1)
        # of a row for the frames, the pipeline's own: the call's may hold another noise for finished frames
        known = current if isinstance(current, Tensor) and current.ndim else timestep
        same = schedule == current if isinstance(current, int | float) else schedule.to(known) == known.max()
        found: list[int] = same.nonzero().flatten().tolist()
        return self._first + found[0] if len(found) == 1 else None

    def _check(self) -> None:
        # every pipeline call sets a new schedule object, and so does every section of some
        schedule = self.backbone.pipe.scheduler.timesteps
        if self._schedule is not None and schedule is not self._schedule and not self.backbone.in_sections:
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
        self._timestep = self._current = self._schedule = self._earlier = self._branch = None


def _current_timestep(pipe: Any) -> Any:
    """The timestep of a pipeline's step; None outside its calls."""
    return getattr(pipe, "_current_timestep", None)  # the property without the underscore fails before a first call


def _equal(timestep: Tensor, known: Any) -> bool:
    """Whether a call's timestep is among known ones, in the call's dtype. Copies a value to the host."""
    known = known.to(timestep) if isinstance(known, Tensor) else timestep.new_tensor(known)
    return bool((timestep.max() == known).any())
