"""Sets of shapes: cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics import errors
from harness.metrics.shapesets import (
    OneNN,
    coverage,
    jensen_shannon_divergence,
    minimum_matching_distance,
    one_nn_accuracy,
    pairwise_shape_distance,
)

X, Y = np.array([0.0, 1, 5]), np.array([0.1, 1.1, 9])
ASYMMETRIC = np.array([[1.0, 9], [9, 9]])


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a[:, None] - b)


def test_three_points_on_a_line_against_three() -> None:
    distances = apart(X, Y)
    assert minimum_matching_distance(distances) == pytest.approx(1.4)
    assert minimum_matching_distance(distances.T) == pytest.approx(1.366667, abs=1e-6)  # mmd_smp
    assert coverage(distances) == pytest.approx(2 / 3)
    assert one_nn_accuracy(apart(X, X), distances, apart(Y, Y)) == OneNN(0.0, 0.0, 0.0)


def test_rows_are_the_generated_shapes() -> None:
    assert minimum_matching_distance(ASYMMETRIC) == 5.0
    assert coverage(ASYMMETRIC) == 0.5  # the second row is a tie, which goes to the lower index
    assert coverage(ASYMMETRIC[::-1]) == 0.5
    skewed = np.array([[0.0, 0, 0], [4, 5, 6], [7, 8, 9]])
    assert minimum_matching_distance(skewed) == 0.0
    assert minimum_matching_distance(skewed.T) == pytest.approx(11 / 3)


def test_memorising_the_truth_is_seen_by_one_nn_alone() -> None:
    same = apart(Y, Y)
    assert minimum_matching_distance(same) == 0.0
    assert coverage(same) == 1.0
    found = one_nn_accuracy(same, same, same)
    assert found == OneNN(0.0, 0.0, 0.0)
    assert found.deviation == 0.5


def test_sets_far_apart_are_told_apart_by_each_half() -> None:
    near, far = np.array([0.0, 1, 2]), np.array([100.0, 110, 104.5])
    assert one_nn_accuracy(apart(near, near), apart(near, far), apart(far, far)) == OneNN(1.0, 1.0, 1.0)
    mixed = np.array([0.0, 1.0, 109.0])
    assert one_nn_accuracy(apart(mixed, mixed), apart(mixed, far), apart(far, far)) == OneNN(0.5, 2 / 3, 1 / 3)


def test_distances_of_clouds() -> None:
    fake = np.array([[[0.0, 0, 0], [1, 0, 0]], [[0, 5, 0], [0, 0, 0]]])
    real = np.array([[[0.0, 0, 0], [3, 0, 0]]])
    np.testing.assert_allclose(pairwise_shape_distance(fake, real, kind="chamfer"), [[2.5], [12.5 + 4.5]])
    np.testing.assert_allclose(pairwise_shape_distance(fake, real, kind="emd"), [[1.0], [34**0.5 / 2 + 0]])


@pytest.mark.parametrize("kind", ["chamfer", "emd"])
def test_one_set_against_itself_costs_half_and_is_the_same(kind: str) -> None:
    rng = np.random.default_rng(0)
    clouds = rng.standard_normal((4, 20, 3))
    whole = pairwise_shape_distance(clouds, clouds.copy(), kind=kind)
    np.testing.assert_allclose(pairwise_shape_distance(clouds, clouds, kind=kind), whole, atol=1e-15)
    assert (np.diag(whole) == 0).all()


def clouds_at(*cells: tuple[int, ...], grid: int = 28) -> np.ndarray:
    """One shape whose points stand at the given cells of the grid."""
    return np.linspace(-0.5, 0.5, grid)[np.array(cells)][None]


def test_divergence_of_two_histograms() -> None:
    a, b, c = (14, 14, 14), (10, 12, 14), (20, 14, 10)
    assert jensen_shannon_divergence(clouds_at(a, b), clouds_at(b, c)) == pytest.approx(0.5)
    assert jensen_shannon_divergence(clouds_at(a), clouds_at(c)) == 1.0
    assert jensen_shannon_divergence(clouds_at(a, b), clouds_at(b, b, a, a)) == 0.0
    assert jensen_shannon_divergence(clouds_at(a, b) + 1e-3, clouds_at(a, b)) == 0.0  # the nearest cell counts


def test_points_outside_the_sphere_raise_unless_clipped() -> None:
    inside, outside = clouds_at((14, 14, 14)), np.array([[[0.9, 0.0, 0.0]]])
    with pytest.raises(errors.OutOfRange, match="1 points outside"):
        jensen_shannon_divergence(outside, inside)
    assert jensen_shannon_divergence(outside, inside, clip=True) == 1.0


def test_bad_input_raises() -> None:
    clouds = np.zeros((2, 3, 3))
    with pytest.raises(errors.UnknownOption, match="emd"):
        pairwise_shape_distance(clouds, clouds, kind="emb")
    with pytest.raises(errors.ShapeMismatch, match="points"):
        pairwise_shape_distance(clouds, clouds[:, :2], kind="emd")
    with pytest.raises(errors.CountMismatch):
        minimum_matching_distance(np.ones((2, 3)))
    with pytest.raises(errors.CountMismatch):
        coverage(np.ones((3, 2)))
    with pytest.raises(errors.CountMismatch):
        one_nn_accuracy(np.ones((2, 2)), np.ones((3, 3)), np.ones((3, 3)))
    with pytest.raises(errors.OutOfRange):
        coverage(-np.ones((2, 2)))
    with pytest.raises(errors.OutOfRange):
        jensen_shannon_divergence(clouds, clouds, grid=1)
    with pytest.raises(errors.EmptyInput):
        minimum_matching_distance(np.ones((0, 0)))
    with pytest.raises(errors.NonFinite):
        coverage(np.full((2, 2), np.nan))
