"""A training loop that can stop at any step and resume. Its whole state is in one file, written atomically."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from imap.errors import ImapError

CHECKPOINT_SECONDS = 60
WEIGHTS = ("module", "mean")
SCHEDULED = ("optimizers", "schedules")


class Fit:
    """Training of a module, with warm-up, linear decay to zero, and a running mean (EMA) of the weights.

    Random numbers of a step must depend only on its number. Then an interrupted run ends in the same weights.
    """

    def __init__(
        self,
        module: nn.Module,
        path: Path,
        steps: int,
        optimizers: Sequence[Optimizer],
        settings: Mapping[str, Any],
        ema: float,
        anneal: float,
    ) -> None:
        """Prepare the training, and restore the checkpoint if one exists.

        Args:
            module: Module to train.
            path: Path of the checkpoint.
            steps: Number of steps.
            optimizers: Optimizers of the module's parameters.
            settings: Settings that a checkpoint must match, except `steps`.
            ema: Decay of the running mean.
            anneal: Share of the steps in which the learning rate decays to zero.

        Raises:
            ImapError: The checkpoint has other settings, or more steps.
        """
        self.module, self.path, self.steps, self.optimizers = module, path, steps, optimizers
        self.settings = {name: value for name, value in settings.items() if name != "steps"}
        warmup, down = max(1, min(50, steps)), max(1, round(anneal * steps))

        def rate(step: int) -> float:
            return min((step + 1) / warmup, 1, max(steps - step, 0) / down)

        self.rate, self.schedules = rate, [LambdaLR(optimizer, rate) for optimizer in optimizers]
        self.mean = AveragedModel(module, avg_fn=partial(_running_mean, ema), use_buffers=True)
        self.step, self.seconds, self.losses = 0, 0.0, []
        if path.is_file():
            self._restore(torch.load(path, map_location=next(module.parameters()).device, weights_only=True))

    def run(self, loss_of: Callable[[int], Tensor], every: int = 0, report: Callable[[int], str] | None = None) -> None:
        """Train up to the last step.

        Args:
            loss_of: Loss of a step, by its number.
            every: Steps between reports.
            report: Text to print after a step, by the number of finished steps.
        """
        saved = time.monotonic()
        bar = tqdm(range(self.step, self.steps), self.path.stem, initial=self.step, total=self.steps, mininterval=5)
        for step in bar:
            started = time.monotonic()
            loss = loss_of(step)
            loss.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
                optimizer.step()
                schedule.step()
            self.module.zero_grad()
            self.mean.update_parameters(self.module)
            self.losses.append(loss.detach())  # stays on the device
            self.seconds += time.monotonic() - started
            self.step = step + 1
            if step % 10 == 0:
                bar.set_postfix(loss=f"{torch.stack(self.losses[-20:]).mean().item():.4f}")
            if report is not None and self.step % every == 0 and self.step < self.steps:
                bar.write(report(self.step))
            if time.monotonic() - saved > CHECKPOINT_SECONDS or self.step == self.steps:
                self.save()
                saved = time.monotonic()

    def save(self) -> None:
        """Write the checkpoint."""
        losses = torch.stack(self.losses).cpu()
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in WEIGHTS}
        state |= {name: [part.state_dict() for part in getattr(self, name)] for name in SCHEDULED}
        state |= {"settings": self.settings, "step": self.step, "seconds": self.seconds, "losses": losses}
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)

    def _restore(self, state: dict[str, Any]) -> None:
        if state["settings"] != self.settings:
            raise ImapError(
                f"{self.path} was trained with {state['settings']}, but the settings now are {self.settings}; "
                "use the same settings, or set another output_dir"
            )
        if state["step"] > self.steps:
            raise ImapError(
                f"{self.path} has {state['step']} steps, more than the {self.steps} of the settings; "
                "set at least as many steps, or another output_dir"
            )
        for name in WEIGHTS:
            getattr(self, name).load_state_dict(state[name])
        for name in SCHEDULED:
            for part, saved in zip(getattr(self, name), state[name], strict=True):
                part.load_state_dict(saved)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
                group["lr"] = base * self.rate(state["step"])  # the saved rate belongs to another number of steps
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses = list(state["losses"].to(next(self.module.parameters()).device))


def adamw(parameters: Iterable[nn.Parameter], lr: float) -> AdamW:
    """AdamW with the betas and weight decay of all trainings here."""
    return AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)


def _running_mean(decay: float, mean: Tensor, new: Tensor, count: Any) -> Tensor:
    """Running mean that forgets the first steps faster than `decay` does."""
    return torch.lerp(mean.float(), new.float(), 1 - torch.clamp((1 + count) / (10 + count), max=decay)).to(mean.dtype)
