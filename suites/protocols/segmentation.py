"""Protocol of suite segmentation: mean IoU on held-out images of the domain that has no labels, or few, and the
quality of the labels that a method gives itself.

Confusion matrices are summed over the whole split; IoUs are never averaged over images. The last step is scored, by the
network that the method ships; nothing is selected. The truth of unlabelled images measures and never trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics import calibration, segmentation
from harness.metrics.card import MetricCard
from harness.types import Cell, Context, Scores, Segments
from suites.protocols.generation.sheet import Sheet
from suites.protocols.segmentations import accuracy, inference, pseudo, references, sheets

METRICS: tuple[MetricCard, ...] = (*segmentation.CARDS, *calibration.CARDS)
REQUIRES: tuple[str, ...] = ("segments",)
TRAIN: tuple[str, tuple[str, ...]] = ("labelled", ("image", "label"))
STREAMS: Mapping[str, tuple[str, tuple[str, ...]]] = {"unlabelled": ("unlabelled", ("image",))}
IGNORE = 255
CONFUSION = "confusion_"


def predict(model: Segments, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, NDArray]:
    """``confusion_<network>`` int64 [N,C,C] of the test split, the shipped network first by its name in ``order``, and
    what ``sheets.shown`` says of the shown images."""
    split, classes = dataset.split("test"), _classes(dataset)
    counted = {
        f"{CONFUSION}{name}": inference.confusions(model, name, split, classes, IGNORE, context)
        for name in model.networks
    }
    order = np.frombuffer(",".join(model.networks).encode(), np.uint8)
    return {**counted, "order": order, **sheets.shown(model, split, IGNORE, context)}


def predict_reference(name: str, dataset: Dataset, settings: Mapping[str, Any], seed: int) -> dict[str, NDArray]:
    """Confusion matrices of a floor or oracle row; see ``references.reference``."""
    return {CONFUSION: references.reference(name, dataset, _classes(dataset), IGNORE)}


def probe(model: Any, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, float]:
    """Quality of the pseudo-labels along a training; see ``pseudo.measure``."""
    count = int(settings.get("probe_images", 64))
    return pseudo.measure(model, dataset.split("unlabelled"), count, _classes(dataset), IGNORE, context)


def score(
    predictions: Mapping[str, NDArray], dataset: Dataset, settings: Mapping[str, Any], judges_root: Path, cell: Cell
) -> Scores:
    """Score the matrices and curves of one cell; what it cannot have (pseudo-labels, queues) is NaN with the reason."""
    split, sheet = dataset.split("test"), Sheet()
    order = bytes(predictions.get("order", ())).decode().split(",")
    matrices = {name: np.asarray(predictions[f"{CONFUSION}{name}"]) for name in order}
    evaluated = int(dataset.spec.options.get("evaluate", _classes(dataset)))
    sums = {name: values.sum(0) for name, values in matrices.items()}
    accuracy.score_matrices(sheet, sums, _names(dataset), evaluated)
    if cell.role == "method":
        pseudo.score_curves(sheet, predictions)
        sheet.notes["network"] = order[0]
    # Per image, for intervals over images: the sums of any subset give its IoUs.
    sheet.per_sample["confusion"] = matrices[order[0]].astype(np.float64)
    drawn = "shown_prediction" in predictions and dataset.spec.family != "folder"
    # Published images are not copied into results.
    pictures = {"predictions": sheets.sheet(split, dict(predictions), IGNORE)} if drawn else {}
    return Scores(metrics=sheet.metrics, per_sample=sheet.per_sample, pictures=pictures, notes=sheet.notes)


def _classes(dataset: Dataset) -> int:
    return int(dataset.spec.options["classes"])


def _names(dataset: Dataset) -> tuple[str, ...]:
    return tuple(str(name).replace(" ", "_") for name in dataset.split("test").index["classes"])
