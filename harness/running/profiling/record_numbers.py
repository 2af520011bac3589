"""Measurements as the plain numbers of a record: None where there is no figure, never NaN."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from harness.metrics.throughput import Throughput
from harness.running.profiling.phase_costs import PhaseCost
from harness.running.profiling.training_step import TrainingStep

Numbers = dict[str, Any]


def of_training(measured: TrainingStep, compiled: bool, device: torch.device) -> tuple[Numbers, list[Numbers]]:
    """The training step and its phases."""
    timed = measured.throughput
    numbers = _rate(timed) | {
        "cpu_images_s": timed.images_per_step / measured.cpu_seconds if measured.cpu_seconds else None,
        "cpu_s": measured.cpu_seconds,
        "amortised": measured.amortised,
        "first_step_s": timed.first_seconds,
        "warmup_steps": timed.warmup,
        "warmup_s": timed.warmup_seconds,
        # What the warm-up took beyond so many usual steps: nearly all of it is compilation.
        "compile_s": max(0.0, timed.warmup_seconds - timed.warmup * timed.step_seconds) if compiled else None,
        "peak_allocated": timed.peak.allocated,
        "peak_reserved": timed.peak.reserved,
        "launch_share": timed.launch_share,
    }
    whole = sum(phase.step.seconds for phase in measured.phases)
    return numbers, [_phase(phase, whole) for phase in measured.phases]


def of_inference(kind: str, one: Throughput, many: Throughput, batch: int) -> Numbers:
    """Single images one after the other, and batches."""
    latency = one.latency or {}
    return {
        "kind": kind,
        "batch": batch,
        "latency_calls": len(one.block_seconds),
        "latency_mean_s": sum(one.block_seconds) / len(one.block_seconds) / one.calls,
        "latency_cpu_s": one.cpu_seconds,
        **{f"latency_{name}_s": latency.get(name) for name in ("p50", "p90", "p99")},
        **_rate(many),
        "cpu_images_s": many.images_per_step / many.cpu_seconds if many.cpu_seconds else None,
        "launch_share": many.launch_share,
    }


def _rate(timed: Throughput) -> Numbers:
    """What training and inference have in common."""
    low, high = timed.images_s_quartiles or (None, None)
    images = timed.images_per_step * timed.calls * len(timed.block_seconds)
    work, joules = timed.work, timed.energy.joules
    return {
        "images_s": timed.images_s,
        "images_s_q1": low,
        "images_s_q3": high,
        "step_s": timed.step_seconds,
        "blocks": len(timed.block_seconds),
        "calls_per_block": timed.calls,
        "block_s": list(timed.block_seconds),
        "flops_per_image": work.flops / timed.images_per_step if work else None,
        "traffic_per_image": work.traffic / timed.images_per_step if work else None,
        "flops_s": work.flops / timed.step_seconds if work else None,
        "mfu": known(timed.mfu),
        "bandwidth_share": known(timed.bandwidth_share),
        "energy_j_per_image": None if joules is None else joules / images,
        "idle_watts": timed.energy.idle_watts,
        "energy_reason": timed.energy.reason,
        "load_average": timed.load.average,
        "other_cpus": timed.load.others,
        "threads": timed.load.threads,
        "loaded": timed.load.loaded,
    }


def _phase(phase: PhaseCost, whole: float) -> Numbers:
    return {
        "phase": phase.name,
        "calls_per_step": phase.calls_per_step,
        "call_s": phase.call.seconds,
        "step_s": phase.step.seconds,
        "share": phase.step.seconds / whole if whole else None,
        "cpu_call_s": phase.call.cpu,
        "cpu_step_s": phase.step.cpu,
        "flops_per_call": phase.call.work.flops,
        "flops_per_step": phase.step.work.flops,
    }


def known(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else value


def clock_mhz(device: torch.device) -> float | None:
    """The present clock of the GPU's multiprocessors, or the mean of the CPU's cores; None where nobody says."""
    if device.type == "cuda":
        with suppress(Exception):  # asks NVML, which may be missing or forbidden
            return float(torch.cuda.clock_rate(device))
        return None
    with suppress(OSError):
        found = re.findall(r"^cpu MHz\s*: ([\d.]+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return sum(map(float, found)) / len(found) if found else None
    return None


def rounded(value: Any, digits: int = 6) -> Any:
    """The same with every number cut to so many significant digits; raises nothing and keeps whole numbers."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value
