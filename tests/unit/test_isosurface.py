"""Marching cubes on densities with known surfaces, and the pieces of solids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics import errors
from harness.metrics.isosurface import EmptySurface, Mesh, Pieces, grid_points, half_opaque_level, isosurface, pieces


def volume(mesh: Mesh) -> float:
    """Signed volume: positive where faces wind counter-clockwise seen from outside."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def is_watertight(mesh: Mesh) -> bool:
    """Every edge is used once in each direction."""
    edges = np.concatenate([mesh.faces[:, [k, (k + 1) % 3]] for k in range(3)])
    there, back = ({tuple(edge) for edge in e.tolist()} for e in (edges, edges[:, ::-1]))
    return len(there) == len(edges) and there == back


def ball(resolution: int, radius: float = 0.6, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> torch.Tensor:
    """A density that passes the default level exactly on a sphere, linearly in the distance from it."""
    away = (grid_points(resolution).double() - torch.tensor(centre)).norm(dim=1).reshape((resolution,) * 3)
    return (half_opaque_level(resolution) * (1 + 5 * (radius - away))).clamp_min(0)


def test_one_step_at_the_level_is_half_opaque() -> None:
    step = 2 / 47
    assert 1 - math.exp(-half_opaque_level(48) * step) == pytest.approx(0.5)


def test_grid_runs_over_the_cube_with_z_fastest() -> None:
    points = grid_points(3).reshape(3, 3, 3, 3)
    assert points[0, 0].tolist() == [[-1, -1, -1], [-1, -1, 0], [-1, -1, 1]]
    assert points[2, 1, 0].tolist() == [1, 0, -1]


@pytest.mark.parametrize("resolution", [16, 33])
def test_a_ball_is_found_where_it_is(resolution: int) -> None:
    mesh = isosurface(ball(resolution, centre=(0.1, -0.2, 0.05)))
    assert isinstance(mesh, Mesh)
    away = np.linalg.norm(mesh.vertices - [0.1, -0.2, 0.05], axis=1)
    step = 2 / (resolution - 1)
    np.testing.assert_allclose(away, 0.6, atol=step**2)
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=4 * step**2)
    assert is_watertight(mesh)
    assert mesh.vertices.dtype == np.float64
    assert mesh.faces.dtype == np.int64


def test_axes_are_x_y_z() -> None:
    grid = torch.zeros(9, 9, 9)
    grid[7, 4, 2] = 100.0
    mesh = isosurface(grid)
    assert isinstance(mesh, Mesh)
    np.testing.assert_allclose(mesh.vertices.mean(0), [0.75, 0.0, -0.5], atol=1e-6)


def test_a_solid_that_fills_the_cube_is_closed_at_its_faces() -> None:
    mesh = isosurface(torch.full((6, 6, 6), 10.0))
    assert isinstance(mesh, Mesh)
    assert np.abs(mesh.vertices).max() == 1.0
    assert is_watertight(mesh)
    assert volume(mesh) == pytest.approx(8.0, rel=0.01)


def test_no_surface_is_a_result_of_its_own_type() -> None:
    found = isosurface(torch.full((4, 4, 4), 0.5))
    assert found == EmptySurface(level=half_opaque_level(4), top=0.5)
    assert isinstance(isosurface(ball(8), level=1e6), EmptySurface)
    assert pieces(torch.zeros(4, 4, 4)).count == 0
    assert math.isnan(pieces(torch.zeros(4, 4, 4)).largest)
    assert pieces(torch.zeros(4, 4, 4)).floaters == 0


def test_level_decides_the_size() -> None:
    sizes = [volume(isosurface(ball(24), level=level)) for level in (2.0, 5.0, 8.0, 12.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_floaters_are_the_pieces_beside_the_largest() -> None:
    grid = np.zeros((12, 12, 12))
    grid[2:6, 2:6, 2:6] = 50  # 64 points
    grid[9, 9, 9] = 50
    grid[6, 6, 6] = 50  # touches the corner of the first: the same piece
    grid[0, 0, 11] = 50
    found = pieces(grid)
    assert found == Pieces(3, pytest.approx(65 / 67))
    assert found.floaters == 2
    grid[3:5, 3:5, 3:5] = 0  # a cavity is no piece, although the mesh has one more component
    assert pieces(grid).count == 3


def test_bad_input_raises() -> None:
    for wrong in (torch.ones(4, 4, 5), torch.ones(4, 4), torch.ones(4, 4, 4, dtype=torch.long)):
        with pytest.raises(errors.ShapeMismatch):
            isosurface(wrong)
    for wrong in (torch.ones(1, 1, 1), torch.ones(1, 1, 1)):
        with pytest.raises(errors.TooSmall):
            isosurface(wrong)
    with pytest.raises(errors.TooSmall):
        grid_points(1)
    with pytest.raises(errors.OutOfRange):
        isosurface(torch.ones(4, 4, 4), level=0.0)
    with pytest.raises(errors.NonFinite):
        pieces(torch.full((4, 4, 4), torch.nan))
    with pytest.raises(errors.EmptyInput):
        isosurface(torch.ones(0, 0, 0))
