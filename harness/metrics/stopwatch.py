"""How long work on a device takes: by the device's own events where it has them, else by the wall clock."""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch

EVENT_RESOLUTION = 1e-6
"""Seconds; CUDA promises about half a microsecond."""


class Stopwatch(Protocol):
    """Marks points in the order of the device's work and says how many seconds passed between two of them.

    ``between`` may be asked only after ``wait``, which returns when the device has done everything it was given.
    """

    resolution: float

    def mark(self) -> Any: ...

    def wait(self) -> None: ...

    def between(self, first: Any, second: Any) -> float: ...


class WallStopwatch:
    """The monotonic wall clock, for devices that finish an operator before the next one is called."""

    def __init__(self) -> None:
        self.resolution = time.get_clock_info("perf_counter").resolution

    def mark(self) -> float:
        """The present."""
        return time.perf_counter()

    def wait(self) -> None:
        """Nothing to wait for."""

    def between(self, first: float, second: float) -> float:
        """Seconds from one mark to another."""
        return second - first


class EventStopwatch:
    """Events of the current stream of a CUDA device: marking costs the device nothing and waits for nothing."""

    resolution = EVENT_RESOLUTION

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> torch.cuda.Event:
        """An event behind all work given to the device so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def wait(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self.device)

    def between(self, first: torch.cuda.Event, second: torch.cuda.Event) -> float:
        """Seconds from one event to another."""
        return first.elapsed_time(second) / 1e3


def stopwatch(device: torch.device) -> Stopwatch:
    """The right one for a device."""
    return EventStopwatch(device) if device.type == "cuda" else WallStopwatch()
