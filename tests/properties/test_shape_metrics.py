"""Properties of the metrics of point sets, volumes, sets of shapes and isosurfaces, from their cards and their own."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import shape, shapesets
from harness.metrics.isosurface import Mesh, isosurface, pieces
from harness.metrics.neighbours import nearest
from harness.metrics.shape import chamfer_distance, sample_surface, surface_scores, volume_iou
from harness.metrics.shapesets import (
    coverage,
    jensen_shannon_divergence,
    minimum_matching_distance,
    one_nn_accuracy,
    pairwise_shape_distance,
)
from tests.properties.card_properties import Metric, Pair, Subject, properties_of

FEW = settings(deadline=None, max_examples=25)
CARDS = {card.name: card for card in (*shape.CARDS, *shapesets.CARDS)}
TAU = 1.25  # no two points of the lattice are just that far apart, so that rounding never decides d < tau
seeds = st.integers(0, 2**32 - 1)


@st.composite
def lattices(draw: st.DrawFn) -> Pair:
    """Up to twelve points a side on an integer lattice, often several at one place."""
    rng = np.random.default_rng(draw(seeds))
    sizes = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return tuple(rng.integers(-3, 4, (n, 3)).astype(np.float64) for n in sizes)


@st.composite
def solids(draw: st.DrawFn) -> Pair:
    rng = np.random.default_rng(draw(seeds))
    size = (draw(st.integers(1, 5)),) * 3
    preds, target = rng.random(size) < 0.4, rng.random(size) < 0.5
    target.flat[0] = True
    return preds, target


@st.composite
def shape_sets(draw: st.DrawFn) -> Pair:
    """Equally many clouds a side, in the ball of radius 0.5 and without ties."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.integers(1, 4)), draw(st.integers(2, 5)), 3
    return tuple(rng.uniform(-0.28, 0.28, size).astype(np.float32).astype(np.float64) for _ in range(2))


def score(name: str) -> Metric:
    def metric(x: np.ndarray, y: np.ndarray) -> float:
        return surface_scores(x, y, taus=(TAU,), empty="raise")[name]

    return metric


def chamfer(squared: bool, average: str) -> Metric:
    return lambda x, y: chamfer_distance(x, y, squared=squared, average=average)  # type: ignore[arg-type]


def of_matrix(metric: Metric) -> Metric:
    return lambda x, y: metric(pairwise_shape_distance(x, y, kind="chamfer"))


def one_nna(x: np.ndarray, y: np.ndarray) -> float:
    return one_nn_accuracy(
        *(pairwise_shape_distance(a, b, kind="chamfer") for a, b in ((x, x), (x, y), (y, y)))
    ).accuracy


TestAccuracy = properties_of(Subject(CARDS["accuracy"], score("accuracy"), lattices()))
TestCompleteness = properties_of(Subject(CARDS["completeness"], score("completeness"), lattices()))
TestHausdorff = properties_of(Subject(CARDS["hausdorff"], score("hausdorff"), lattices()))
TestFscore = properties_of(Subject(CARDS["fscore"], score(f"fscore@{TAU:g}"), lattices()))
TestChamferL1 = properties_of(Subject(CARDS["chamfer_l1"], chamfer(False, "half"), lattices()))
TestChamferL1Sum = properties_of(Subject(CARDS["chamfer_l1_sum"], chamfer(False, "sum"), lattices()))
TestChamferL2 = properties_of(Subject(CARDS["chamfer_l2"], chamfer(True, "sum"), lattices()))
TestChamferL2Half = properties_of(Subject(CARDS["chamfer_l2_half"], chamfer(True, "half"), lattices()))
TestVolumeIou = properties_of(
    Subject(CARDS["volume_iou"], volume_iou, solids(), skip=frozenset({"not-finite", "float32"}))
)
TestMmd = properties_of(Subject(CARDS["mmd"], of_matrix(minimum_matching_distance), shape_sets()))
TestCov = properties_of(Subject(CARDS["cov"], of_matrix(coverage), shape_sets()))
TestOneNna = properties_of(Subject(CARDS["one_nna"], one_nna, shape_sets()))
TestJsd = properties_of(Subject(CARDS["jsd"], lambda x, y: jensen_shannon_divergence(x, y, grid=5), shape_sets()))


