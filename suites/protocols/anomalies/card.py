"""Cards of what only this protocol measures: the identical shortcut, and learning curves in numbers."""

from __future__ import annotations

import math

from harness.metrics.card import Direction, MetricCard


def _card(name: str, better: Direction, low: float = 0.0, high: float = math.inf, unit: str = "1") -> MetricCard:
    return MetricCard(name, unit=unit, better=better, range=(low, high))


SHORTCUT_RATIO = _card("shortcut_ratio", "higher")
ERROR_DEFECT = _card("error_defect", "none", unit="mean squared feature error")
ERROR_GOOD = _card("error_good", "none", unit="mean squared feature error")
ERROR_RATIO = _card("error_ratio", "higher")
IMAGE_PEAK = _card("image_auroc_peak", "none", high=1.0)
IMAGE_FALL = _card("image_auroc_fall", "lower", high=1.0)
PIXEL_PEAK = _card("pixel_auroc_peak", "none", high=1.0)
PIXEL_FALL = _card("pixel_auroc_fall", "lower", high=1.0)
LOSS_FINAL = _card("loss_final", "none")
LOSS_AFTER_PEAK = _card("loss_after_peak", "none")

CARDS: tuple[MetricCard, ...] = (
    SHORTCUT_RATIO, ERROR_DEFECT, ERROR_GOOD, ERROR_RATIO, IMAGE_PEAK, IMAGE_FALL, PIXEL_PEAK, PIXEL_FALL,
    LOSS_FINAL, LOSS_AFTER_PEAK,
)  # fmt: skip
