"""The one training loop: budget in images, stages, moving averages, log, checkpoints, interruption.

A ``Trainer`` is a training between two steps, and its state is everything the next step depends on: a run that is
killed and resumed takes the same steps as one that is not.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.running.devices import batch_size, derived_seed
from harness.running.optimisers import optimisers
from harness.running.probes import Probe
from harness.running.trainlog import TrainLog
from harness.store_files import to_number
from harness.types import Batch, Cell, ConfigError, Context, Method, Stage

LOG_RECORDS, SHORTEST_INTERVAL, LONGEST_INTERVAL = 100, 10, 50
"""A run aims at this many log records, within these bounds of steps per record."""


class Batches(Protocol):
    """An endless, resumable source of batches."""

    def next(self) -> Batch: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """How many steps a budget gives and at which of them each stage starts."""

    steps: int
    stages: tuple[Stage, ...]
    starts: tuple[int, ...]

    def stage(self, step: int) -> Stage:
        """The stage that ``step`` belongs to."""
        return self.stages[sum(start <= step for start in self.starts) - 1]


def schedule(images: int, batch: int, stages: Sequence[Stage]) -> Schedule:
    """ceil(images / batch) steps, divided among the stages by their shares. Raises ConfigError for shares <= 0."""
    if images < 1:
        raise ConfigError(f"the budget is {images} images", remedy="Train on at least one image.")
    if not stages or any(not stage.share > 0 for stage in stages):
        raise ConfigError("every training stage needs a share of the budget above 0", where="stages")
    steps, whole = -(-images // batch), math.fsum(stage.share for stage in stages)
    sums = [math.fsum(stage.share for stage in stages[:i]) / whole for i in range(len(stages))]
    return Schedule(steps, tuple(stages), tuple(round(part * steps) for part in sums))


def cell_schedule(cell: Cell, kind: type[Method]) -> Schedule:
    """The schedule of a cell's budget for its method class."""
    return schedule(cell.budget.images, batch_size(cell), kind.stages)


class MethodConfig(Mapping[str, Any]):
    """A resolved preset with attribute and item access; a missing key is an error that names the nearest ones."""

    def __init__(self, values: Mapping[str, Any], where: str = "preset") -> None:
        self._values, self._where = dict(values), where

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise MissingKey.of(name, self._values, self._where) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"MethodConfig({self._values})"


class MissingKey(ConfigError, AttributeError, KeyError):
    """A key that the method reads and its preset lacks."""

    @classmethod
    def of(cls, name: str, values: Mapping[str, Any], where: str) -> MissingKey:
        from difflib import get_close_matches

        return cls(
            f"the method reads {name!r}, which the preset lacks", where=where, nearest=get_close_matches(name, values)
        )


def build_method(cell: Cell, kind: type[Method], context: Context) -> Method:
    """A fresh method of the cell; layers that initialise from torch's global generator see the cell's seed."""
    torch.manual_seed(derived_seed(cell.seed, "init"))
    return kind(MethodConfig(cell.config, f"{cell.tier} preset of {cell.method}"), cell.data, context)


def enter_stages(method: Method, plan: Schedule, step: int) -> None:
    """Announce every stage that starts at or before ``step``, in order, to a method that asks (``begin_stage(stage)``).

    A method that changes its networks or optimisers between stages does it there, so that a state can be loaded.
    """
    begin = getattr(method, "begin_stage", None)
    if begin is not None:
        for stage, start in zip(plan.stages, plan.starts, strict=True):
            if start <= step:
                begin(stage)


def prepare(method: Method, samples: Mapping[str, np.ndarray]) -> None:
    """Show a method that asks for it (``prepare(samples)``) the whole training split."""
    show = getattr(method, "prepare", None)
    if show is not None:
        show(samples)


