"""What accelerators can do at most, as their makers publish it: dense arithmetic by dtype, and memory bandwidth.

Dense figures only: where a data sheet gives the figure with 2:4 sparsity, half of it stands here. A device or dtype
that is not listed has no peak: NaN, never a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.metrics.errors import OutOfRange

TERA, GIGA = 1e12, 1e9

DTYPES = ("float32", "tf32", "bfloat16", "float16")
ALIASES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Chip:
    """A chip's dense peaks: ``tflops`` by dtype (matrix units where they take the dtype, with float32 accumulation),
    ``bandwidth`` of its memory in GB/s (10^9 bytes), and the publication they stand in. ``pattern`` is a regular
    expression that the whole name reported by the driver fits."""

    pattern: str
    source: str
    bandwidth: float
    tflops: Mapping[str, float] = field(default_factory=dict)


def _matrix(float32: float, tf32: float, half: float) -> dict[str, float]:
    return {"float32": float32, "tf32": tf32, "bfloat16": half, "float16": half}


_H100 = "NVIDIA H100 Tensor Core GPU data sheet"
_H200 = "NVIDIA H200 Tensor Core GPU data sheet"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet (June 2021)"
_V100 = "NVIDIA V100 Tensor Core GPU data sheet (January 2020)"
_GH100 = "NVIDIA H100 Tensor Core GPU Architecture white paper, table 2"

CHIPS: tuple[Chip, ...] = (
    Chip(r"NVIDIA H100 80GB HBM3", f"{_GH100}; {_H100} (SXM)", 3350, _matrix(66.9, 494.7, 989.4)),
    Chip(r"NVIDIA H100 PCIe", f"{_H100} (PCIe)", 2000, _matrix(51, 378, 756.5)),
    Chip(r"NVIDIA H100 NVL", f"{_H100} (NVL)", 3900, _matrix(60, 417.5, 835.5)),
    Chip(r"NVIDIA H200", f"{_H200} (SXM)", 4800, _matrix(66.9, 494.7, 989.4)),
    Chip(r"NVIDIA H200 NVL", f"{_H200} (NVL)", 4800, _matrix(60, 417.5, 835.5)),
    Chip(r"NVIDIA A100-SXM4-40GB", _A100, 1555, _matrix(19.5, 156, 312)),
    Chip(r"NVIDIA A100-SXM4-80GB", _A100, 2039, _matrix(19.5, 156, 312)),
    Chip(r"NVIDIA A100-PCIE-40GB", _A100, 1555, _matrix(19.5, 156, 312)),
    Chip(r"NVIDIA A100 80GB PCIe", _A100, 1935, _matrix(19.5, 156, 312)),
    Chip(r"NVIDIA L40S", "NVIDIA L40S data sheet", 864, _matrix(91.6, 183, 362.05)),
    Chip(r"NVIDIA L4", "NVIDIA L4 Tensor Core GPU data sheet", 300, _matrix(30.3, 60, 121)),
    Chip(r"NVIDIA A10", "NVIDIA A10 Tensor Core GPU data sheet", 600, _matrix(31.2, 62.5, 125)),
    Chip(r"NVIDIA A40", "NVIDIA A40 data sheet", 696, _matrix(37.4, 74.8, 149.7)),
    Chip(
        r"NVIDIA GeForce RTX 4090",
        "NVIDIA Ada GPU Architecture white paper, appendix A",
        1008,
        _matrix(82.6, 82.6, 165.2),
    ),
    Chip(
        r"NVIDIA GeForce RTX 3090",
        "NVIDIA Ampere GA102 GPU Architecture white paper, appendix A",
        936,
        _matrix(35.6, 35.6, 71),
    ),
    Chip(r"(NVIDIA |Tesla )*V100-SXM2-(16|32)GB", _V100, 900, {"float32": 15.7, "float16": 125}),
    Chip(r"(NVIDIA |Tesla )*V100-PCIE-(16|32)GB", _V100, 900, {"float32": 14, "float16": 112}),
    Chip(r"(NVIDIA |Tesla )*T4", "NVIDIA T4 Tensor Core GPU data sheet", 300, {"float32": 8.1, "float16": 65}),
)


def chip_of(device_name: str) -> Chip | None:
    """The chip of a name as ``torch.cuda.get_device_name`` gives it; None for one that is not listed, such as a share
    of a GPU."""
    return next((chip for chip in CHIPS if re.fullmatch(chip.pattern, device_name.strip())), None)


def dense_peak_flops(device_name: str, dtype: str) -> float:
    """Dense peak in FLOP/s of ``float32``, ``tf32``, ``bfloat16`` or ``float16``; NaN where none is published or known.

    A ``torch.`` prefix and the short names fp32, bf16 and fp16 are understood.
    """
    name = dtype.removeprefix("torch.")
    chip = chip_of(device_name)
    return math.nan if chip is None else TERA * chip.tflops.get(ALIASES.get(name, name), math.nan)


def peak_bandwidth(device_name: str) -> float:
    """Peak of the device's memory in bytes per second; NaN for an unknown device."""
    chip = chip_of(device_name)
    return math.nan if chip is None else GIGA * chip.bandwidth


def utilisation(flops_per_second: float, peak: float) -> float:
    """Model FLOP utilisation, achieved over peak; NaN where the peak is unknown.

    Raises OutOfRange below 0 or above 1: then the time, the count or the table is wrong.
    """
    share = flops_per_second / peak
    if math.isnan(share) or 0 <= share <= 1:
        return share
    raise OutOfRange(
        f"{flops_per_second:.4g} FLOP/s are {share:.3g} of the peak {peak:.4g}",
        where="mfu",
        remedy="Check that the device was waited for, and which dtype the step computes in.",
    )
