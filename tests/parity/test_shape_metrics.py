"""Shape metrics against Open3D's and SciPy's own on the same points and meshes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist, jensenshannon

from harness.data import catalogue, objects
from harness.metrics.isosurface import Mesh, grid_points, isosurface
from harness.metrics.mesh_distances import Surface, _open3d, mesh_iou
from harness.metrics.shape import chamfer_distance, nearest_distances, sample_surface, surface_scores
from harness.metrics.shapesets import jensen_shannon_divergence, pairwise_shape_distance
from harness.types import MissingAsset

TAUS = (0.02, 0.05, 0.1)


@pytest.fixture(scope="module")
def o3d():
    try:
        return _open3d()
    except MissingAsset as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Points of two bumpy spheres, in coordinates that float32 holds exactly: Open3D's tensors need float32."""
    rng = np.random.default_rng(0)
    sides = []
    for n, wave in ((6000, 3), (4000, 4)):
        unit = rng.standard_normal((n, 3))
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        sides.append((unit * (1 + 0.1 * np.sin(wave * unit[:, :1]))).astype(np.float32).astype(np.float64))
    return sides[0], sides[1]


@pytest.fixture(scope="module")
def meshes(o3d) -> tuple[Mesh, Mesh]:
    """Isosurfaces of a ball and of a displaced ellipsoid."""
    points = grid_points(24).double()
    found = []
    for centre, axes in ((0.0, [1.0, 1, 1]), (0.1, [1.3, 0.9, 1.1])):
        away = ((points - centre) * torch.tensor(axes)).norm(dim=1)
        found.append(isosurface((40 * (1.1 - away)).clamp_min(0).reshape(24, 24, 24)))
    assert all(isinstance(mesh, Mesh) for mesh in found)
    return found[0], found[1]


# ------------------------------------------------------------------------------------------------ point sets
def test_scores_equal_those_of_point_clouds(o3d, clouds) -> None:
    metric = o3d.t.geometry.Metric
    wanted = (metric.ChamferDistance, metric.HausdorffDistance, metric.FScore)
    p, q = (o3d.t.geometry.PointCloud(o3d.core.Tensor(side.astype(np.float32))) for side in clouds)
    parameters = o3d.t.geometry.MetricParameters(fscore_radius=TAUS)
    theirs = p.compute_metrics(q, wanted, parameters).numpy()
    ours = surface_scores(*clouds, taus=TAUS)
    assert chamfer_distance(*clouds, squared=False, average="sum") == pytest.approx(theirs[0], rel=1e-6)
    assert 2 * ours["chamfer_l1"] == pytest.approx(theirs[0], rel=1e-6)
    assert ours["hausdorff"] == pytest.approx(theirs[1], rel=1e-6)
    for tau, share in zip(TAUS, theirs[2:], strict=True):
        assert 100 * ours[f"fscore@{tau:g}"] == pytest.approx(share, rel=1e-6)


def test_neighbours_equal_those_of_both_trees(o3d, clouds) -> None:
    p, q = (o3d.geometry.PointCloud(o3d.utility.Vector3dVector(side)) for side in clouds)
    distance, index = nearest_distances(*clouds)
    np.testing.assert_allclose(distance, np.asarray(p.compute_point_cloud_distance(q)), rtol=1e-12)
    theirs, their_index = cKDTree(clouds[1]).query(clouds[0])
    np.testing.assert_allclose(distance, theirs, rtol=1e-14)
    np.testing.assert_array_equal(index, their_index)


