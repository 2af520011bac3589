"""Point sets, volumes and samples of surfaces: cases whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics import errors
from harness.metrics.neighbours import SMALL, nearest
from harness.metrics.shape import (
    box_diagonal,
    chamfer_distance,
    nearest_distances,
    sample_surface,
    surface_scores,
    volume_iou,
)

P = np.array([[0.0, 0, 0], [1, 0, 0]])
Q = np.array([[0.0, 0, 0], [3, 0, 0]])
CUBE = np.array([[x, y, z] for x in (0.0, 1) for y in (0.0, 1) for z in (0.0, 1)])
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
CUBE_FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])


# ------------------------------------------------------------------------------------------------ point sets
def test_two_points_against_two() -> None:
    scores = surface_scores(P, Q, taus=(1, 1.01))
    assert scores == pytest.approx(
        {
            "accuracy": 0.5,
            "completeness": 1.0,
            "chamfer_l1": 0.75,
            "chamfer_l2": 2.5,
            "hausdorff": 2.0,
            "fscore@1": 1 / 2,  # d < tau is strict: the pair at distance 1 does not count
            "fscore@1.01": 2 / 3,
            "n_empty": 0.0,
        },
        abs=1e-15,
    )


def test_the_four_chamfer_distances_have_four_values() -> None:
    values = {(s, a): chamfer_distance(P, Q, squared=s, average=a) for s in (True, False) for a in ("sum", "half")}
    assert values == {(True, "sum"): 2.5, (True, "half"): 1.25, (False, "sum"): 1.5, (False, "half"): 0.75}
    with pytest.raises(TypeError):
        chamfer_distance(P, Q)  # the convention has no default


def test_points_far_apart_and_shifted_by_t_are_2t_apart() -> None:
    lattice = 10.0 * np.stack(np.meshgrid(*3 * [np.arange(3)], indexing="ij"), axis=-1).reshape(-1, 3)
    shifted = lattice + np.array([0.0, 0.3, 0.4])
    assert chamfer_distance(shifted, lattice, squared=False, average="sum") == pytest.approx(2 * 0.5)


def test_scores_agree_with_the_directed_distances() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((50, 3)), rng.standard_normal((70, 3))
    scores = surface_scores(p, q, taus=(0.5,))
    there, back = nearest_distances(p, q)[0], nearest_distances(q, p)[0]
    assert scores["accuracy"] == pytest.approx(there.mean())
    assert scores["completeness"] == pytest.approx(back.mean())
    assert scores["chamfer_l2"] == pytest.approx(chamfer_distance(p, q, squared=True, average="sum"))
    assert scores["chamfer_l1"] == pytest.approx(chamfer_distance(p, q, squared=False, average="half"))
    precision, recall = (there < 0.5).mean(), (back < 0.5).mean()
    assert scores["fscore@0.5"] == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("n", [1, 300, SMALL])
@pytest.mark.parametrize("flat", [False, True])
def test_neighbours_are_those_of_the_distance_matrix(n: int, flat: bool) -> None:
    """Below and above the size from which points are sorted; ``flat`` leaves two axes of the box without length."""
    rng = np.random.default_rng(n)
    query, data = rng.standard_normal((200, 3)), rng.standard_normal((n, 3))
    if flat:
        query[:, 1:] = data[:, 1:] = 7.0
    distance, index = nearest(query, data)
    matrix = np.linalg.norm(query[:, None] - data, axis=-1)
    np.testing.assert_allclose(distance, matrix.min(1), rtol=1e-12)
    np.testing.assert_array_equal(index, matrix.argmin(1))
    assert distance.dtype == np.float64
    assert index.dtype == np.int64


def test_normals_agree_up_to_sign_or_with_it() -> None:
    up = np.tile([0.0, 0, 1], (2, 1))
    tilted = np.tile([0.0, math.sin(1), math.cos(1)], (2, 1))
    for normals, unsigned, signed in ((up, 1, 1), (-up, 1, -1), (tilted, math.cos(1), math.cos(1))):
        scores = surface_scores(P, P, taus=(), preds_normals=normals, target_normals=up)
        assert scores["normal_consistency"] == pytest.approx(unsigned)
        assert scores["normal_consistency_signed"] == pytest.approx(signed)
    assert "normal_consistency" not in surface_scores(P, P, taus=())


def test_nothing_predicted_is_the_worst_and_is_counted() -> None:
    nothing = np.zeros((0, 3))
    scores = surface_scores(nothing, Q, taus=(0.1,), preds_normals=nothing, target_normals=np.eye(3)[:2])
    assert scores == {
        **dict.fromkeys(("accuracy", "completeness", "chamfer_l1", "hausdorff"), 3.0),
        **{"chamfer_l2": 18.0, "fscore@0.1": 0.0, "normal_consistency": 0.0, "normal_consistency_signed": 0.0},
        "n_empty": 1.0,
    }
    assert surface_scores(nothing, Q[:1], taus=())["chamfer_l1"] == math.inf  # a single point has no box
    assert surface_scores(torch.zeros(0, 3), Q, taus=())["n_empty"] == 1.0
    with pytest.raises(errors.EmptyInput):
        surface_scores(nothing, Q, taus=(), empty="raise")
    with pytest.raises(errors.EmptyInput):
        surface_scores(P, nothing, taus=())
    with pytest.raises(errors.EmptyInput):
        chamfer_distance(nothing, Q, squared=True, average="sum")


def test_bad_input_raises() -> None:
    with pytest.raises(errors.UnknownOption, match="half"):
        chamfer_distance(P, Q, squared=True, average="mean")
    with pytest.raises(errors.UnknownOption, match="worst"):
        surface_scores(P, Q, taus=(), empty="skip")
    with pytest.raises(errors.OutOfRange):
        surface_scores(P, Q, taus=(-1,))
    with pytest.raises(errors.ShapeMismatch):
        surface_scores(P[:, :2], Q, taus=())
    with pytest.raises(errors.ShapeMismatch, match="one side"):
        surface_scores(P, Q, taus=(), preds_normals=np.eye(3)[:2])
    with pytest.raises(errors.ShapeMismatch, match="normals"):
        surface_scores(P, Q, taus=(), preds_normals=np.eye(3), target_normals=np.eye(3)[:2])
    with pytest.raises(errors.OutOfRange, match="length"):
        surface_scores(P, Q, taus=(), preds_normals=2 * np.eye(3)[:2], target_normals=np.eye(3)[:2])
    with pytest.raises(errors.NonFinite):
        nearest_distances(P, np.full((2, 3), np.nan))


def test_diagonal_of_the_box() -> None:
    assert box_diagonal(CUBE * [1, 2, 2]) == 3.0


# ---------------------------------------------------------------------------------------------------- volumes
def cube_voxels(half: float, offset: float = 0.0, resolution: int = 24) -> np.ndarray:
    axis = (np.arange(resolution) + 0.5) / resolution * 4 - 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return (np.abs(x - offset) < half) & (np.abs(y) < half) & (np.abs(z) < half)


def test_overlap_of_cubes() -> None:
    assert volume_iou(cube_voxels(0.5), cube_voxels(1.0)) == pytest.approx((0.5 / 1.0) ** 3)
    assert volume_iou(cube_voxels(1.0, offset=1.0), cube_voxels(1.0)) == pytest.approx(1 / 3)
    assert volume_iou(cube_voxels(1.0), cube_voxels(1.0)) == 1.0
    assert volume_iou(cube_voxels(0.5).ravel(), cube_voxels(1.0).ravel()) == pytest.approx(1 / 8)


def test_empty_volumes() -> None:
    some, none = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert volume_iou(none, some) == volume_iou(some, none) == 0.0
    assert math.isnan(volume_iou(none, none))
    for wrong in (some[0], some.astype(float), some[:1]):
        with pytest.raises(errors.ShapeMismatch):
            volume_iou(wrong, some)
    with pytest.raises(errors.EmptyInput):
        volume_iou(some.ravel()[:0], some.ravel()[:0])


# ------------------------------------------------------------------------------------------------- sampling
def test_points_lie_on_the_surface_in_proportion_to_area() -> None:
    stretched = CUBE * [1, 1, 4]  # two faces of area 1 and four of area 4
    points, normals = sample_surface(stretched, CUBE_FACES, 20_000, generator=np.random.default_rng(0))
    box = points / [1, 1, 4]
    on_face = (np.abs(box) < 1e-12) | (np.abs(box - 1) < 1e-12)
    assert on_face.any(1).all()
    assert on_face[:, 2].mean() == pytest.approx(2 / 18, abs=0.01)
    np.testing.assert_allclose(points[:, :2].mean(0), [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(points[:, 2].mean(), 2.0, atol=0.05)
    outward = ((points - stretched.mean(0)) / [1, 1, 4] * normals).sum(1)
    np.testing.assert_allclose(outward, 0.5, atol=1e-12)  # the faces of CUBE wind outward


def test_points_within_a_triangle_are_uniform() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points, _ = sample_surface(corners, np.array([[0, 1, 2]]), 20_000, generator=torch.Generator().manual_seed(0))
    assert (points.sum(1) <= 1 + 1e-12).all()
    quarter = (points[:, :2] < 0.5).all(1) & (points.sum(1) > 0.5)  # the middle one of four equal triangles
    assert quarter.mean() == pytest.approx(0.25, abs=0.01)


def test_degenerate_faces_are_never_drawn_and_seeds_repeat() -> None:
    faces = np.array([[0, 0, 1], [0, 1, 3], [2, 2, 2]])
    one, two = (sample_surface(CUBE, faces, 100, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    np.testing.assert_array_equal(one[0], two[0])
    assert np.isfinite(one[1]).all()
    with pytest.raises(errors.EmptyInput, match="area"):
        sample_surface(CUBE, faces[:1], 10, generator=np.random.default_rng(0))
    with pytest.raises(errors.EmptyInput):
        sample_surface(CUBE, CUBE_FACES, 0, generator=np.random.default_rng(0))
    with pytest.raises(errors.OutOfRange, match="faces"):
        sample_surface(CUBE, faces + 6, 10, generator=np.random.default_rng(0))
    with pytest.raises(errors.ShapeMismatch):
        sample_surface(CUBE, faces.astype(float), 10, generator=np.random.default_rng(0))


def test_global_generators_are_left_alone() -> None:
    torch.manual_seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    sample_surface(CUBE, CUBE_FACES, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
