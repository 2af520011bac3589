"""Protocol of the generators of images with depth (DepthGAN): quality of both, rotation, agreement, independence.

Every distance between sets compares ``n`` generated pictures with the first ``n`` of split ``test``. Yaw and depth are
read by judges trained on split ``oracle``; their own errors stand beside every score.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics import binned_depth, depth, depth_space, fid, kid, manifold, overfitting, rgbd_structure, rotation
from harness.metrics.card import MetricCard
from harness.types import Cell, Context, Generates, Scores
from suites.protocols.generation import card as card_of_images
from suites.protocols.generation import images, sizes
from suites.protocols.generation.kept_pictures import ours
from suites.protocols.generation.overfitting import score_gap
from suites.protocols.generation.sheet import Sheet, channels_first
from suites.protocols.rgbd import agreement, card, distances, drawing, pictures, references, rulers, views
from suites.protocols.rgbd.coding import FIELD, Coding, signed

METRICS: tuple[MetricCard, ...] = (
    *fid.CARDS, *kid.CARDS, *manifold.CARDS, *depth.CARDS, *overfitting.CARDS, *card_of_images.CARDS,
    *depth_space.CARDS, *rotation.CARDS, *rgbd_structure.CARDS, *binned_depth.CARDS, *card.CARDS,
)  # fmt: skip
REQUIRES: tuple[str, ...] = ("generates",)
TRAIN: tuple[str, tuple[str, ...]] = ("train", ("image", FIELD))
NO_DEPTH, NO_VIEWS = "no depth", "no several views of one room"
NO_JUDGES = "no judges: data without exact labels"


def predict(model: Generates, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, NDArray]:
    """Draw everything that is scored from a trained model; see ``drawing.draw`` for the arrays."""
    return drawing.draw(model, dataset, sizes.sizes(settings, dataset.spec), context)


def predict_reference(name: str, dataset: Dataset, settings: Mapping[str, Any], seed: int) -> dict[str, NDArray]:
    """Predictions of a floor or of ``oracle:held_out``; see ``references.reference``."""
    return references.reference(name, dataset, sizes.sizes(settings, dataset.spec), seed)


def score(
    predictions: Mapping[str, NDArray], dataset: Dataset, settings: Mapping[str, Any], judges_root: Path, cell: Cell
) -> Scores:
    """Score the predictions of one cell; what it cannot have (no depth, no views) is NaN with the reason as a note."""
    wanted, sheet, coding = sizes.sizes(settings, dataset.spec), Sheet(), Coding.of(dataset.spec)
    judges, prior = rulers.judges_of(dataset, judges_root), dataset.spec.prior
    shown = predictions["images"]
    real = dataset.split("test").view(("image", FIELD))
    spaces = rulers.spaces_of(judges, inception=wanted.inception)
    images.score_images(sheet, channels_first(shown), channels_first(real["image"][: len(shown)]), spaces)
    score_gap(sheet, predictions)
    agreement.score_head(sheet, predictions, dataset)
    if judges is not None:
        sheet.notes |= rulers.credentials(judges)
    if judges is None or "views" not in predictions:
        sheet.lack(views.YAW, NO_JUDGES if judges is None else NO_VIEWS)
    else:
        views.score_yaw(sheet, predictions, judges)
    judged = None
    if "depth" not in predictions:
        columns = (*distances.columns(len(shown)), *agreement.STRUCTURE, *agreement.JUDGED, *agreement.SWAPS)
        sheet.lack((*columns, *views.ROTATION), NO_DEPTH)
    else:
        fake = (2 * coding.level(predictions["depth"]) - 1).astype(np.float32)
        distances.score_depth_maps(sheet, fake, signed(np.asarray(real[FIELD][: len(fake)])), spaces[1:])
        some = slice(0, wanted.geometry)
        agreement.score_structure(sheet, shown[some], predictions["depth"][some], coding)
        agreement.score_swaps(sheet, predictions, coding)
        if judges is None or prior is None:
            sheet.lack(agreement.JUDGED, NO_JUDGES)
        else:
            judged = agreement.score_judged(sheet, shown[some], predictions["depth"][some], judges, dataset, prior)
        if prior is None or "views_depth" not in predictions:
            sheet.lack(views.ROTATION, NO_VIEWS)
        else:
            views.score_rotation(sheet, predictions, coding, prior)
    return Scores(
        metrics=sheet.metrics,
        per_sample=sheet.per_sample,
        pictures=ours(pictures.pictures_of(predictions, judged, coding, prior), cell),
        notes=sheet.notes,
    )
