"""The identical shortcut in numbers: does a network rebuild a defect, or what should have been there?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from suites.protocols.generation.sheet import Sheet

NO_RECONSTRUCTION, NO_TWIN = "rebuilds no features", "no clean twins in these data"
NO_CURVES = "measured for networks that rebuild features only"
COPYING = ("shortcut_ratio", "error_defect", "error_good", "error_ratio")
CURVES = (
    "image_auroc_peak", "image_auroc_fall", "pixel_auroc_peak", "pixel_auroc_fall", "loss_final", "loss_after_peak",
)  # fmt: skip


def copying(errors: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Columns of the arrays that ``inference.rebuilt_errors`` gives.

    ``error_defect`` and ``error_good`` are mean squared feature errors in the cells of defects and on good images (1 =
    not rebuilt at all, where features are standardised), ``error_ratio`` the first over the second. ``shortcut_ratio``
    is the error to the defective input over that to its clean twin in the same cells, as a ratio of means: 0 for a
    network that copies, above 1 for one that rebuilds the normal counterpart better than the defect.
    """
    if not errors:
        return {}
    to_input, good = _mean(errors["to_input"]), _mean(errors["good"])
    to_twin = _mean(errors["to_twin"]) if "to_twin" in errors else math.nan
    return {
        "shortcut_ratio": to_input / to_twin if to_twin > 0 else math.nan,
        "error_defect": to_input,
        "error_good": good,
        "error_ratio": to_input / good if good > 0 else math.nan,
    }


def score_copying(sheet: Sheet, errors: Mapping[str, NDArray[np.float64]]) -> None:
    """Enter the columns of ``copying``; a detector that rebuilds nothing lacks them."""
    values = copying(errors)
    for column in COPYING:
        sheet.put(column, values.get(column, math.nan), NO_TWIN if errors else NO_RECONSTRUCTION)


def score_curves(sheet: Sheet, curves: Mapping[str, NDArray[np.float64]]) -> None:
    """Enter peak and fall of the learning curves ``probe_*`` [T], and keep the curves.

    A fall is the peak minus the last value, at least 0; ``loss_after_peak`` is the last training loss over that at the
    peak of pixel AUROC: below 1 where the loss kept falling. Peaks were found on the test split: they are no results.
    """
    sheet.per_sample |= {name: values for name, values in curves.items() if name.startswith("probe_")}
    if "probe_pixel_auroc" not in curves:
        sheet.lack(CURVES, NO_CURVES)
        return
    for name in ("image_auroc", "pixel_auroc"):
        values = curves[f"probe_{name}"]
        undefined = bool(np.isnan(values).all())
        peak = math.nan if undefined else float(np.nanmax(values))
        sheet.put(f"{name}_peak", peak, "undefined along the whole training")
        sheet.put(f"{name}_fall", peak - float(values[-1]), "undefined along the whole training")
    loss, pixel = curves["probe_loss"], curves["probe_pixel_auroc"]
    best = 0 if np.isnan(pixel).all() else int(np.nanargmax(pixel))
    sheet.put("loss_final", float(loss[-1]))
    sheet.put("loss_after_peak", float(loss[-1] / loss[best]) if loss[best] > 0 else math.nan, "no loss at the peak")


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
