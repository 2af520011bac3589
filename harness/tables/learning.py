"""Learning curves of trained rows, from the small arrays ``probe_*`` of their cells, and the table of their peaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.store import StoredResult
from harness.tables.metric_tables import name
from harness.tables.rows import Row, group_of
from harness.tables.stats import mean_and_deviation
from harness.tables.text import cell, count, fixed, markdown_table
from harness.types import StoreError

READINGS = (
    "- means over seeds ± sample standard deviation of the measured points, which select nothing; step: median over "
    "seeds\n"
    "- fall: peak less end of each seed; never negative, so a noisy flat curve has a small one too\n"
    "- loss: mean training loss since the point before, at the step of the peak and at the end: an AUROC that falls "
    "while the loss still shrinks is the mark of the identical shortcut\n"
)
PREFIX, STEP, LOSS = "probe_", "step", "loss"
SCORES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC"}
"""Curves that can have a peak."""


@dataclass(frozen=True)
class Learning:
    """The curves of one row: ``steps`` [T] and, by name, [seeds, T] with NaN where nothing was measured."""

    row: Row
    steps: NDArray[np.float64]
    curves: Mapping[str, NDArray[np.float64]]


def learning_of(results: Iterable[StoredResult], rows: Sequence[Row]) -> list[Learning]:
    """The rows whose scores were measured along the training, in their order.

    A seed measured at other steps than the first one is left out.
    """
    found: dict[tuple[object, ...], list[Mapping[str, NDArray[np.float64]]]] = {}
    for result in sorted(results, key=lambda r: (r.cell.seed, r.key)):
        if result.status == "done" and result.cell.role == "method":
            curves = _curves(result)
            if any(key in curves for key in SCORES):
                found.setdefault(group_of(result.cell), []).append(curves)
    return [_learning(row, found[row.group]) for row in rows if row.group in found]


def _curves(result: StoredResult) -> dict[str, NDArray[np.float64]]:
    try:
        arrays = {key: array for key, array in result.per_sample.items() if key.startswith(PREFIX)}
    except StoreError:
        return {}
    curves = {key.removeprefix(PREFIX): np.asarray(array, np.float64) for key, array in arrays.items()}
    shape = curves[STEP].shape if STEP in curves else ()
    return {key: curve for key, curve in curves.items() if curve.shape == shape and len(shape) == 1}


def _learning(row: Row, seeds: Sequence[Mapping[str, NDArray[np.float64]]]) -> Learning:
    steps = seeds[0][STEP]
    alike = [curves for curves in seeds if np.array_equal(curves[STEP], steps)]
    names = sorted(set.intersection(*(set(curves) for curves in alike)) - {STEP})
    return Learning(row, steps, {key: np.stack([curves[key] for curves in alike]) for key in names})


def peaks_table(learned: Sequence[Learning]) -> str:
    """Peak, end and fall of every AUROC curve, and what the training loss did meanwhile; empty without a curve."""
    scores = [key for key in SCORES if any(key in one.curves for one in learned)]
    if not scores:
        return ""
    header = ["", "steps", "seeds"]
    for key in scores:
        header += [f"{SCORES[key]}: peak (at step)", "end", "fall", "loss: peak → end"]
    lines = [
        [cell(name(one.row)), count(int(one.steps[-1])), str(len(next(iter(one.curves.values()))))]
        + [text for key in scores for text in _peak(one, key)]
        for one in learned
    ]
    return markdown_table(header, lines)


def _peak(one: Learning, key: str) -> list[str]:
    curves = one.curves.get(key, np.zeros((0, len(one.steps))))
    whole = np.isfinite(curves).all(axis=1)
    if not whole.any():
        return ["n/a", "", "", ""]
    curves = curves[whole]
    at = curves.argmax(axis=1)
    line = np.arange(len(curves))
    peak, end = curves[line, at], curves[:, -1]
    losses = one.curves[LOSS][whole] if LOSS in one.curves else np.full_like(curves, np.nan)
    step = count(int(np.median(one.steps[at])))
    return [
        f"{_text(peak)} ({step})",
        _text(end),
        _text(peak - end),
        f"{_loss(losses[line, at])} → {_loss(losses[:, -1])}",
    ]


def _text(values: NDArray[np.float64]) -> str:
    mean, std = mean_and_deviation(values.tolist())
    return f"{fixed(mean, 3)} ± {fixed(std, 3)}" if len(values) > 1 else fixed(mean, 3)


def _loss(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3g}" if np.isfinite(values).all() else "n/a"