# -------------------------------------------------------------------------------------------------- meshes
def point_to_triangles(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Distances [P] to the nearest triangle in float64 (Ericson 2005, chapter 5): the plane's foot or the edges."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    best = np.full(len(points), np.inf)
    for row, point in enumerate(points):
        height = ((point - a) * normal).sum(1)
        foot = point - height[:, None] * normal
        sides = [(np.cross(v - u, foot - u) * normal).sum(1) >= 0 for u, v in ((a, b), (b, c), (c, a))]
        distance = np.where(np.logical_and.reduce(sides), np.abs(height), np.inf)
        for u, v in ((a, b), (b, c), (c, a)):
            along = (((point - u) * (v - u)).sum(1) / ((v - u) ** 2).sum(1)).clip(0, 1)
            distance = np.minimum(distance, np.linalg.norm(point - u - along[:, None] * (v - u), axis=1))
        best[row] = distance.min()
    return best


def test_distances_to_a_mesh(o3d, meshes) -> None:
    points, _ = sample_surface(meshes[1].vertices, meshes[1].faces, 60, generator=np.random.default_rng(0))
    ours = Surface(meshes[0].vertices, meshes[0].faces).distance(points)
    np.testing.assert_allclose(ours, point_to_triangles(points, meshes[0]), atol=1e-6)
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor(meshes[0].vertices.astype(np.float32)), o3d.core.Tensor(meshes[0].faces.astype(np.uint32))
    )
    theirs = scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_sampled_scores_of_meshes_agree_within_the_noise_of_sampling(o3d, meshes) -> None:
    """Open3D draws points of each mesh and measures to the other's triangles; we measure from ours likewise."""
    theirs_of = [
        o3d.t.geometry.TriangleMesh(
            o3d.core.Tensor(mesh.vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.int32))
        )
        for mesh in meshes
    ]
    metric = o3d.t.geometry.Metric
    parameters = o3d.t.geometry.MetricParameters(n_sampled_points=20_000)
    theirs = theirs_of[0].compute_metrics(theirs_of[1], (metric.ChamferDistance,), parameters).numpy()[0]
    surfaces = [Surface(mesh.vertices, mesh.faces) for mesh in meshes]
    samples = [
        sample_surface(mesh.vertices, mesh.faces, 20_000, generator=np.random.default_rng(k))[0]
        for k, mesh in enumerate(meshes)
    ]
    ours = sum(surfaces[1 - k].distance(samples[k]).mean() for k in (0, 1))
    assert ours == pytest.approx(theirs, rel=0.02)
    between_points = chamfer_distance(samples[0], samples[1], squared=False, average="sum")
    assert ours < between_points < ours + 0.04  # the nearest sample lies a little farther than the triangle


def test_inside_equals_open3d_where_parts_do_not_overlap(o3d, meshes) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 3))
    surface = Surface(meshes[1].vertices, meshes[1].faces)
    assert surface.closed
    inside, disagree = surface.occupancy(points)
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor(meshes[1].vertices.astype(np.float32)), o3d.core.Tensor(meshes[1].faces.astype(np.uint32))
    )
    theirs = scene.compute_occupancy(o3d.core.Tensor(points.astype(np.float32)), nsamples=5).numpy() > 0.5
    np.testing.assert_array_equal(inside, theirs)
    assert disagree < 1e-3


def test_a_procedural_head_of_overlapping_parts_is_solid(o3d) -> None:
    """A ray that counts crossings alone would call the overlap of skull and muzzle empty."""
    solid = objects.build_solid(catalogue.spec("objects/head"), "multiview", 0)
    surface = Surface(solid.vertices, solid.faces)
    assert surface.closed
    points = grid_points(20)
    inside, disagree = surface.occupancy(points)
    assert disagree < 1e-3
    parts = [
        Surface(solid.vertices, solid.faces[solid.primitive == k]).occupancy(points)[0]
        for k in np.unique(solid.primitive)
    ]
    np.testing.assert_array_equal(inside, np.logical_or.reduce(parts))
    assert np.stack(parts).sum(0).max() > 1
    assert mesh_iou(surface, surface, resolution=12) == {"volume_iou": 1.0, "disagree": pytest.approx(0, abs=2e-3)}


# ------------------------------------------------------------------------------------------- sets of shapes
def test_earth_movers_distance_is_the_best_assignment() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 40, 3)), rng.standard_normal((2, 40, 3))
    ours = pairwise_shape_distance(x, y, kind="emd")
    for i, j in np.ndindex(3, 2):
        costs = cdist(x[i], y[j])
        rows, columns = linear_sum_assignment(costs)
        assert ours[i, j] == pytest.approx(costs[rows, columns].mean(), rel=1e-12)


def test_chamfer_matrix_is_that_of_single_pairs(clouds) -> None:
    x, y = (side[:3000].reshape(10, 300, 3) for side in clouds)
    ours = pairwise_shape_distance(x, y, kind="chamfer")
    for i, j in ((0, 0), (3, 7), (9, 2)):
        squared = cdist(x[i], y[j], "sqeuclidean")
        assert ours[i, j] == pytest.approx(squared.min(0).mean() + squared.min(1).mean(), rel=1e-12)


def test_divergence_is_scipys_squared() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(10, 18, (2, 50, 3))
    axis = np.linspace(-0.5, 0.5, 28)
    p, q = (np.bincount(c @ [784, 28, 1], minlength=28**3) for c in cells)
    ours = jensen_shannon_divergence(axis[cells[0]][None], axis[cells[1]][None])
    assert ours == pytest.approx(jensenshannon(p, q, base=2) ** 2, rel=1e-12)
