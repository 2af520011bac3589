"""Pairs of labels counted exactly, in int64: the one pass over the pixels that all segmentation scores come from.

On the CPU a pixel becomes one 16-bit code (truth, prediction, lane). Four neighbours are counted in four tables,
because runs of one label would otherwise wait for their own increment; neither ignored pixels nor labels out of range
cost a pass of their own, since both leave traces in rows and columns that a legal pixel cannot reach.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.metrics.checks import Array, as_tensor
from harness.metrics.errors import EmptyInput, MetricError, OutOfRange, ShapeMismatch

TRUTHS, PREDICTIONS, LANES = 256, 32, 4
LANE_BITS = torch.tensor([lane * TRUTHS * PREDICTIONS for lane in range(LANES)], dtype=torch.int16).view(torch.int64)
BLOCK, WIDE_BLOCK = 1 << 19, 1 << 22
WIDER = {torch.bool: torch.uint8, torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}


class LabelOutOfRange(MetricError):
    """A label that is neither a class nor the ignored one."""


def count_pairs(
    preds: Array, target: Array, *, rows: int, columns: int, ignore_index: int | None, metric: str
) -> np.ndarray:
    """Count pairs of a truth in 0..rows-1 and a prediction in 0..columns-1: int64 [rows,columns].

    ``preds`` and ``target`` are maps of one shape and of any integer type, on any device; pixels whose truth is
    ``ignore_index`` are left out. Raises EmptyInput (no pixels), ShapeMismatch, LabelOutOfRange, OutOfRange.
    """
    if rows < 1 or columns < 1:
        raise OutOfRange(f"{rows} and {columns} labels, expected at least 1 each", where=metric)
    found, truth = _labels(preds, "preds", metric), _labels(target, "target", metric)
    if found.shape != truth.shape:
        raise ShapeMismatch(f"preds are {tuple(found.shape)} and target {tuple(truth.shape)}", where=metric)
    if truth.numel() == 0:
        raise EmptyInput(f"preds and target are empty: {tuple(truth.shape)}", where=metric)
    found = found.to(truth.device)
    narrow = rows < TRUTHS and columns < PREDICTIONS and (ignore_index is None or 0 <= ignore_index < TRUTHS)
    if narrow and truth.device.type == "cpu" and (table := _count_bytes(found, truth)) is not None:
        if ignore_index is not None:
            table[ignore_index] = 0
        counts = table[:rows, :columns]
        if counts.sum() == table.sum():
            return counts.copy()
    return _count_wide(found, truth, rows, columns, ignore_index, metric)


def _labels(value: Array, name: str, metric: str) -> Tensor:
    labels = as_tensor(value, name, metric=metric)
    if labels.is_floating_point() or labels.is_complex():
        raise ShapeMismatch(f"{name} are {labels.dtype}, expected integers", where=metric)
    return labels.to(WIDER.get(labels.dtype, labels.dtype))


def _count_bytes(preds: Tensor, target: Tensor) -> np.ndarray | None:
    """Count labels of one byte: int64 [256,32], predictions from 31 on in the last column; None if some do not fit."""
    counts = torch.zeros(LANES * TRUTHS * PREDICTIONS, dtype=torch.int64)
    found, truth = preds.reshape(-1), target.reshape(-1)
    for start in range(0, len(truth), BLOCK):
        column, row = (_as_bytes(labels[start : start + BLOCK]) for labels in (found, truth))
        if column is None or row is None:
            return None
        codes = column.to(torch.int16).clamp_(max=PREDICTIONS - 1).add_(row.to(torch.int16), alpha=PREDICTIONS)
        codes[: len(codes) // LANES * LANES].view(torch.int64).bitwise_or_(LANE_BITS)
        counts += torch.bincount(codes, minlength=len(counts))
    return counts.reshape(LANES, TRUTHS, PREDICTIONS).sum(0).numpy()


def _as_bytes(labels: Tensor) -> Tensor | None:
    if labels.dtype == torch.uint8:
        return labels
    low, high = (int(value) for value in labels.aminmax())
    return labels.to(torch.uint8) if low >= 0 and high < TRUTHS else None


def _count_wide(
    preds: Tensor, target: Tensor, rows: int, columns: int, ignore_index: int | None, metric: str
) -> np.ndarray:
    """Count labels of any size on any device, and find the one that is out of range."""
    counts = torch.zeros(rows * columns, dtype=torch.int64, device=target.device)
    found, truth = preds.reshape(-1), target.reshape(-1)
    for start in range(0, len(truth), WIDE_BLOCK):
        column, row = (labels[start : start + WIDE_BLOCK].long() for labels in (found, truth))
        valid = torch.ones_like(row, dtype=torch.bool) if ignore_index is None else row != ignore_index
        for labels, limit, name in ((row, rows, "target"), (column, columns, "preds")):
            if bool((bad := valid & ((labels < 0) | (labels >= limit))).any()):
                where = int(bad.nonzero()[0])
                index = tuple(int(i) for i in np.unravel_index(start + where, target.shape))
                ignored = "" if ignore_index is None else f" (truth {ignore_index} is ignored)"
                raise LabelOutOfRange(
                    f"{name} has label {int(labels[where])} at index {index}, expected 0..{limit - 1}{ignored}",
                    where=metric,
                )
        counts += torch.bincount((row * columns + column)[valid], minlength=rows * columns)
    return counts.reshape(rows, columns).cpu().numpy()
