"""Protocol of suite anomaly: detection and localisation of defects, and whether a network copies what it sees.

Metrics are computed per category and averaged without weights; labels come from the data's folders or recipe, never
from resized masks; nothing is flipped when it falls below 0.5. The last step is scored; learning curves are measured on
the test split and select nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics import anomaly as metrics
from harness.metrics.card import MetricCard
from harness.types import Cell, Context, Scores, ScoresAnomalies, Unsupported
from suites.protocols.anomalies import card, copying, detection, inference, overlays, references
from suites.protocols.generation.sheet import Sheet

METRICS: tuple[MetricCard, ...] = (*metrics.CARDS, *card.CARDS)
REQUIRES: tuple[str, ...] = ("scores_anomalies",)
TRAIN: tuple[str, tuple[str, ...]] = ("train", ("image", "category"))
ERRORS = "errors_"


def predict(
    model: ScoresAnomalies, dataset: Dataset, settings: Mapping[str, Any], context: Context
) -> dict[str, NDArray]:
    """Scores [N] and maps [N,H,W] of the test split, ``errors_*`` [N] of ``inference.rebuilt_errors``, and the name of
    the frozen ``features`` as bytes of text."""
    split = dataset.split("test")
    truth = detection.truth_of(split)
    if model.separate and truth.whole:
        raise Unsupported("one model per category cannot judge images of other classes", where="anomaly")
    errors = inference.rebuilt_errors(model, split, truth, context)
    named = {f"{ERRORS}{name}": values for name, values in errors.items()}
    return {**inference.answers(model, split, context), **named, "features": inference.features_of(model)}


def predict_reference(name: str, dataset: Dataset, settings: Mapping[str, Any], seed: int) -> dict[str, NDArray]:
    """Predictions of a floor or oracle row; see ``references.reference``."""
    return dict(references.reference(name, dataset, seed))


def probe(model: Any, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, float]:
    """Mean image and pixel AUROC and the numbers of copying, for the learning curves; nothing for a detector that
    rebuilds no features, because only those learn step by step."""
    split = dataset.split("test")
    sheet, truth = Sheet(), detection.truth_of(split)
    errors = inference.rebuilt_errors(model, split, truth, context)
    if not errors:
        return {}
    made = inference.answers(model, split, context)
    detection.score_detection(sheet, made["scores"], made["maps"], truth)
    wanted = ("image_auroc", "pixel_auroc")
    return {**{name: sheet.metrics[name] for name in wanted if name in sheet.metrics}, **copying.copying(errors)}


def score(
    predictions: Mapping[str, NDArray], dataset: Dataset, settings: Mapping[str, Any], judges_root: Path, cell: Cell
) -> Scores:
    """Score the answers of one cell; what it cannot have (no reconstruction, no twins) is NaN with the reason."""
    split = dataset.split("test")
    sheet, truth = Sheet(), detection.truth_of(split)
    maps = predictions["maps"]
    scores = maps.mean((1, 2)) if truth.whole else predictions["scores"]
    detection.score_detection(sheet, scores, maps, truth)
    copying.score_copying(
        sheet, {name.removeprefix(ERRORS): a for name, a in predictions.items() if name.startswith(ERRORS)}
    )
    copying.score_curves(sheet, predictions)
    sheet.per_sample["scores"] = scores
    if len(features := predictions.get("features", ())):
        sheet.notes["features"] = bytes(features).decode()
    # Published images are not copied into results.
    shown = None if dataset.spec.family == "folder" else overlays.overlays(split, maps, truth)
    return Scores(
        metrics=sheet.metrics,
        per_sample=sheet.per_sample,
        pictures={} if shown is None else {"overlays": shown},
        notes=sheet.notes,
    )
