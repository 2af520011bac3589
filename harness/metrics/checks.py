"""Checks that every metric makes of its input; each raises the typed error with metric, what, got and expected."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from harness.metrics.errors import CountMismatch, EmptyInput, NonFinite, ShapeMismatch, TooFew

Array: TypeAlias = "np.ndarray | Tensor"


def as_tensor(value: Array, name: str, *, metric: str) -> Tensor:
    """Return ``value`` as a detached tensor that shares memory where possible; ShapeMismatch if it is not an array."""
    if isinstance(value, Tensor):
        return value.detach()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or not value.dtype.isnative:
        got = f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
        raise ShapeMismatch(f"{name} is {got}, expected a numeric numpy array or a torch tensor", where=metric)
    if not value.flags.writeable or any(stride < 0 for stride in value.strides):
        value = value.copy()  # torch cannot view read-only or reversed memory
    return torch.from_numpy(value)


def require_finite(values: Tensor, name: str, *, metric: str) -> None:
    """Raise NonFinite with the count and the first index when ``values`` holds NaN or infinity."""
    if math.isfinite(float(values.sum(dtype=torch.float64))):
        return  # one NaN or infinity would have spoilt the sum; only an overflow needs the second look
    good = torch.isfinite(values)
    if not bool(good.all()):
        bad = (~good).nonzero()
        first = tuple(bad[0].tolist())
        raise NonFinite(f"{name} holds {len(bad)} NaN or infinite values, the first at index {first}", where=metric)


def feature_rows(value: Array, name: str, *, metric: str, minimum: int = 1) -> Tensor:
    """Return features [n,d] as a finite float32 or float64 tensor.

    Raises EmptyInput (no rows), TooFew (fewer than ``minimum``), ShapeMismatch (not 2-D, not floating), NonFinite.
    """
    rows = as_tensor(value, name, metric=metric)
    if rows.ndim != 2 or rows.shape[1] == 0 or not rows.is_floating_point():
        got = f"{rows.dtype} {tuple(rows.shape)}"
        raise ShapeMismatch(f"{name} is {got}, expected floating-point rows [n, d] with d >= 1", where=metric)
    if len(rows) == 0:
        raise EmptyInput(f"{name} has no rows", where=metric)
    if len(rows) < minimum:
        raise TooFew(f"{name} has {len(rows)} rows, expected at least {minimum}", where=metric)
    require_finite(rows, name, metric=metric)
    return rows if rows.dtype == torch.float64 else rows.float()


def feature_pair(
    fake: Array, real: Array, *, metric: str, minimum: int = 1, allow_unequal: bool = True
) -> tuple[Tensor, Tensor]:
    """Return both sides checked, of one dtype and on the device of ``fake``.

    Raises what ``feature_rows`` raises, ShapeMismatch for different d, CountMismatch for different n unless allowed.
    """
    x = feature_rows(fake, "fake", metric=metric, minimum=minimum)
    y = feature_rows(real, "real", metric=metric, minimum=minimum)
    if x.shape[1] != y.shape[1]:
        raise ShapeMismatch(f"fake is {tuple(x.shape)} and real is {tuple(y.shape)}: d differs", where=metric)
    if len(x) != len(y) and not allow_unequal:
        raise CountMismatch(
            f"fake has {len(x)} rows, real has {len(y)}",
            where=metric,
            remedy="The bias depends on n: use equal n, or allow_unequal=True and both counts in the column name.",
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(device=x.device, dtype=dtype)
