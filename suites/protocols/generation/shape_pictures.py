"""Pictures of shapes: turntables with depth and normals, meshes, inverted objects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.types import PosePrior
from suites.protocols.generation.exact import exact_meshes
from suites.protocols.generation.inversion_scores import fitted_meshes
from suites.protocols.generation.meshes import Meshes
from suites.protocols.generation.pictures import tile
from suites.protocols.generation.shading import SIDE, depth_colours, mesh_picture, normal_colours
from suites.protocols.generation.sizes import inverted

TURNED, STOPS, MESHES, INVERTED = 3, 7, 6, 6


def shape_pictures(
    predictions: Mapping[str, NDArray], dataset: Dataset, prior: PosePrior
) -> dict[str, NDArray[np.uint8]]:
    """uint8 [H,W,3] pictures by name, as far as the predictions hold them.

    ``shapes``: per object of the sweep a row of pictures, of depth (near is red) and of normals. ``meshes``: a row per
    prior sample, three azimuths. ``inversions``: a row per real object: the given picture and its fit, the rightmost
    exact view and that of the fit, the fit's depth there, exact and fitted mesh.
    """
    shown = {}
    if "sweep_depth" in predictions:
        shown["shapes"] = _turned(predictions, prior)
    if "densities" in predictions:
        shown["meshes"] = tile(_around(Meshes.of_densities(predictions["densities"][:MESHES]), prior))
    if "inv_views" in predictions:
        shown["inversions"] = _inverted(predictions, dataset, prior)
    return shown


def _turned(predictions: Mapping[str, NDArray], prior: PosePrior) -> NDArray[np.uint8]:
    depth, mask = predictions["sweep_depth"][:TURNED], predictions["sweep_mask"][:TURNED]
    stops = np.linspace(0, depth.shape[1] - 1, min(STOPS, depth.shape[1])).round().astype(int)
    depth, mask = depth[:, stops], mask[:, stops]
    colour = predictions["sweep"][: len(depth), stops]
    rows = np.stack([colour, depth_colours(depth, mask, prior), normal_colours(depth, mask, prior)], axis=1)
    return tile(rows.reshape(-1, *rows.shape[2:]))


def _around(meshes: Meshes, prior: PosePrior) -> NDArray[np.uint8]:
    """Every mesh from three sides: uint8 [K,3,S,S,3]."""
    angles = inverted(prior)[[1, 0, -1]]
    return np.stack([np.stack([mesh_picture(mesh, float(a), prior) for a in angles]) for mesh in meshes])


def _inverted(predictions: Mapping[str, NDArray], dataset: Dataset, prior: PosePrior) -> NDArray[np.uint8]:
    truth, own = predictions["inv_truth"][:INVERTED], predictions["inv_views"][:INVERTED]
    columns = [truth[:, 0], own[:, 0], truth[:, -1], own[:, -1]]
    if "inv_depth" in predictions:
        depth, mask = (predictions[name][:INVERTED, -1] for name in ("inv_depth", "inv_mask"))
        columns.append(depth_colours(depth, mask, prior))
    azimuth = float(inverted(prior)[-1])
    fitted = fitted_meshes(predictions)
    meshes = [] if fitted is None else [exact_meshes(dataset, len(truth)), fitted]
    renders = [np.stack([mesh_picture(m, azimuth, prior) for m in some.items[: len(truth)]]) for some in meshes]
    side = SIDE if renders else truth.shape[2]
    return tile(np.stack([_enlarged(column, side) for column in (*columns, *renders)], axis=1))


def _enlarged(pictures: NDArray, side: int) -> NDArray:
    """Pictures [N,H,W,3] at another side, by repeating or leaving out pixels."""
    index = np.arange(side) * pictures.shape[1] // side
    return pictures[:, index][:, :, index]
