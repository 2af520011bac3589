"""Protocol of suite 3d_aware: image quality, pose control and geometry of a generator of objects.

Every image-set distance compares ``n`` generated images with the first ``n`` of split ``test``. Pose and depth are read
by judges trained on split ``oracle``; their SHA-256 and their own errors stand in the notes of every result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.judges.shelf import Judges, open_judges
from harness.metrics import consistency, depth, fid, isosurface, kid, manifold, pose, relief
from harness.metrics import overfitting as overfit
from harness.metrics.card import MetricCard
from harness.metrics.features import FeatureSpace, feature_space
from harness.types import (
    Cell,
    Context,
    Discriminates,
    Generates,
    MissingAsset,
    RadianceField,
    ReadsDepth,
    Scores,
    Unsupported,
)
from suites.protocols.generation import (
    card,
    geometry,
    heads,
    images,
    inversion,
    overfitting,
    pictures,
    poses,
    references,
    sampling,
)
from suites.protocols.generation.exact import exact_targets
from suites.protocols.generation.inversion_scores import score_inversion
from suites.protocols.generation.kept_pictures import ours
from suites.protocols.generation.meshes import densities
from suites.protocols.generation.shape_pictures import shape_pictures
from suites.protocols.generation.shapes import RELIEF, score_relief, score_solids
from suites.protocols.generation.sheet import Sheet, channels_first
from suites.protocols.generation.sizes import sizes
from suites.protocols.generation.style_pictures import style_pictures

METRICS: tuple[MetricCard, ...] = (
    *fid.CARDS, *kid.CARDS, *manifold.CARDS, *pose.CARDS, *depth.CARDS, *consistency.CARDS, *overfit.CARDS,
    *relief.CARDS, *isosurface.CARDS, *card.CARDS,
)  # fmt: skip
REQUIRES: tuple[str, ...] = ("generates",)
TRAIN: tuple[str, tuple[str, ...]] = ("train", ("image",))
NO_GEOMETRY, NO_SWEEP, NO_JUDGES = "no geometry", "no exact views of this row", "no judges: data without exact labels"


def predict(model: Generates, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, NDArray]:
    """Draw everything that is scored from a trained model; see ``sampling.draw`` for the arrays, ``overfitting.logits``
    where its discriminator can be asked, ``inversion.invert`` where it is a radiance field, whose ``densities``
    [M,r,r,r] of prior samples are kept too, and ``heads.read`` where it reads depth from pictures."""
    wanted, prior = sizes(settings, dataset.spec), dataset.spec.prior
    arrays = sampling.draw(model, prior, wanted, context)
    if isinstance(model, Discriminates):
        fakes = channels_first(arrays["images"][: overfitting.JUDGED]).float() / 127.5 - 1
        arrays |= overfitting.logits(model, dataset, fakes, context)
    if isinstance(model, RadianceField) and prior is not None:
        latents = model.latents(wanted.meshes, context.generator)
        with torch.no_grad():
            codes = model.codes(latents)
        arrays["densities"] = densities(model, codes, wanted.grid)
        truth = exact_targets(dataset.spec, wanted)
        if truth:
            arrays |= truth | inversion.invert(model, truth, prior, wanted, context)
    if isinstance(model, ReadsDepth):
        arrays |= heads.read(model, dataset, wanted.geometry, context)
    return arrays


def probe(model: Any, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, float]:
    """The discriminator's gap between training and held-out images along a training; see ``overfitting.measure``."""
    return overfitting.measure(model, dataset, context) if isinstance(model, Discriminates) else {}


def predict_reference(name: str, dataset: Dataset, settings: Mapping[str, Any], seed: int) -> dict[str, NDArray]:
    """Predictions of a floor or of ``oracle:held_out``; see ``references.reference``."""
    return references.reference(name, dataset, sizes(settings, dataset.spec), seed)


