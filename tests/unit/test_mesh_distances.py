"""Distances to boxes and the inside of meshes: cases whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.metrics import errors
from harness.metrics.mesh_distances import Surface, mesh_iou
from harness.types import MissingAsset

CORNERS = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])


def box(half: float = 1.0, offset: float = 0.0) -> Surface:
    try:
        return Surface(half * CORNERS + [offset, 0, 0], FACES)
    except MissingAsset as error:
        pytest.skip(str(error))


def test_distance_to_a_box() -> None:
    points = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [3, 3, 2], [0.9, 0, 0]])
    np.testing.assert_allclose(box().distance(points), [1, 1, math.sqrt(2), 3, 0.1], rtol=1e-6)


def test_inside_of_overlapping_boxes() -> None:
    vertices = np.concatenate((CORNERS, CORNERS + np.array([1, 0.1, 0.05])))
    both = Surface(vertices, np.concatenate((FACES, FACES + 8)))
    points = np.array([[0.5, 0, 0], [-0.5, 0, 0], [1.5, 0, 0], [2.5, 0, 0]])
    inside, disagree = both.occupancy(points)
    assert inside.tolist() == [True, True, True, False]
    assert disagree == 0.0
    assert both.closed


def test_overlap_of_boxes() -> None:
    def overlap(a: Surface, b: Surface) -> float:
        return mesh_iou(a, b, resolution=40)["volume_iou"]

    assert overlap(box(0.5), box()) == pytest.approx(1 / 8, abs=0.03)  # a voxel more or less a side
    assert overlap(box(offset=1.0), box()) == pytest.approx(1 / 3, abs=0.03)
    assert overlap(box(offset=5.0), box()) == 0.0
    assert overlap(box(), box()) == 1.0


def test_an_open_prediction_is_reported_and_an_open_truth_raises() -> None:
    missing = Surface(CORNERS, FACES[2:])
    assert not missing.closed
    assert box().closed
    assert mesh_iou(missing, box(), resolution=8)["disagree"] > 0.1
    with pytest.raises(errors.OutOfRange, match="not closed"):
        mesh_iou(box(), missing, resolution=8)
    split = Surface(CORNERS[FACES].reshape(-1, 3), np.arange(36).reshape(-1, 3))
    assert split.closed  # corners at one place count as one


def test_bad_input_raises() -> None:
    with pytest.raises(errors.OutOfRange, match="faces"):
        Surface(CORNERS, FACES + 1)
    with pytest.raises(errors.ShapeMismatch):
        Surface(CORNERS, FACES.astype(float))
    with pytest.raises(errors.EmptyInput):
        Surface(CORNERS, FACES[:0])
    with pytest.raises(errors.NonFinite):
        box().distance(np.full((1, 3), np.nan))
    with pytest.raises(errors.OutOfRange, match="resolution"):
        mesh_iou(box(), box(), resolution=0)
