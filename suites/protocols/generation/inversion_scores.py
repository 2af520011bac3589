"""How well a fitted code explains a real object: its picture, its other views, its depth and its surface."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics.perceptual import peak_signal_noise_ratio
from harness.metrics.shape import box_diagonal, surface_scores
from harness.types import PosePrior
from suites.protocols.generation import geometry
from suites.protocols.generation.exact import exact_meshes
from suites.protocols.generation.meshes import Meshes, seen_points
from suites.protocols.generation.sheet import Sheet, channels_first

PICTURES = ("inv_psnr", "inv_psnr_novel")
SIDES = ("inv_side[x100]", "inv_side_novel[x100]")
FLOORS = ("inv_side_const[x100]", "inv_side_mean_map[x100]")
SURFACE = ("inv_chamfer_l1", "inv_fscore", "inv_normal_consistency")
COLUMNS = (*PICTURES, *SIDES, *FLOORS, *SURFACE)
NO_FIELD, NO_TRUTH, NO_MESH = "no radiance field to invert", "no exact views of an object", "no surface to compare"
EXACT = "the exact views themselves"
CAP = 100.0
"""Decibels of equal pictures in a mean."""
POINTS = 4000
TAU = 0.02
"""Of the diagonal of the true box: points nearer than this count for the F-score; 1.2 steps of the grid at micro."""
TRUE_SEED, OWN_SEED = 1, 2


def score_inversion(sheet: Sheet, predictions: Mapping[str, NDArray], dataset: Dataset, mean_map: NDArray) -> None:
    """Enter the columns of the inverted objects of ``inversion.invert``, or of a reference shaped like it."""
    if "inv_views" not in predictions:
        sheet.lack(COLUMNS, NO_TRUTH if "densities" in predictions else NO_FIELD)
        return
    _score_pictures(sheet, predictions)
    _score_depth(sheet, predictions, mean_map)
    meshes = fitted_meshes(predictions)
    if meshes is None:
        sheet.lack(SURFACE, NO_MESH)
        return
    prior = dataset.spec.prior
    assert prior is not None
    score_surfaces(sheet, meshes, exact_meshes(dataset, len(meshes)), prior)


def fitted_meshes(predictions: Mapping[str, NDArray]) -> Meshes | None:
    """Surfaces of the fitted densities, or those that a reference brings along."""
    if "inv_density" in predictions:
        return Meshes.of_densities(predictions["inv_density"])
    return Meshes.unpacked(predictions, "inv_mesh") if "inv_mesh_counts" in predictions else None


def _score_pictures(sheet: Sheet, predictions: Mapping[str, NDArray]) -> None:
    own, truth = predictions["inv_views"], predictions["inv_truth"]
    values = peak_signal_noise_ratio(channels_first(own), channels_first(truth), reduction="none")
    decibels = np.asarray(values).reshape(own.shape[:2])
    for column, part in zip(PICTURES, (decibels[:, :1], decibels[:, 1:]), strict=True):
        exact = bool(np.isinf(part).all())
        sheet.put(column, math.nan if exact else float(part.clip(max=CAP).mean()), EXACT)
        sheet.per_sample[column] = part.clip(max=CAP).mean(1)


def _score_depth(sheet: Sheet, predictions: Mapping[str, NDArray], mean_map: NDArray) -> None:
    """SIDE against the exact depth where both are opaque, of the given view and of the others, and floors of the
    given view on the same pixels."""
    if "inv_depth" not in predictions:
        sheet.lack((*SIDES, *FLOORS), "no depth")
        return
    own, truth = (torch.from_numpy(predictions[name].astype(np.float32)) for name in ("inv_depth", "inv_truth_depth"))
    masks = predictions["inv_mask"], predictions["inv_truth_mask"]
    shape = own.shape[:2]
    flat, true = own.flatten(0, 1), truth.flatten(0, 1)
    both = [
        geometry.solid_inside(depth, mask.reshape(depth.shape)) for depth, mask in zip((flat, true), masks, strict=True)
    ]
    inside = both[0] & both[1]
    solid = torch.where(inside, true, 1.0)
    sides = geometry.side_errors(flat, solid, inside).reshape(shape)
    for column, part in zip(SIDES, (sides[:, :1], sides[:, 1:]), strict=True):
        sheet.put(column, 100 * geometry.mean_of(part), geometry.EMPTY)
    sheet.per_sample["inv_side"] = sides
    share = float(inside.sum() / both[1].sum().clamp(min=1))
    counted = np.count_nonzero(~np.isnan(sides))
    sheet.notes["inversion_depth"] = (
        f"{counted} of {sides.size} views and {share:.2f} of the true objects' pixels count"
    )
    first = torch.arange(0, len(flat), shape[1])
    mean = torch.from_numpy(mean_map.astype(np.float32)).expand(len(first), -1, -1)
    for column, floor in zip(FLOORS, (torch.ones_like(mean), mean), strict=True):
        values = geometry.side_errors(floor, solid[first], inside[first])
        sheet.put(column, 100 * geometry.mean_of(values), geometry.EMPTY)


def score_surfaces(sheet: Sheet, meshes: Meshes, exact: Meshes, prior: PosePrior) -> None:
    """Distances of what the cameras of the prior can see of the fitted and of the true surface, in diagonals of the
    true box; an object without a surface gets the worst of everything."""
    rows = []
    for mesh, true in zip(meshes, exact, strict=True):
        target, target_normals = seen_points(true, prior, POINTS, TRUE_SEED)
        points, normals = seen_points(mesh, prior, POINTS, OWN_SEED)
        unit = box_diagonal(true.vertices)
        scores = surface_scores(
            points / unit, target / unit, taus=(TAU,), preds_normals=normals, target_normals=target_normals
        )
        names = ("chamfer_l1", f"fscore@{TAU:g}", "normal_consistency", "n_empty")
        rows.append([scores[name] for name in names])
    table = np.asarray(rows)
    for column, values in zip(SURFACE, table.T, strict=False):
        sheet.put(column, float(values.mean()))
        sheet.per_sample[column] = values
    sheet.notes["inversion"] = f"{len(table)} objects, {int(table[:, -1].sum())} without a surface"
