"""What the per-sample metrics share: checked maps, float64 blocks over the samples, and the reduction to a mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from harness.metrics.checks import Array, as_tensor, require_finite
from harness.metrics.errors import EmptyInput, ShapeMismatch, UnknownOption

Reduction = Literal["mean", "none"]
BLOCK_ELEMENTS = 1 << 21  # elements per float64 block: 16 MiB a temporary


def float_array(value: Array, name: str, shape: tuple[int | None, ...], *, metric: str) -> Tensor:
    """Return a finite floating-point tensor of ``shape`` (None: any size of at least 1).

    Raises ShapeMismatch (another shape or an integer dtype), EmptyInput (a size is zero), NonFinite.
    """
    tensor = as_tensor(value, name, metric=metric)
    _require_shape(tensor, name, shape, "a floating-point array", tensor.is_floating_point(), metric)
    require_finite(tensor, name, metric=metric)
    return tensor


def float_pair(preds: Array, target: Array, shape: tuple[int | None, ...], *, metric: str) -> tuple[Tensor, Tensor]:
    """Return prediction and truth, both as ``float_array`` and of equal shape, on the device of ``preds``."""
    p = float_array(preds, "preds", shape, metric=metric)
    t = float_array(target, "target", shape, metric=metric).to(p.device)
    if p.shape != t.shape:
        raise ShapeMismatch(f"preds is {tuple(p.shape)}, target is {tuple(t.shape)}", where=metric)
    return p, t


def bool_mask(mask: Array | None, shape: tuple[int, ...], device: torch.device, *, metric: str) -> Tensor:
    """Return the mask, or all-true for None. Raises ShapeMismatch (not bool, another shape), EmptyInput (all false)."""
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    tensor = as_tensor(mask, "mask", metric=metric).to(device)
    _require_shape(tensor, "mask", shape, "a bool array", tensor.dtype == torch.bool, metric)
    if not bool(tensor.any()):
        raise EmptyInput("the mask is empty in every sample", where=metric)
    return tensor


def integer_array(value: Array, name: str, shape: tuple[int | None, ...], *, metric: str) -> Tensor:
    """Return an int64 tensor of ``shape``. Raises ShapeMismatch, EmptyInput."""
    tensor = as_tensor(value, name, metric=metric)
    integral = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    _require_shape(tensor, name, shape, "an integer array", integral, metric)
    return tensor.long()


def _require_shape(
    tensor: Tensor, name: str, shape: tuple[int | None, ...], kind: str, right_kind: bool, metric: str
) -> None:
    fits = tensor.ndim == len(shape) and all(w is None or w == g for w, g in zip(shape, tensor.shape, strict=False))
    if not (fits and right_kind):
        wanted = ", ".join("*" if size is None else str(size) for size in shape)
        raise ShapeMismatch(
            f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {kind} of shape [{wanted}]", where=metric
        )
    if tensor.numel() == 0:
        raise EmptyInput(f"{name} is empty: {tuple(tensor.shape)}", where=metric)


def in_blocks(compute: Callable[..., Tensor], *arrays: Tensor, elements: int = BLOCK_ELEMENTS) -> Tensor:
    """Concatenate ``compute`` over blocks of samples, so that float64 copies never hold the whole set.

    Floating-point arrays reach ``compute`` as float64, others as they are; all have the samples first.
    """
    step = max(1, elements * len(arrays[0]) // max(array.numel() for array in arrays))
    parts = [
        compute(*(a[i : i + step].double() if a.is_floating_point() else a[i : i + step] for a in arrays))
        for i in range(0, len(arrays[0]), step)
    ]
    return torch.cat(parts)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` [N,...] where ``mask`` [N,...] holds, per sample [N]; NaN for an empty mask."""
    values, mask = values.flatten(1), mask.flatten(1)
    return torch.where(mask, values, 0.0).sum(1) / mask.sum(1)


@overload
def reduced(values: Tensor, reduction: Literal["mean"], *, metric: str) -> float: ...
@overload
def reduced(values: Tensor, reduction: Literal["none"], *, metric: str) -> np.ndarray: ...
@overload
def reduced(values: Tensor, reduction: Reduction, *, metric: str) -> float | np.ndarray: ...
def reduced(values: Tensor, reduction: Reduction, *, metric: str) -> float | np.ndarray:
    """Per-sample values as float64 [N], or their mean over the samples that are not NaN (NaN when none is left).

    Count the NaN of ``reduction="none"`` for the number of undefined samples. Raises UnknownOption.
    """
    if reduction == "none":
        return values.double().cpu().numpy()
    if reduction == "mean":
        return float(values.double().nanmean())
    raise UnknownOption(f"unknown reduction {reduction!r}", where=metric, nearest=("mean", "none"))
