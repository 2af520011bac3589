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
"""Curves whose peak and fall are told."""
MEASURED = (*SCORES, "pl_acc", "miou", "d_gap")
"""A row with one of these has curves."""


@dataclass(frozen=True)
class Learning:
    """The curves of one row: ``steps`` [T] and, by name, [seeds, T] with NaN where nothing was measured, a line for
    each of ``seeds``."""

    row: Row
    steps: NDArray[np.float64]
    curves: Mapping[str, NDArray[np.float64]]
    seeds: tuple[int, ...] = ()


def learning_of(results: Iterable[StoredResult], rows: Sequence[Row]) -> list[Learning]:
    """The rows whose scores were measured along the training, in their order.

    A seed measured at other steps than the first one is left out.
    """
    found: dict[tuple[object, ...], dict[int, Mapping[str, NDArray[np.float64]]]] = {}
    for result in sorted(results, key=lambda r: (r.cell.seed, r.key)):
        if result.status == "done" and result.cell.role == "method":
            curves = _curves(result)
            if any(key in curves for key in MEASURED):
                found.setdefault(group_of(result.cell), {})[result.cell.seed] = curves
    return [_learning(row, found[row.group]) for row in rows if row.group in found]


def _curves(result: StoredResult) -> dict[str, NDArray[np.float64]]:
    try:
        arrays = {key: array for key, array in result.per_sample.items() if key.startswith(PREFIX)}
    except StoreError:
        return {}
    curves = {key.removeprefix(PREFIX): np.asarray(array, np.float64) for key, array in arrays.items()}
    shape = curves[STEP].shape if STEP in curves else ()
    return {key: curve for key, curve in curves.items() if curve.shape == shape and len(shape) == 1}


def _learning(row: Row, by_seed: Mapping[int, Mapping[str, NDArray[np.float64]]]) -> Learning:
    steps = next(iter(by_seed.values()))[STEP]
    alike = {seed: curves for seed, curves in by_seed.items() if np.array_equal(curves[STEP], steps)}
    names = sorted(set.intersection(*(set(curves) for curves in alike.values())) - {STEP})
    curves = {key: np.stack([one[key] for one in alike.values()]) for key in names}
    return Learning(row, steps, curves, tuple(alike))


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
