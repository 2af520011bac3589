"""Checks that the anomaly metrics make of scores, labels, maps and masks; NumPy arrays come out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.metrics.checks import Array
from harness.metrics.errors import EmptyInput, NonFinite, OutOfRange, ShapeMismatch


def labelled_scores(scores: Array, labels: Array, *, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scores float [n] and labels bool [n]. Raises ShapeMismatch, EmptyInput, NonFinite."""
    return _paired(scores, labels, ("scores", "labels"), 1, metric)


def score_maps(scores: Array, masks: Array, *, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return score maps float [N,H,W] and masks bool [N,H,W]. Raises ShapeMismatch, EmptyInput, NonFinite."""
    return _paired(scores, masks, ("score maps", "masks"), 3, metric)


def _paired(
    scores: Array, truth: Array, names: tuple[str, str], dimensions: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    values, labels = array(scores), array(truth)
    if values.ndim != dimensions or values.shape != labels.shape:
        wanted = "[n]" if dimensions == 1 else "[N, H, W]"
        got = f"{names[0]} are {values.shape} and {names[1]} {labels.shape}"
        raise ShapeMismatch(f"{got}, expected both {wanted}", where=metric)
    return finite(values, names[0], metric=metric), binary(labels, names[1], metric=metric)


def array(value: Array) -> np.ndarray:
    """Return ``value`` as a NumPy array, without a copy where possible; bfloat16 becomes float32."""
    if not isinstance(value, Tensor):
        return np.asarray(value)
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def finite(values: np.ndarray, name: str, *, metric: str) -> np.ndarray:
    """Return ``values`` as float32 or float64: what is neither becomes the smallest of the two that holds it exactly.

    Raises EmptyInput, NonFinite, ShapeMismatch (not numbers).
    """
    if values.dtype.kind not in "fiu":
        raise ShapeMismatch(f"{name} are {values.dtype}, expected numbers", where=metric)
    if values.size == 0:
        raise EmptyInput(f"{name} are empty: {values.shape}", where=metric)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):  # both pass NaN on
        bad = np.argwhere(~np.isfinite(values))
        first = tuple(int(i) for i in bad[0])
        raise NonFinite(f"{name} hold {len(bad)} NaN or infinite values, the first at index {first}", where=metric)
    return values


def binary(values: np.ndarray, name: str, *, metric: str) -> np.ndarray:
    """Return ``values`` as booleans; numbers must all be 0 or 1. Raises ShapeMismatch, NonFinite."""
    if values.dtype == bool:
        return values
    if values.dtype.kind == "f" and values.size:
        values = finite(values, name, metric=metric)
    ones = values == 1
    if not np.all(ones | (values == 0)):
        raise ShapeMismatch(f"{name} hold values other than 0 and 1", where=metric, remedy="Binarise them first.")
    return ones


def fraction(value: float, name: str, *, metric: str) -> float:
    """Return ``value`` if it lies in (0, 1]. Raises OutOfRange."""
    if not 0 < value <= 1:
        raise OutOfRange(f"{name} {value} is outside (0, 1]", where=metric)
    return float(value)
