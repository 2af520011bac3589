"""Phases of a step are found without knowing the method, and a method is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness.metrics.flops import WorkCounter
from harness.running.optimisers import optimisers
from harness.running.profiling.compiling import CalledModules
from harness.running.profiling.phase_costs import phase_costs, whole_step
from harness.running.profiling.phases import PhaseRecorder, holders
from harness.running.profiling.steps import Steps, declared_intervals, period_of


class Clock:
    """A stopwatch that tests move by hand."""

    resolution = 1e-9

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> float:
        return self.now

    def wait(self) -> None:
        pass

    def between(self, first: float, second: float) -> float:
        return second - first


class Head:
    """What another method may hold: a phase of its own."""

    def __init__(self, spend: Callable[[float], None]) -> None:
        self.spend = spend

    def _step_head(self) -> None:
        self.spend(3)


class Parts:
    """Phases by name, a lazy one, an optimiser that acts outside of them, and a held object with a phase."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.net = nn.Linear(2, 2)
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.0)
        self.more = {"late": torch.optim.SGD(self.net.parameters(), lr=0.0)}
        self.head = Head(self.spend)

    def spend(self, seconds: float) -> None:
        self.clock.now += seconds

    def train_step(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        self.spend(0.5)
        self._step_g()
        if step % 2 == 0:
            self._step_r1()
        self.head._step_head()
        self.spend(7)
        self.optimiser.step()
        self.spend(2)
        self.optimiser.step()
        self.spend(1)
        self.more["late"].step()
        self.spend(0.25)
        return {}

    def _step_g(self) -> None:
        self.spend(1)
        self._step_r1()  # within a phase: part of it
        self.optimiser.step()

    def _step_r1(self) -> None:
        self.spend(10)


def stepped(parts: Parts, steps: int, clock: Clock) -> tuple[PhaseRecorder, list[Any]]:
    recorder = PhaseRecorder(parts, clock)
    with recorder:
        for step in range(steps):
            recorder.begin()
            parts.train_step({}, step)
            recorder.end()
    return recorder, recorder.take()


def test_phases_spans_and_the_rest_add_up_to_the_step() -> None:
    clock = Clock()
    _, (first, second) = stepped(Parts(clock), 2, clock)
    assert [(name, spent.seconds) for name, spent in first.calls] == [
        ("g", 11.0),
        ("r1", 10.0),
        ("head.head", 3.0),
        ("optimiser", 7.0),
        ("optimiser.2", 2.0),
        ("more.late", 1.0),
    ]
    assert [name for name, _ in second.calls] == ["g", "head.head", "optimiser", "optimiser.2", "more.late"]
    assert first.whole.seconds == 34.75
    assert first.other.seconds == 0.75


def test_a_lazy_phase_counts_as_often_as_it_runs() -> None:
    clock = Clock()
    _, steps = stepped(Parts(clock), 4, clock)
    costs = {cost.name: cost for cost in phase_costs(steps, steps[:2])}
    assert costs["r1"].calls_per_step == 0.5
    assert costs["r1"].call.seconds == 10.0
    assert costs["r1"].step.seconds == 5.0
    assert list(costs)[-1] == "other"
    assert whole_step(list(costs.values())).seconds == pytest.approx(sum(s.whole.seconds for s in steps) / 4)


def test_the_method_is_afterwards_what_it_was() -> None:
    clock = Clock()
    parts = Parts(clock)
    before = set(vars(parts)), set(vars(parts.head))
    recorder, _ = stepped(parts, 1, clock)
    assert (set(vars(parts)), set(vars(parts.head))) == before
    parts.train_step({}, 0)
    assert recorder.take() == []


def test_an_error_within_a_phase_leaves_nothing_behind() -> None:
    clock = Clock()
    parts = Parts(clock)

    parts.clock = None  # type: ignore[assignment]
    recorder = PhaseRecorder(parts, clock)
    with recorder:
        recorder.begin()
        with pytest.raises(AttributeError):
            parts._step_g()
    assert recorder.current == ""
    assert "_step_g" not in vars(parts)


def test_work_is_counted_by_phase() -> None:
    class Worker:
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

        def train_step(self) -> None:
            self._step_b(self._step_a(torch.zeros(3, 4)))

        def _step_a(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x)

        def _step_b(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(x)

    worker = Worker()
    with PhaseRecorder(worker, Clock()) as recorder, WorkCounter() as counter:
        recorder.work = lambda: counter.work
        recorder.begin()
        worker.train_step()
        recorder.end()
        (step,) = recorder.take()
    assert {name: spent.work.flops for name, spent in step.calls} == {"a": 2 * 3 * 4 * 8, "b": 2 * 3 * 8 * 2}
    assert step.other.work.flops == 0


def test_optimisers_are_found_wherever_they_are_held() -> None:
    clock = Clock()
    names = optimisers(Parts(clock))
    assert set(names) == {"optimiser", "more.late"}
    assert {"", "head."} <= {place for place, _ in holders(Parts(clock))}


def test_a_circle_of_objects_ends() -> None:
    one, other = Parts(Clock()), Parts(Clock())
    one.friend, other.friend = other, one  # type: ignore[attr-defined]
    assert len(optimisers(one)) == 4


def test_intervals_are_read_off_the_preset() -> None:
    config = {"r1_every": 16, "path_every": 4, "tv_every": 0, "flag_every": True, "every": 3, "rate": 2}
    assert declared_intervals(config) == {"r1": 16, "path": 4}
    assert period_of(config) == 16
    assert period_of({"batch_size": 8}) == 1
    assert period_of({"a_every": 7, "b_every": 16}) == 64  # no longer period than this


def test_steps_go_round_in_whole_periods() -> None:
    seen: list[int] = []

    class Trainer:
        step, schedule = 12, SimpleNamespace(steps=22)

        def advance(self) -> None:
            seen.append(self.step)
            self.step += 1

    recorder: Any = SimpleNamespace(begin=lambda: None, end=lambda: None)
    steps = Steps(Trainer(), recorder, 12, 4)  # type: ignore[arg-type]
    for _ in range(10):
        steps()
    assert seen == [12, 13, 14, 15, 16, 17, 18, 19, 12, 13]
    steps.align()
    assert steps.trainer.step == 16
    steps.trainer.step = 19
    steps.align()
    assert steps.trainer.step == 12


def test_modules_are_compiled_from_outside_and_second_derivatives_are_noticed() -> None:
    inner = nn.Linear(2, 2)
    outer, alone = nn.Sequential(inner, nn.ReLU()), nn.Linear(2, 2)
    called = CalledModules(lambda: "r1")
    images = torch.zeros(1, 2, requires_grad=True)
    before = torch.autograd.grad
    with called.watching():
        alone(outer(images))
        (slope,) = torch.autograd.grad(alone(images).sum(), images, create_graph=True)
    assert torch.autograd.grad is before
    assert list(called.modules.values()) == [outer, alone]
    assert called.twice == {"r1"}
    assert slope.requires_grad


def test_second_derivatives_outside_of_phases_leave_their_modules_uncompiled() -> None:
    maker, judge = nn.Linear(2, 2), nn.Linear(2, 2)
    optimiser = torch.optim.SGD(judge.parameters(), lr=0.0)
    called = CalledModules(lambda: "")
    images = torch.zeros(1, 2, requires_grad=True)
    with called.watching():
        judge(maker(images)).sum().backward()
        optimiser.step()
        torch.autograd.grad(judge(images).sum(), images, create_graph=True)
    called.compile()
    assert not called.twice
    assert maker._compiled_call_impl is not None
    assert judge._compiled_call_impl is None


def test_a_phase_may_run_in_a_context_of_its_own() -> None:
    entered: list[str] = []

    @contextmanager
    def around() -> Any:
        entered.append("in")
        yield
        entered.append("out")

    clock = Clock()
    parts = Parts(clock)
    recorder = PhaseRecorder(parts, clock)
    recorder.around["r1"] = around
    with recorder:
        recorder.begin()
        parts.train_step({}, 0)
        recorder.end()
    assert entered == ["in", "out"]  # not within g
