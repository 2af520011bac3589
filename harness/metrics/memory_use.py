"""Peak memory of a stretch of work: the allocator's on a CUDA device, the process's resident memory on a CPU."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Peak:
    """Bytes: ``allocated`` by tensors (CPU: resident peak minus baseline), ``reserved`` by the allocator (CPU: the
    resident peak itself). None where the system does not say."""

    allocated: int | None
    reserved: int | None


class PeakMemory:
    """Measures from its making, or the last ``restart``, on.

    On a CPU the baseline is the resident memory at that moment, after freed memory was given back to the system; memory
    that the process kept and uses again is not seen.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.baseline: int | None = None
        self.restart()

    def restart(self) -> None:
        """Forget the peak so far."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            _CLEAR.write_text("5")  # the kernel's command for: the peak starts anew
        self.baseline = _resident("VmRSS")

    def read(self) -> Peak:
        """The peak since then."""
        if self.device.type == "cuda":
            return Peak(torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device))
        peak = _resident("VmHWM")
        if peak is None or self.baseline is None:
            return Peak(None, peak)
        return Peak(max(0, peak - self.baseline), peak)


def _resident(field: str) -> int | None:
    """A field of the process's status in bytes."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
