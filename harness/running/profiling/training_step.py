"""The training step of a method: its rate over whole periods of its lazy phases, and what each phase costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.metrics.energy import Energy
from harness.metrics.flops import Work, WorkCounter
from harness.metrics.machine_load import LoadMeter
from harness.metrics.memory_use import PeakMemory
from harness.metrics.throughput import Throughput, launch_share, measure_throughput, with_work
from harness.running.profiling.phase_costs import PhaseCost, phase_costs, rates_of, whole_step
from harness.running.profiling.phases import StepRecord
from harness.running.profiling.steps import Steps, declared_intervals

CPU_PROFILED = 2
"""Steps under the profiler on a CPU, where recording every operator is slow."""


@dataclass(frozen=True)
class Limits:
    """How much is measured: ``warmup`` and ``blocks`` at least where ``seconds`` allow them, single ``calls`` for the
    latency."""

    warmup: int = 10
    blocks: int = 20
    calls: int = 500
    seconds: float = 10.0


@dataclass(frozen=True)
class TrainingStep:
    """``throughput`` of the training step and its ``phases``; ``cpu_seconds`` of a step, all threads together.

    ``amortised`` says that no whole period was measured: the rate is put together from single calls of the phases.
    """

    throughput: Throughput
    phases: tuple[PhaseCost, ...]
    cpu_seconds: float
    amortised: bool = False


def count_phases(steps: Steps, limits: Limits) -> list[StepRecord]:
    """The first steps of all, their work counted: a whole period where that is quick, else its first step, in which
    every lazy phase is due."""
    with WorkCounter() as counter:
        steps.recorder.work = lambda: counter.work
        steps.align()
        began = time.perf_counter()
        steps()
        quick = (time.perf_counter() - began) * steps.period <= limits.seconds / 2
        for _ in range(steps.period - 1 if quick else 0):
            steps()
    steps.recorder.work = Work
    return steps.recorder.take()


def measure_training(
    steps: Steps,
    counted: Sequence[StepRecord],
    config: Mapping[str, Any],
    limits: Limits,
    device: torch.device,
    dtype: str,
    memory: PeakMemory,
    trace: Path | None = None,
    settling: int = 0,
) -> TrainingStep:
    """Warm up, time blocks of whole periods, and say what the phases cost; ``settling`` further calls, whatever they
    take, let compiled code see every kind of step first.

    Where a period takes longer than the limit allows, one step with all lazy phases and one or more without are timed
    instead, and put together by the phases' intervals. Raises OutOfRange for a utilisation above 1.
    """
    steps.align()
    # Compiles and allocates what is made on first use; a second call says how long a step takes.
    first = _wall(steps)
    taken = [first, *(_wall(steps) for _ in range(settling))]
    if taken[-1] * steps.period > limits.seconds:
        taken.append(_wall(steps))
    if taken[-1] * steps.period <= limits.seconds:
        measured = _by_blocks(steps, counted, limits, device, memory, taken)
        profiled = steps.period if device.type == "cuda" else CPU_PROFILED
    else:
        measured = _by_phases(steps, counted, declared_intervals(config), limits, device, memory, taken)
        profiled = 1
    steps.align()
    share = launch_share(
        steps, device, None if measured.amortised else measured.throughput.step_seconds, profiled, trace
    )
    steps.recorder.take()
    work = whole_step(measured.phases).work
    return replace(measured, throughput=with_work(measured.throughput, work, device, dtype, share))


def _wall(steps: Steps) -> float:
    steps.recorder.watch.wait()
    began = time.perf_counter()
    steps()
    steps.recorder.watch.wait()
    return time.perf_counter() - began


def _by_blocks(
    steps: Steps,
    counted: Sequence[StepRecord],
    limits: Limits,
    device: torch.device,
    memory: PeakMemory,
    before: Sequence[float],
) -> TrainingStep:
    measured = measure_throughput(
        steps,
        images_per_step=steps.trainer.context.batch_size,
        warmup=limits.warmup,
        blocks=limits.blocks,
        calls=steps.period,
        seconds=limits.seconds,
        device=device,
        memory=memory,
        explain=False,
    )
    timed = steps.recorder.take()[-len(measured.block_seconds) * measured.calls :]
    measured = replace(
        measured,
        warmup=measured.warmup + len(before),
        first_seconds=before[0],
        warmup_seconds=measured.warmup_seconds + sum(before),
    )
    return TrainingStep(measured, tuple(phase_costs(timed, counted)), measured.cpu_seconds)


def _by_phases(
    steps: Steps,
    counted: Sequence[StepRecord],
    intervals: Mapping[str, int],
    limits: Limits,
    device: torch.device,
    memory: PeakMemory,
    before: Sequence[float],
) -> TrainingStep:
    steps.recorder.take()
    load, began = LoadMeter(torch.get_num_threads()), time.perf_counter()
    steps.align()
    steps()
    lazy = steps.recorder.take()
    plain: list[StepRecord] = []
    while not plain or (len(plain) < limits.blocks and time.perf_counter() - began < limits.seconds):
        steps()
        plain += steps.recorder.take()
    rates = rates_of(lazy[0], plain, intervals, steps.period)
    phases = tuple(phase_costs([*lazy, *plain], counted, rates))
    step = whole_step(phases)
    throughput = Throughput(
        images_per_step=steps.trainer.context.batch_size,
        block_seconds=(step.seconds,),
        calls=1,
        warmup=len(before),
        first_seconds=before[0],
        warmup_seconds=sum(before),
        peak=memory.read(),
        energy=Energy(None, reason="no whole period of the step was measured"),
        load=load.read(),
    )
    return TrainingStep(throughput, phases, step.cpu, amortised=True)
