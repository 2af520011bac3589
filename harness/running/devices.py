"""Device, precision, threads and determinism of a run, and the Context that lends them to a method.

Levers kept here (measured in benchmarks/): bf16 autocast where the hardware multiplies in it, one thread per process,
subnormal numbers flushed to zero (Adam's moments and saturated activations reach them and slow a CPU down manyfold).
Optimisers use foreach kernels and networks channels_last by the methods' own choice.
"""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from threadpoolctl import threadpool_limits

from harness.cameras import sample_cameras
from harness.running import hardware
from harness.running.settings import RunSettings, default_cache
from harness.types import Cameras, Cell, ConfigError, Context, DataError, PosePrior

Precision = Literal["fp32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``. Raises ConfigError where there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind == "cuda" and (not index or index.isdigit()):
        if not torch.cuda.is_available():
            raise ConfigError("this machine has no CUDA device", where=f"device={name}", remedy="Use device=cpu.")
        if int(index or 0) >= torch.cuda.device_count():
            raise ConfigError(f"there are {torch.cuda.device_count()} CUDA devices", where=f"device={name}")
        return torch.device(name)
    raise ConfigError("is not a device", where=f"device={name}", nearest=("auto", "cpu", "cuda", "cuda:0"))


def resolve_precision(name: str, device: torch.device) -> Precision:
    """``auto`` becomes bf16 where the device multiplies in bfloat16, else fp32. Raises ConfigError for other names."""
    if name == "fp32":
        return "fp32"
    if name == "bf16":
        return "bf16"
    if name != "auto":
        raise ConfigError("is not a precision", where=f"precision={name}", nearest=("auto", "fp32", "bf16"))
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if hardware.cpu_has_bf16() else "fp32"


def device_name(device: torch.device) -> str:
    """``cpu`` or the GPU's model name, as rows of tables show it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def configured(device: torch.device, settings: RunSettings) -> Iterator[None]:
    """Thread caps, subnormal flushing and determinism while a cell computes; the CPU's state is restored afterwards.

    On a GPU deterministic kernels are asked for where they exist; the backward pass of grid_sample has none, so that
    equal GPU runs may differ in the last bits. On a CPU every kernel is deterministic for a given number of threads.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
        # Filling every new tensor costs bandwidth and only matters for code that reads uninitialised memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic = settings.deterministic
        torch.backends.cudnn.benchmark = not settings.deterministic
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
    threads = torch.get_num_threads()
    with threadpool_limits(settings.threads):
        torch.set_num_threads(settings.threads)
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            # Other code of this process may count on subnormal numbers.
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)


def derived_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose (init, data, train, predict), independent of every other purpose and seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on ``device`` seeded for ``purpose``."""
    made = torch.Generator(device=device)
    made.manual_seed(derived_seed(seed, purpose))
    return made


def make_context(
    cell: Cell,
    device: torch.device,
    purpose: str,
    total_steps: int,
    upstream: Mapping[str, Mapping[str, Any]] | None = None,
    assets: Path | None = None,
) -> Context:
    """What a method of this cell is lent on ``device``; ``purpose`` (train or predict) seeds its generator, ``assets``
    is the folder of built networks (None: that of this machine)."""
    precision = resolve_precision(cell.precision, device)
    mixed = functools.partial(torch.autocast, device.type, dtype=torch.bfloat16)
    return Context(
        device=device,
        precision=precision,
        seed=cell.seed,
        total_steps=total_steps,
        batch_size=batch_size(cell),
        generator=generator(cell.seed, purpose, device),
        autocast=mixed if precision == "bf16" else nullcontext,
        sample_cameras=functools.partial(_sample, cell.data.prior, cell.data.name, device),
        upstream=upstream or {},
        assets=assets or default_cache(),
        base=_base(cell),
    )


def _base(cell: Cell) -> type[Any] | None:
    """The class of the method into which that of the cell is plugged."""
    from harness import registry

    host = registry.base_of(cell)
    return None if host is None else registry.load(str(host.folder))


def batch_size(cell: Cell) -> int:
    """The preset's ``batch_size``. Raises ConfigError where it is missing or not a positive integer."""
    size = cell.config.get("batch_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"batch_size must be a positive integer, got {size!r}", where=f"preset of {cell.method}")
    return size


def _sample(
    default: PosePrior | None,
    data: str,
    device: torch.device,
    n: int,
    generator: torch.Generator,
    prior: PosePrior | None = None,
) -> Cameras:
    chosen = prior or default
    if chosen is None:
        raise DataError(
            "these images have no pose prior to draw cameras from",
            where=data,
            remedy="Name one with data.prior, or use a method that needs no cameras.",
        )
    return sample_cameras(chosen, n, generator, device)
