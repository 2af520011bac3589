"""Where the time of a step goes that no kernel and no operator accounts for, from ``torch.profiler``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans: what overlaps counts once."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        if stop > end:
            total += stop - max(start, end)
            end = stop
    return total


def busy_share(
    step: Callable[[], object], device: torch.device, steps: int, trace: Path | None = None
) -> tuple[float, float]:
    """Seconds per step in which a kernel ran (CUDA) or an operator was at work (CPU), and the profiled step's own
    seconds, which recording makes longer. ``trace`` is a file for the Chrome trace."""
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as recorded, torch.profiler.record_function(WHOLE):
        for _ in range(steps):
            step()
        if cuda:
            torch.cuda.synchronize(device)
    if trace is not None:
        trace.parent.mkdir(parents=True, exist_ok=True)
        recorded.export_chrome_trace(str(trace))
    events = recorded.events() or []
    whole = next(_span(event) for event in events if event.name == WHOLE and event.device_type == _CPU)
    wanted = [_span(event) for event in events if (_is_kernel(event) if cuda else _is_operator(event))]
    return busy_seconds(wanted) / steps, (whole[1] - whole[0]) / steps


WHOLE = "profiled steps"
_CPU = torch.autograd.DeviceType.CPU


def _span(event: Any) -> tuple[float, float]:
    return event.time_range.start / 1e6, event.time_range.end / 1e6


def _is_kernel(event: Any) -> bool:
    # Ranges named by the program are projected on the device, too: they are no kernels.
    return event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)


def _is_operator(event: Any) -> bool:
    return event.device_type == _CPU and "::" in event.name and not event.name.startswith("autograd::")