def score(
    predictions: Mapping[str, NDArray], dataset: Dataset, settings: Mapping[str, Any], judges_root: Path, cell: Cell
) -> Scores:
    """Score the predictions of one cell; what it cannot have (no depth, no pose) is NaN with the reason as a note."""
    prior, wanted, sheet = dataset.spec.prior, sizes(settings, dataset.spec), Sheet()
    judges = _judges(dataset, judges_root)
    real = dataset.split("test").view(("image",))["image"][: len(predictions["images"])]
    spaces = _spaces(judges, inception=wanted.inception)
    diversity = images.score_images(sheet, channels_first(predictions["images"]), channels_first(real), spaces)
    overfitting.score_gap(sheet, predictions)
    trained = int(cell.config.get("train_images", 0))
    neighbours = overfitting.score_memory(sheet, predictions["images"], dataset, spaces[0], trained)
    judged = None
    if judges is None or prior is None:
        sheet.lack((*poses.COLUMNS, *geometry.COLUMNS, *RELIEF, *geometry.REPROJECTION), NO_JUDGES)
        sheet.lack(geometry.CONSISTENCY, NO_JUDGES)
    else:
        sheet.notes |= _credentials(judges)
        _score_poses(sheet, predictions, judges, dataset, collapsed=diversity < images.COLLAPSED)
        judged = _score_geometry(sheet, predictions, judges, dataset)
        mean_map = references.mean_depth_map(dataset, "val")
        heads.score_head(sheet, predictions, dataset, mean_map)
        score_inversion(sheet, predictions, dataset, mean_map)
    score_solids(sheet, predictions)
    shown = pictures.pictures_of(predictions, judged, prior) | style_pictures(predictions, neighbours)
    if prior is not None:
        shown |= shape_pictures(predictions, dataset, prior)
    return Scores(
        metrics=sheet.metrics,
        per_sample=sheet.per_sample,
        pictures=ours(shown, cell),
        notes=sheet.notes,
    )


def _judges(dataset: Dataset, root: Path) -> Judges | None:
    try:
        return open_judges(dataset, root)
    except Unsupported:
        return None


def _spaces(judges: Judges | None, *, inception: bool) -> list[FeatureSpace]:
    spaces = [judges.space if judges is not None else feature_space("random")]
    if inception:
        try:
            spaces.append(feature_space("inception"))
        except MissingAsset:
            return spaces  # no published weights here: there is no such column, and none in its place
    return spaces


def _credentials(judges: Judges) -> dict[str, str]:
    report = judges.report
    return {
        "judges": judges.digest[:12],
        "judge_report": (
            f"azimuth {report['azimuth_mae_deg']:.1f} deg, elevation {report['elevation_mae_deg']:.1f} deg, "
            f"SIDE {report['depth_side_x100']:.2f}, {len(judges.attribute_names)} attributes read"
        ),
    }


def _score_poses(
    sheet: Sheet, predictions: Mapping[str, NDArray], judges: Judges, dataset: Dataset, *, collapsed: bool
) -> None:
    prior = dataset.spec.prior
    assert prior is not None
    if "sweep" not in predictions:
        sheet.lack(poses.COLUMNS, NO_SWEEP)
        return
    poses.score_poses(sheet, predictions, judges, prior, collapsed=collapsed)
    if "tilt" in predictions:
        poses.score_elevation(sheet, predictions, judges)
    if "swap" in predictions:
        poses.score_swap(sheet, predictions["swap"], judges)


def _score_geometry(
    sheet: Sheet, predictions: Mapping[str, NDArray], judges: Judges, dataset: Dataset
) -> NDArray | None:
    prior = dataset.spec.prior
    assert prior is not None
    if "depth" not in predictions:
        sheet.lack((*geometry.COLUMNS, *RELIEF, *geometry.VIEWS), NO_GEOMETRY)
        sheet.lack((*geometry.REPROJECTION, *geometry.CONSISTENCY), NO_GEOMETRY)
        return None
    depth_maps, mask = predictions["depth"], predictions["mask"]
    shown = predictions.get("geometry_images", predictions["images"])[: len(depth_maps)]
    mean_map = references.mean_depth_map(dataset, "val")
    judged = geometry.score_depth(sheet, shown, depth_maps, mask, judges, prior, mean_map)
    score_relief(sheet, depth_maps, mask, judged)
    if "views" in predictions:
        geometry.score_views(sheet, predictions, judges, prior)
    else:
        sheet.lack((*geometry.VIEWS, *geometry.REPROJECTION, *geometry.CONSISTENCY), NO_SWEEP)
    return judged.numpy()