class Trainer:
    """A training between two steps: method, batches, randomness and the number of steps done; ``probes`` is what the
    probe has measured so far, each with its ``step``."""

    def __init__(
        self, method: Method, batches: Batches, context: Context, plan: Schedule, probe: Probe | None = None
    ) -> None:
        self.method, self.batches, self.context, self.schedule = method, batches, context, plan
        self.probe, self.probes = probe, list[dict[str, Any]]()
        self.step = 0
        self._starts: dict[int, list[Stage]] = {}
        if hasattr(method, "begin_stage"):
            for start, stage in zip(plan.starts, plan.stages, strict=True):
                self._starts.setdefault(start, []).append(stage)
        self._averages = tuple(getattr(method, "averages", ()))

    def advance(self) -> Mapping[str, Tensor]:
        """Do one step on the next batch and return its losses."""
        return self.advance_on(self.batches.next())

    def advance_on(self, batch: Batch) -> Mapping[str, Tensor]:
        """Do one step on ``batch``."""
        if self.step in self._starts:
            for stage in self._starts[self.step]:
                self.method.begin_stage(stage)  # type: ignore[attr-defined]
            self._averages = tuple(getattr(self.method, "averages", ()))
        losses = self.method.train_step(batch, self.step)
        for average in self._averages:
            average.update(self.step)
        self.step += 1
        return losses

    def observe(self) -> None:
        """Measure with the probe where it is due after the last step."""
        if self.probe is not None and self.probe.due(self.step, self.schedule.steps):
            measured = {name: to_number(value) for name, value in self.probe.measure(self.method).items()}
            self.probes.append({"step": self.step, **measured})

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on; tensors are live ones, not copies."""
        cuda = self.context.device.type == "cuda"
        return {
            "step": self.step,
            "probes": list(self.probes),
            "method": self.method.state_dict(),
            "batches": self.batches.state_dict(),
            "generator": self.context.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.context.device) if cuda else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state`` was taken."""
        enter_stages(self.method, self.schedule, state["step"] - 1)
        self.method.load_state_dict(state["method"])
        self._averages = tuple(getattr(self.method, "averages", ()))
        self.batches.load_state_dict(state["batches"])
        self.context.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None and self.context.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.context.device)
        self.step, self.probes = state["step"], list(state["probes"])


def train(
    trainer: Trainer,
    log: TrainLog,
    save: Callable[[], None],
    *,
    every: int | None = None,
    checkpoint_seconds: float = 60.0,
    notify: Callable[[int, Mapping[str, float], float], None] = lambda step, losses, seconds: None,
) -> None:
    """Train to the end of the schedule.

    Every ``every`` steps the losses are checked and logged, then ``save`` is called if ``checkpoint_seconds`` have
    passed; it is called at the end, and before leaving on Ctrl-C (KeyboardInterrupt) or SIGTERM (SystemExit 143).
    Raises StepNotFinite within one interval of the first NaN or infinity; nothing is saved after it.
    """
    total = trainer.schedule.steps
    every = every or min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, total // LOG_RECORDS))
    saved = time.monotonic()
    with Interruption() as interruption:
        while trainer.step < total:
            log.add(trainer.advance())
            trainer.observe()
            step = trainer.step
            if step % every == 0 or step == total:
                means = log.write(step, trainer.schedule.stage(step - 1).name, gradient_norms(trainer.method))
                notify(step, means, log.seconds)
                if step < total and time.monotonic() - saved >= checkpoint_seconds:
                    save()
                    saved = time.monotonic()
            if interruption.caught and step < total:
                save()
                interruption.leave()
        save()
        if interruption.caught:
            interruption.leave()


class Interruption:
    """Turns a Ctrl-C or SIGTERM during a block into a flag, so that no step is torn; a second one acts at once.

    Only the main thread receives signals; elsewhere the block changes nothing.
    """

    def __init__(self) -> None:
        self.caught: int = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def leave(self) -> NoReturn:
        """End the program the way the signal asked for."""
        if self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.caught)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Only the same signal again acts at once: a pool's SIGTERM after the terminal's Ctrl-C must not tear the save.
        signal.signal(number, self._before.pop(number))
        self.caught = self.caught or number

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


@torch.no_grad()
def gradient_norms(method: Method) -> dict[str, Tensor]:
    """L2 norm of the gradients that the last step left in each optimiser's parameters, as tensors on the device."""
    norms = {}
    for name, optimiser in optimisers(method).items():
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            norms[name] = torch.stack(torch._foreach_norm(gradients)).norm()
    return norms


def nan_places(value: Any, place: str = "state") -> list[str]:
    """Names of the floating-point tensors of a nested state that hold a NaN; an infinity may be meant, as in a mask."""
    named = [(name, tensor) for name, tensor in _tensors(value, place) if tensor.is_floating_point() and tensor.numel()]
    by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, tensor in named:
        by_device.setdefault(tensor.device, []).append((name, torch.isnan(tensor).any()))
    bad = []
    for members in by_device.values():
        flags = torch.stack([flag for _, flag in members]).tolist()
        bad += [name for (name, _), flag in zip(members, flags, strict=True) if flag]
    return bad


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, (Mapping, list, tuple)):
        members = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, item in members:
            yield from _tensors(item, f"{place}.{name}")


def parameter_count(method: Method) -> int:
    """Number of trained parameters: those of all optimisers, each counted once."""
    unique = {id(p): p.numel() for o in optimisers(method).values() for g in o.param_groups for p in g["params"]}
    return sum(unique.values())