# ------------------------------------------------------------------------------------------------ point sets
@FEW
@given(lattices(), st.floats(0.1, 10))
def test_lengths_scale_with_the_points_and_squares_with_the_square(pair: Pair, factor: float) -> None:
    one = surface_scores(*pair, taus=(TAU,))
    two = surface_scores(*(factor * side for side in pair), taus=(factor * TAU,))
    for name in ("accuracy", "completeness", "chamfer_l1", "hausdorff"):
        np.testing.assert_allclose(two[name], factor * one[name], rtol=1e-12)
    np.testing.assert_allclose(two["chamfer_l2"], factor**2 * one["chamfer_l2"], rtol=1e-12)
    assert two[f"fscore@{factor * TAU:g}"] == one[f"fscore@{TAU:g}"]


@FEW
@given(lattices(), st.lists(st.floats(0, 12), min_size=2, max_size=6))
def test_fscore_grows_with_tau_up_to_one(pair: Pair, taus: list[float]) -> None:
    scores = surface_scores(*pair, taus=(*taus, np.inf))
    values = [scores[f"fscore@{tau:g}"] for tau in sorted(taus)]
    assert values == sorted(values)
    assert scores["fscore@inf"] == 1.0


@FEW
@given(lattices(), seeds)
def test_a_second_copy_of_a_point_changes_weights_only(pair: Pair, seed: int) -> None:
    p, q = pair
    again = np.concatenate((p, p[np.random.default_rng(seed).integers(0, len(p), 3)]))
    one, two = (surface_scores(side, q, taus=(TAU,)) for side in (p, again))
    assert (one["completeness"], one["hausdorff"]) == (two["completeness"], two["hausdorff"])
    assert abs(two["accuracy"] - one["accuracy"]) <= one["hausdorff"]


@FEW
@given(shape_sets())
def test_chamfer_is_at_most_the_earth_movers_distance(pair: Pair) -> None:
    movers = pairwise_shape_distance(*pair, kind="emd")
    for i, j in np.ndindex(*movers.shape):
        assert chamfer_distance(pair[0][i], pair[1][j], squared=False, average="half") <= movers[i, j] + 1e-12


