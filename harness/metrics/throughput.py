"""Images per second of a step and what explains it: blocks of synchronised time, memory, work, energy and load.

A block is one or more calls between two waits for the device. The rate is that of the median block; quartiles need 20
blocks, latency quantiles 200 single calls, their 99th percentile 500.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from harness.metrics.energy import Energy, EnergyMeter
from harness.metrics.errors import OutOfRange
from harness.metrics.flops import Work, count_work
from harness.metrics.kernel_time import busy_share
from harness.metrics.machine_load import Load, LoadMeter
from harness.metrics.memory_use import Peak, PeakMemory
from harness.metrics.peaks import dense_peak_flops, peak_bandwidth, utilisation
from harness.metrics.stopwatch import Stopwatch, stopwatch

LEAST_BLOCKS, LEAST_LATENCIES, LEAST_P99 = 20, 200, 500
FINEST = 0.01
"""Largest share of a block that the clock's resolution may be."""


@dataclass(frozen=True)
class Throughput:
    """What ``measure_throughput`` measured; None stands for what could not be, or must not be told from so few blocks.

    ``images_s`` with its quartiles; ``block_seconds`` of ``calls`` calls each; ``latency`` by quantile in seconds;
    ``first_seconds`` of the very first call and ``warmup_seconds`` of all ``warmup`` calls; ``work`` of one call;
    ``mfu`` and ``bandwidth_share`` are NaN where the device has no published peak.
    """

    images_per_step: int
    block_seconds: tuple[float, ...]
    calls: int
    warmup: int
    first_seconds: float
    warmup_seconds: float
    peak: Peak
    energy: Energy
    load: Load
    work: Work | None = None
    launch_share: float | None = None
    mfu: float = math.nan
    bandwidth_share: float = math.nan

    @property
    def step_seconds(self) -> float:
        """Seconds of a call, from the median block."""
        return float(np.median(self.block_seconds)) / self.calls

    @property
    def images_s(self) -> float:
        """Images per second of the median block."""
        return self.images_per_step / self.step_seconds

    @property
    def images_s_quartiles(self) -> tuple[float, float] | None:
        """Lower and upper quartile over blocks."""
        if len(self.block_seconds) < LEAST_BLOCKS:
            return None
        low, high = np.quantile(self.block_seconds, (0.75, 0.25))
        images = self.images_per_step * self.calls
        return images / float(low), images / float(high)

    @property
    def latency(self) -> dict[str, float] | None:
        """Quantiles p50, p90 and, from 500 calls on, p99 of single calls in seconds, linearly interpolated."""
        if self.calls != 1 or len(self.block_seconds) < LEAST_LATENCIES:
            return None
        wanted = {"p50": 0.5, "p90": 0.9, **({"p99": 0.99} if len(self.block_seconds) >= LEAST_P99 else {})}
        return {name: float(np.quantile(self.block_seconds, share)) for name, share in wanted.items()}

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of a call, all threads of this process together."""
        return self.load.cpu_seconds / (self.calls * len(self.block_seconds))


def measure_throughput(
    step: Callable[[], object],
    *,
    images_per_step: int,
    warmup: int = 10,
    blocks: int = 20,
    device: torch.device | str,
    calls: int = 1,
    seconds: float = math.inf,
    dtype: str = "float32",
    work: Work | None = None,
    memory: PeakMemory | None = None,
    explain: bool = True,
    trace: Path | None = None,
) -> Throughput:
    """Time ``step`` on ``device`` and explain the time.

    A block has ``calls`` calls, more where the clock is too coarse for them. Blocks end early after ``seconds`` of wall
    time, the warm-up after half of that, but neither before one. ``work`` is that of a call where it is known, else it
    is counted; ``memory`` a meter that has been running since before the model was built, else it starts here.
    ``explain=False`` leaves out the launch share and the count, which take further calls; ``trace`` is a file for the
    profiler's Chrome trace. Raises OutOfRange for numbers below 1 and for a utilisation above 1.
    """
    if min(images_per_step, warmup, blocks, calls) < 1:
        raise OutOfRange("images, warm-ups, blocks and calls must be at least 1", where="throughput")
    device = torch.device(device)
    watch, memory = stopwatch(device), memory or PeakMemory(device)
    first, warmed = _warm_up(step, watch, warmup, seconds / 2)
    calls = enough_calls(calls, warmed[-1], watch.resolution)
    energy, load = EnergyMeter(device), LoadMeter(torch.get_num_threads())
    energy.start()
    taken = _blocks(step, watch, blocks, calls, seconds)
    timed = Throughput(
        images_per_step=images_per_step,
        block_seconds=taken,
        calls=calls,
        warmup=len(warmed),
        first_seconds=first,
        warmup_seconds=sum(warmed),
        energy=energy.stop(),
        load=load.read(),
        peak=memory.read(),
    )
    if work is None and explain:
        work = count_work(step)
    launch = launch_share(step, device, timed.step_seconds, trace=trace) if explain else None
    return with_work(timed, work, device, dtype, launch)


def enough_calls(calls: int, call_seconds: float, resolution: float) -> int:
    """A multiple of ``calls`` such that the clock's resolution is at most a hundredth of a block."""
    return calls * max(1, math.ceil(resolution / FINEST / (calls * max(call_seconds, resolution / 100))))


def launch_share(
    step: Callable[[], object],
    device: torch.device,
    step_seconds: float | None,
    steps: int = 3,
    trace: Path | None = None,
) -> float:
    """1 minus the share of a step in which a kernel runs, in [0, 1]; on a CPU, the share of wall time outside
    operators.

    ``step_seconds`` is what a step takes without the profiler, which makes it longer; a CPU's share, and that of a step
    whose time is not known (None), is of the recorded time.
    """
    busy, recorded = busy_share(step, device, steps, trace)
    whole = recorded if step_seconds is None or device.type != "cuda" else step_seconds
    return min(1.0, max(0.0, 1 - busy / whole))


def with_work(
    timed: Throughput, work: Work | None, device: torch.device, dtype: str, launch: float | None
) -> Throughput:
    """The measurement with what its work explains; raises OutOfRange for a utilisation above 1."""
    if work is None:
        return replace(timed, launch_share=launch)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    seconds = timed.step_seconds
    mfu = utilisation(work.flops / seconds, dense_peak_flops(name, dtype))
    share = work.traffic / seconds / peak_bandwidth(name)
    return replace(timed, work=work, mfu=mfu, bandwidth_share=share, launch_share=launch)


def _warm_up(step: Callable[[], object], watch: Stopwatch, warmup: int, seconds: float) -> tuple[float, list[float]]:
    """Wall seconds of the first call and of every warm-up call, the device waited for."""
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < warmup and (not taken or time.perf_counter() - began < seconds):
        watch.wait()
        start = time.perf_counter()
        step()
        watch.wait()
        taken.append(time.perf_counter() - start)
    return taken[0], taken


def _blocks(step: Callable[[], object], watch: Stopwatch, blocks: int, calls: int, seconds: float) -> tuple[float, ...]:
    taken: list[float] = []
    began = time.perf_counter()
    watch.wait()
    while len(taken) < blocks and (not taken or time.perf_counter() - began < seconds):
        start = watch.mark()
        for _ in range(calls):
            step()
        end = watch.mark()
        watch.wait()
        taken.append(watch.between(start, end))
    return tuple(taken)
