"""What a training step is made of, found without knowing the method.

A phase is a call of a bound method named ``_step_<phase>`` of the method or of an object it holds. What an optimiser
does outside of these is a span: from the end of the phase or span before it, or the step's begin, to the end of the
optimiser's own step, named by the attribute that holds the optimiser and, from the second on, its turn.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.metrics.flops import Work
from harness.metrics.stopwatch import Stopwatch
from harness.running.optimisers import objects_within, optimisers

PREFIX, OTHER = "_step_", "other"


@dataclass(frozen=True)
class Spent:
    """Seconds by the stopwatch, CPU seconds of this process, and work."""

    seconds: float = 0.0
    cpu: float = 0.0
    work: Work = field(default_factory=Work)


@dataclass
class StepRecord:
    """One training step: what it took in all, and every phase's calls in order."""

    whole: Spent
    calls: list[tuple[str, Spent]]

    @property
    def other(self) -> Spent:
        """What lies in no phase."""
        seconds = sum(spent.seconds for _, spent in self.calls)
        cpu = sum(spent.cpu for _, spent in self.calls)
        work = sum((spent.work for _, spent in self.calls), Work())
        return Spent(max(0.0, self.whole.seconds - seconds), max(0.0, self.whole.cpu - cpu), self.whole.work - work)


@dataclass(frozen=True)
class _Mark:
    device: Any
    cpu: float
    work: Work


class PhaseRecorder:
    """Records the phases of the steps between ``begin`` and ``end`` while it is entered; the method is as before after.

    ``work`` says how much has been done so far, where it is counted. ``around`` maps a phase to a context in which it
    runs. Marks cost a CPU clock reading or a device event each, and no wait.
    """

    def __init__(self, method: Any, watch: Stopwatch) -> None:
        self.method, self.watch = method, watch
        self.work: Callable[[], Work] = Work
        self.around: dict[str, Callable[[], Any]] = {}
        self.current = ""
        self._steps: list[tuple[_Mark, _Mark, list[tuple[str, _Mark, _Mark]]]] = []
        self._calls: list[tuple[str, _Mark, _Mark]] = []
        self._begun: _Mark | None = None
        self._boundary: _Mark | None = None
        self._turns: dict[str, int] = {}
        self._wrapped: list[tuple[Any, str]] = []
        self._names: dict[int, str] = {}
        self._hook: Any = None

    def __enter__(self) -> PhaseRecorder:
        for place, holder in holders(self.method):
            for name in phases_of(holder):
                self._wrap(holder, name, f"{place}{name.removeprefix(PREFIX)}")
        self._hook = register_optimizer_step_post_hook(self._stepped)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()
        for holder, name in self._wrapped:
            object.__delattr__(holder, name)
        self._wrapped.clear()

    def begin(self) -> None:
        """A training step begins."""
        self._calls, self._turns = [], {}
        self._begun = self._boundary = self._mark()

    def end(self) -> None:
        """It ends."""
        assert self._begun is not None
        self._steps.append((self._begun, self._mark(), self._calls))
        self._begun = None

    def take(self) -> list[StepRecord]:
        """The steps recorded since the last call; waits for the device."""
        self.watch.wait()
        steps, self._steps = self._steps, []
        return [
            StepRecord(self._between(start, end), [(name, self._between(a, b)) for name, a, b in calls])
            for start, end, calls in steps
        ]

    def _between(self, first: _Mark, second: _Mark) -> Spent:
        seconds = self.watch.between(first.device, second.device)
        return Spent(seconds, second.cpu - first.cpu, second.work - first.work)

    def _mark(self) -> _Mark:
        return _Mark(self.watch.mark(), time.process_time(), self.work())

    def _wrap(self, holder: Any, name: str, phase: str) -> None:
        inner = getattr(holder, name)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.current or self._begun is None:  # a phase within a phase counts as part of it
                return inner(*args, **kwargs)
            self.current, start = phase, self._mark()
            try:
                with self.around[phase]() if phase in self.around else nullcontext():
                    return inner(*args, **kwargs)
            finally:
                self.current = ""
                self._boundary = self._mark()
                self._calls.append((phase, start, self._boundary))

        with suppress(AttributeError, TypeError):  # an object with slots takes no further attribute
            object.__setattr__(holder, name, timed)
            self._wrapped.append((holder, name))

    def _stepped(self, optimiser: Optimizer, args: Any, kwargs: Any) -> None:
        if self.current or self._begun is None or self._boundary is None:
            return
        if id(optimiser) not in self._names:
            self._names = {id(found): name for name, found in optimisers(self.method).items()}
        name = self._names.get(id(optimiser), "optimiser")
        turn = self._turns[name] = self._turns.get(name, 0) + 1
        now = self._mark()
        self._calls.append((name if turn == 1 else f"{name}.{turn}", self._boundary, now))
        self._boundary = now


def phases_of(holder: Any) -> list[str]:
    """Names of the holder's methods that are phases."""
    return [name for name in dir(type(holder)) if name.startswith(PREFIX) and callable(getattr(holder, name, None))]


def holders(method: Any) -> Iterator[tuple[str, Any]]:
    """The method and every object of its own kind within it, each with the prefix of its phases' names."""
    for place, value in objects_within(method):
        if not isinstance(value, Optimizer):
            yield f"{place}." if place else "", value