@FEW
@given(lattices(), seeds)
def test_consistency_of_normals_turns_with_both_surfaces(pair: Pair, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = (side + 0.01 * rng.standard_normal(side.shape) for side in pair)  # no ties: one nearest normal
    normals = [n / np.linalg.norm(n, axis=1, keepdims=True) for n in (rng.standard_normal(s.shape) for s in (p, q))]
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    names = ("normal_consistency", "normal_consistency_signed")

    def consistency(p: np.ndarray, q: np.ndarray, own: np.ndarray, true: np.ndarray) -> list[float]:
        scores = surface_scores(p, q, taus=(), preds_normals=own, target_normals=true)
        return [scores[name] for name in names]

    plain = consistency(p, q, *normals)
    for name, value in zip(names, plain, strict=True):
        low, high = CARDS[name].range
        assert low <= value <= high
    np.testing.assert_allclose(consistency(p @ turn + 3, q @ turn + 3, *(n @ turn for n in normals)), plain, atol=1e-12)
    np.testing.assert_allclose(consistency(2 * p, 2 * q, *normals), plain, atol=1e-12)
    np.testing.assert_allclose(consistency(q, p, *normals[::-1]), plain, atol=1e-12)
    np.testing.assert_allclose(consistency(p, q, normals[0], -normals[1]), [plain[0], -plain[1]], atol=1e-12)
    np.testing.assert_allclose(consistency(p, p, normals[0], normals[0]), [1, 1])


@FEW
@given(seeds, st.integers(1, 9000), st.integers(1, 300))
def test_sorting_changes_no_distance(seed: int, n: int, places: int) -> None:
    """Few places make many equal points, which a tree cannot split."""
    rng = np.random.default_rng(seed)
    where = rng.standard_normal((places, 3)) * [1, 1, rng.integers(0, 2)]
    query, data = rng.standard_normal((500, 3)), where[rng.integers(0, places, n)]
    distance, index = nearest(query, data)
    exact = np.linalg.norm(query[:, None] - np.unique(data, axis=0), axis=-1).min(1)
    np.testing.assert_allclose(distance, exact, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(query - data[index], axis=1), distance, rtol=1e-12)


# ------------------------------------------------------------------------------------------- sets of shapes
@FEW
@given(shape_sets())
def test_a_set_against_itself(pair: Pair) -> None:
    own = pairwise_shape_distance(pair[0], pair[0].copy(), kind="chamfer")
    assert minimum_matching_distance(own) == 0.0
    assert coverage(own) == 1.0
    assert one_nn_accuracy(own, own, own).accuracy == 0.0


@FEW
@given(shape_sets(), st.floats(0.1, 10))
def test_scaling_leaves_counts_alone(pair: Pair, factor: float) -> None:
    x, y = pair
    one, two = (pairwise_shape_distance(c * x, c * y, kind="chamfer") for c in (1.0, factor))
    np.testing.assert_allclose(two, factor**2 * one, rtol=1e-9)
    assert coverage(two) == coverage(one)
    assert one_nna(factor * x, factor * y) == one_nna(x, y)


# ----------------------------------------------------------------------------------------------- isosurfaces
@st.composite
def densities(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(seeds))
    side = draw(st.integers(2, 7))
    return rng.random((side,) * 3) * draw(st.sampled_from([1.0, 10.0, 100.0]))


@FEW
@given(densities())
def test_every_surface_is_closed_and_winds_outward(density: np.ndarray) -> None:
    mesh = isosurface(density)
    if not isinstance(mesh, Mesh):
        assert pieces(density).count == 0
        return
    edges = np.concatenate([mesh.faces[:, [k, (k + 1) % 3]] for k in range(3)])
    codes = [np.sort(edges[:, k] * len(mesh.vertices) + edges[:, 1 - k]) for k in (0, 1)]
    np.testing.assert_array_equal(*codes)
    assert np.abs(mesh.vertices).max() <= 1
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    assert (a * np.cross(b, c)).sum() > -1e-9
    found = pieces(density)
    assert found.count >= 1
    assert 1 / found.count - 1e-12 <= found.largest <= 1


@FEW
@given(densities(), st.permutations([0, 1, 2]))
def test_exchanging_axes_exchanges_coordinates(density: np.ndarray, order: list[int]) -> None:
    turned = np.transpose(density, order)
    np.testing.assert_equal(astuple(pieces(turned)), astuple(pieces(density)))
    one, two = isosurface(density), isosurface(turned)
    assert isinstance(two, type(one))
    if isinstance(one, Mesh) and isinstance(two, Mesh):
        for bound in (np.min, np.max):
            np.testing.assert_allclose(bound(two.vertices, 0), bound(one.vertices, 0)[order], atol=1e-5)


@FEW
@given(densities(), seeds)
def test_samples_lie_in_the_planes_of_their_faces(density: np.ndarray, seed: int) -> None:
    mesh = isosurface(density, level=density.mean())
    assert isinstance(mesh, Mesh)
    points, normals = sample_surface(mesh.vertices, mesh.faces, 50, generator=np.random.default_rng(seed))
    corners = mesh.vertices[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1)
    unit = cross[length > 0] / length[length > 0, None]
    heights = np.abs(((points[:, None] - corners[length > 0, 0]) * unit).sum(-1))
    same = (normals[:, None] * unit).sum(-1) > 1 - 1e-12
    assert (np.where(same, heights, np.inf).min(1) < 1e-9).all()
